"""A molecule agrees with its own images to the end, with others as far as outlines go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.geometry import random_rotations
from cryojax_graph.models.backbone_graph.agreement import ShellAgreement, shell_agreement
from cryojax_graph.models.backbone_graph.config import mlp
from cryojax_graph.models.backbone_graph.imaging import predicted_spectrum, spectrum_of
from cryojax_graph.models.backbone_graph.template import build_template

BOX, PIXEL_SIZE, IMAGES = 32, 2.0, 200


def globule(seed: int, count: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3))
    points *= 14 * rng.uniform(size=(count, 1)) ** (1 / 3) / np.linalg.norm(points, axis=1)[:, None]
    return points - points.mean(0)


@pytest.fixture(scope="module")
def scene(make_chain):
    """A ball of residues, and noisy images of it from everywhere."""
    atoms = make_chain(60)._replace(c_alpha=globule(0))
    template = build_template(atoms, mlp(), pixel_size=PIXEL_SIZE)
    for_pose, for_noise = jax.random.split(jax.random.key(1))
    rotation = random_rotations(for_pose, IMAGES)
    transfer = jnp.ones((IMAGES, BOX, BOX // 2 + 1))

    def project(rotation):
        return predicted_spectrum(
            template.c_alpha,
            rotation,
            jnp.zeros(2),
            transfer[0],
            4.0,
            template=template,
            pixel_size=PIXEL_SIZE,
        )

    clean = jax.vmap(project)(rotation)
    noise = 1.5 * jax.random.normal(for_noise, (IMAGES, BOX, BOX))
    images = {
        "spectrum": clean + jax.vmap(spectrum_of)(noise),
        "transfer": transfer,
        "rotation": rotation,
        "shift": jnp.zeros((IMAGES, 2)),
    }
    return template, images


def agreement_of(c_alpha, scene):
    template, images = scene
    return shell_agreement(
        jnp.asarray(c_alpha, jnp.float32).reshape(-1, *c_alpha.shape[-2:]),
        images,
        template=template,
        pixel_size=PIXEL_SIZE,
        extra_variance=4.0,
    )


def test_sums_are_those_of_plain_numpy(scene):
    template, images = scene
    seen = agreement_of(template.c_alpha, scene)
    frequency = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.fftfreq(BOX)) * BOX
    shell = np.minimum(np.rint(frequency), BOX // 2).astype(int)
    pixels = np.fft.irfft2(np.asarray(images["spectrum"], complex), s=(BOX, BOX))
    power = (np.abs(np.fft.fft2(pixels)) ** 2).sum(0)
    np.testing.assert_allclose(seen.observed, np.bincount(shell.ravel(), power.ravel()), rtol=1e-4)
    np.testing.assert_array_equal(seen.numbers, IMAGES * np.bincount(shell.ravel()))
    np.testing.assert_allclose(seen.frequency[-1], 0.25)


def test_the_right_molecule_agrees_beyond_others_and_beyond_its_mirror_image(scene):
    template, _ = scene
    right = agreement_of(template.c_alpha, scene)
    assert right.limit() < 6.0
    for other in (globule(1), np.asarray(template.c_alpha) * [1, 1, -1]):
        # The outline is the same, and so is what low frequencies see of it.
        wrong = agreement_of(other, scene)
        assert 0.5 < wrong.correlation_below(0.1) < right.correlation_below(0.1)
        assert wrong.limit() > 8.0


def test_a_part_explains_its_share_of_the_signal(scene, make_chain):
    template, images = scene
    noise = np.full(BOX // 2 + 1, 1.5**2)
    whole = agreement_of(template.c_alpha, scene).explained(noise)
    np.testing.assert_allclose(whole, 1.0, atol=0.02)
    for keep, share in ((45, 0.9), (20, 0.75)):
        atoms = make_chain(keep)._replace(c_alpha=globule(0)[:keep])
        part = build_template(atoms, mlp(), pixel_size=PIXEL_SIZE)
        assert 0.0 < agreement_of(part.c_alpha, (part, images)).explained(noise) < share * whole
    nothing = template, images | {"spectrum": 0 * images["spectrum"]}
    assert agreement_of(template.c_alpha, nothing).explained(noise) == 0.0


def test_noise_agrees_with_nothing(scene):
    template, images = scene
    noise = jax.random.normal(jax.random.key(5), (IMAGES, BOX, BOX))
    nothing = template, images | {"spectrum": jax.vmap(spectrum_of)(noise)}
    seen = agreement_of(template.c_alpha, nothing)
    assert np.isinf(seen.limit())
    assert np.abs(seen.correlation / seen.chance)[1:].max() < 1.5


def test_one_shell_may_fail_two_may_not():
    frequency = np.arange(9) * 0.02
    shells = np.ones(9)
    flat = ShellAgreement(frequency, shells, shells, shells, 100 * shells, 16)
    assert flat.limit() == pytest.approx(1 / 0.16)
    holed = flat._replace(overlap=np.where(np.arange(9) == 4, 0.0, 1.0))
    assert holed.limit() == pytest.approx(1 / 0.16)
    ended = flat._replace(overlap=np.where(np.arange(9) >= 4, 0.0, 1.0))
    assert ended.limit() == pytest.approx(1 / 0.06)


@pytest.mark.parametrize("box", [64, 65])
def test_noise_alone_is_no_signal_whether_the_box_is_even_or_odd(box):
    frequency, shells = np.arange(box // 2 + 1) / (box * 3.0), np.ones(box // 2 + 1)
    noise = 2.0 * shells
    seen = ShellAgreement(frequency, shells, shells, 2.0 * box**2 * 7 * shells, 7 * shells, box)
    assert seen.explained(noise) == 0.0


def test_every_image_may_have_a_conformation_of_its_own(scene):
    template, images = scene
    own = np.asarray(template.c_alpha) + np.arange(IMAGES)[:, None, None] / IMAGES
    together = agreement_of(own, scene).overlap
    one_by_one = [
        agreement_of(c_alpha, (template, jax.tree.map(lambda a, i=i: a[i : i + 1], images))).overlap
        for i, c_alpha in enumerate(own[:3])
    ]
    first = agreement_of(own[:3], (template, jax.tree.map(lambda a: a[:3], images))).overlap
    expected = np.sum(one_by_one, axis=0)
    # Terms of both signs cancel in the outer shells.
    rounding = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=rounding)
    assert np.abs(together - agreement_of(template.c_alpha, scene).overlap).max() > 0
