"""Groups of images that differ in noise and contrast, in a search."""

import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.noise import GroupNoise
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import read_particle_set
from cryojax_graph.jobs.pose import survey
from cryojax_graph.jobs.pose.reference import read_reference
from cryojax_graph.jobs.pose.searcher import Found, Searcher, Start
from cryojax_graph.jobs.pose.settings import How, settings_for, shift_prior
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.poses.search import plan_search

IMAGES, BOX, PIXEL = 8, 24, 5.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searcher") / "simulated"
    model = folder.parent / "model.pdb"
    write_atoms(model, read_demo_molecule()[0])
    config = SimulateConfig(input=str(model), images=IMAGES, box=BOX, pixel_size=PIXEL, snr=1.0)
    simulate(config, options=JobOptions(output=str(folder), seed=1))
    particles = read_particle_set(str(folder / "particles.star"), image_root=None)
    given = read_reference(str(folder / "reference.cif"), particles, origin="auto")
    field = BOX * PIXEL
    settings = settings_for(
        plan_search(field=field, radius=given.radius, finest=6),
        field=field,
        shift_range=5.0,
        within_degrees=10.0,
        symmetry="C1",
    )
    return particles, given.reference, settings


def found_with(scene, power: np.ndarray, **more):
    particles, reference, settings = scene
    searcher = Searcher(particles, settings, **more)
    return searcher.find(searcher.prepare(reference, power), np.arange(IMAGES), 1.0)


def test_noise_of_a_group_is_that_of_the_set_times_its_ratio(scene):
    shells = np.linspace(1.0, 2.0, BOX // 2 + 1)
    ratio = np.stack([np.ones_like(shells), np.linspace(3.0, 5.0, len(shells))])
    group = np.arange(IMAGES) % 2
    found = found_with(scene, shells, noise=GroupNoise(group, ratio))
    for number in (0, 1):
        alone = found_with(scene, shells * ratio[number])
        mine = group == number
        np.testing.assert_allclose(found.evidence[mine], alone.evidence[mine], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.rotation[mine], alone.rotation[mine], atol=1e-3)
    assert np.abs(found.evidence - found_with(scene, shells).evidence)[group == 1].min() > 0.1


def test_an_image_is_divided_by_the_contrast_of_its_group(scene):
    particles, reference, settings = scene
    shells, contrast = np.ones(BOX // 2 + 1), np.where(np.arange(IMAGES) % 2, 2.0, 0.5)

    class Brightened:
        def read(self, images):
            return particles.images.read(images) * contrast[images, None, None].astype(np.float32)

    brighter = particles._replace(images=Brightened())
    found = found_with((brighter, reference, settings), shells, contrast=contrast)
    # What is divided has its noise divided, too.
    ratio = np.repeat(contrast[:, None] ** -2, BOX // 2 + 1, axis=1)
    same = found_with(scene, shells, noise=GroupNoise(np.arange(IMAGES), ratio))
    np.testing.assert_allclose(found.evidence, same.evidence, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.scale, same.scale, rtol=1e-3)


def test_the_noise_that_is_calibrated_is_that_of_the_set(scene):
    particles, reference, settings = scene
    searcher = Searcher(particles, settings)
    shells, every = np.ones(BOX // 2 + 1), np.arange(IMAGES)
    search = searcher.prepare(reference, shells)
    found = searcher.find(search, every, 1.0)
    plain = searcher.calibration(search, every, found).noise
    ratio = np.full((1, BOX // 2 + 1), 4.0)
    grouped = Searcher(particles, settings, noise=GroupNoise(np.zeros(IMAGES, int), ratio))
    quarter = grouped.calibration(search, every, found).noise
    np.testing.assert_allclose(quarter, plain / 4, rtol=1e-4)
    assert jnp.isfinite(quarter).all()


def test_defocus_is_refined_around_the_given_shift(scene):
    """Shifts that are given and known, far from the middle of the image."""
    particles, reference, settings = scene
    table = particles.table
    known = rotation_from_euler(table.euler_degrees), np.full((IMAGES, 2), 12.0)
    still = settings._replace(
        shifts=np.zeros((1, 2), np.float32),
        prior=shift_prior(0.0),
        how=How("grid", 500.0),
    )
    searcher = Searcher(particles, still, Start(*known))
    shells = np.linspace(1.0, 2.0, BOX // 2 + 1)
    search = searcher.prepare(reference, shells)
    found = searcher.find(search, np.arange(IMAGES), 1.0, how=still.how)
    np.testing.assert_allclose(found.shift, known[1], atol=0.05)


def test_poses_of_the_table_are_read_once_however_many_the_blocks(scene, monkeypatch):
    from cryojax_graph.jobs.pose import searcher as module

    particles, reference, settings = scene
    read, made = module.rotation_from_euler, []

    def counted(euler):
        made.append(len(euler))
        return read(euler)

    monkeypatch.setattr(module, "rotation_from_euler", counted)
    searcher = Searcher(particles, settings, block=2)
    search = searcher.prepare(reference, np.ones(BOX // 2 + 1))
    assert len(searcher.find(search, np.arange(IMAGES), 1.0).evidence) == IMAGES
    assert made == [IMAGES]


@pytest.mark.parametrize("count", [1, 6, 7])
def test_few_images_decide_nothing(count):
    def told(evidence: np.ndarray) -> Found:
        nothing = np.zeros(count)
        return Found(*[nothing] * 8, evidence, nothing, nothing)

    mean, error = survey._difference(told(np.zeros(count)), told(np.full(count, 3.0)))
    assert mean == -3.0
    assert (mean < -4.0 * error) == (count >= 7)
