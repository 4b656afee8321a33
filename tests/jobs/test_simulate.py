"""Simulated sets: every pixel against an oracle, seeds, interruptions, refusals."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import erf

from cryojax_graph.configs import from_dict
from cryojax_graph.forward.scattering import atom_gaussians
from cryojax_graph.io import InputError, open_images, open_stack, read_npz, read_particles
from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.trajectories import write_trajectory
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, images, plan_simulate, simulate
from cryojax_graph.jobs.simulate.config import Microscope
from cryojax_graph.jobs.simulate.drawing import noise_free_renderer, noise_sampler
from cryojax_graph.jobs.simulate.draws import ImageParameters, draw_images, uniform_weights
from cryojax_graph.jobs.simulate.images import particle_discs
from cryojax_graph.jobs.simulate.molecule import read_molecule
from cryojax_graph.jobs.truth import read_truth
from cryojax_graph.training.mesh import data_mesh

SMALL = {"images": 24, "box": 24, "pixel_size": 1.4, "shift_sigma": 0.5, "snr": 0.2}


def settings_of(folder):
    return from_dict(SimulateConfig, json.loads((folder / "job.json").read_text())["config"])


def read_stack(folder):
    stack = open_stack(folder / "particles.mrcs")
    return stack.read(np.arange(len(stack)))


def rotation(rot, tilt, psi):
    """RELION's matrix, written out."""
    (ca, cb, cg), (sa, sb, sg) = (f(np.deg2rad([rot, tilt, psi])) for f in (np.cos, np.sin))
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def oracle(positions, elements, table, row, *, contrast, box):
    """Image of a row of a particle table: the definition, in float64, atom by atom."""
    pixel = table.pixel_size[row]
    masses, widths = atom_gaussians(elements, np.zeros(len(elements)))
    x, y = (positions @ rotation(*table.euler_degrees[row]).T)[:, :2].T
    x, y = x - table.shift_angstrom[row, 0], y - table.shift_angstrom[row, 1]
    edges = (np.arange(box + 1) - box // 2 - 0.5) * pixel
    density = np.zeros((box, box))
    for atom in range(len(elements)):
        for mass, width in zip(masses[atom], widths[atom].astype(float), strict=True):
            in_y, in_x = (
                0.5 * np.diff(erf((edges - centre[atom]) / (np.sqrt(2) * width)))
                for centre in (y, x)
            )
            density += mass / pixel**2 * in_y[:, None] * in_x
    volts = 1e3 * table.voltage_kv[row]
    wavelength = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    ky, kx = np.meshgrid(np.fft.fftfreq(box, pixel), np.fft.rfftfreq(box, pixel), indexing="ij")
    k2 = kx**2 + ky**2
    u, v = table.defocus_u[row], table.defocus_v[row]
    angle = np.arctan2(ky, kx) - np.deg2rad(table.defocus_angle_degrees[row])
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * angle)
    chi = np.pi * wavelength * defocus * k2
    chi -= np.pi / 2 * 1e7 * table.spherical_aberration_mm[row] * wavelength**3 * k2**2
    w = table.amplitude_contrast[row]
    ctf = np.sqrt(1 - w**2) * np.sin(chi) + w * np.cos(chi)
    ctf *= np.exp(-table.b_factor[row] * k2 / 4)
    return contrast * np.fft.irfft2(np.fft.rfft2(density) * ctf, s=density.shape)


@pytest.fixture(scope="module")
def clean(peptide, tmp_path_factory):
    """A set without noise of a molecule that does not move, made in parts of ten images."""
    folder = tmp_path_factory.mktemp("clean")
    write_atoms(folder / "model.pdb", peptide)
    config = SimulateConfig(input=str(folder / "model.pdb"), noise="none", **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "images_per_part", lambda box: 10)
        return simulate(config, options=JobOptions(output=str(folder / "job"), seed=3))


@pytest.fixture(scope="module")
def noisy(bending, tmp_path_factory):
    """A set with noise of a molecule that moves, from a file with many models."""
    folder = tmp_path_factory.mktemp("noisy")
    write_trajectory(folder / "motion.cif", bending)
    config = SimulateConfig(input=str(folder / "motion.cif"), noise="coloured", **SMALL)
    return simulate(config, options=JobOptions(output=str(folder / "job"), seed=3))


@pytest.mark.parametrize("row", [0, 13])
def test_images_agree_with_the_definition(clean, peptide, row):
    table, truth = read_particles(clean / "particles.star"), read_npz(clean / "truth.npz")
    positions = peptide.positions.astype(float) + truth["moved_by"]
    expected = truth["signal_scale"] * oracle(
        positions, peptide.element.tolist(), table, row, contrast=truth["contrast"][row], box=24
    )
    image = read_stack(clean)[row]
    np.testing.assert_allclose(image, expected, atol=2e-5 * np.abs(image).max())


def test_padding_cuts_the_box_out_of_a_larger_field(clean, peptide):
    table, truth = read_particles(clean / "particles.star"), read_npz(clean / "truth.npz")
    microscope = Microscope(padding=2)
    config = replace(settings_of(clean), microscope=microscope)
    molecule = read_molecule(config)
    drawn = ImageParameters(*(truth[name][:2] for name in ImageParameters._fields))
    image = noise_free_renderer(molecule, config, data_mesh())(drawn)[1]
    expected = oracle(
        molecule.positions[0].astype(float),
        peptide.element.tolist(),
        table,
        1,
        contrast=truth["contrast"][1],
        box=48,
    )[12:36, 12:36]
    np.testing.assert_allclose(image, expected, atol=2e-5 * np.abs(image).max())


def test_images_without_noise_have_variance_one(clean):
    assert read_stack(clean).var(axis=(1, 2)).mean() == pytest.approx(1.0, rel=1e-5)
    assert "snr" not in json.loads((clean / "metrics.json").read_text())
    assert read_npz(clean / "truth.npz")["noise_sigma"] == 0


def test_the_disc_lies_where_the_particle_is(noisy):
    truth = read_npz(noisy / "truth.npz")
    drawn = ImageParameters(*(truth[name] for name in ImageParameters._fields))
    pixels = (np.arange(24) - 12) * SMALL["pixel_size"]
    for shift, disc in zip(
        drawn.shift_angstrom, particle_discs(drawn, 8.0, settings_of(noisy)), strict=True
    ):
        assert disc.sum() * SMALL["pixel_size"] ** 2 == pytest.approx(np.pi * 8.0**2, rel=0.1)
        centre = [pixels @ disc.sum(axis=axis) / disc.sum() for axis in (0, 1)]
        np.testing.assert_allclose(centre, -shift, atol=0.5)


def test_noise_has_variance_one_and_the_signal_the_ratio_asked_for(noisy):
    truth = read_npz(noisy / "truth.npz")
    metrics = json.loads((noisy / "metrics.json").read_text())
    assert metrics["snr"] == pytest.approx(0.2, rel=1e-6)
    assert metrics["snr_times_pixels"] == pytest.approx(0.2 * 24**2, rel=1e-6)
    assert 0 < metrics["snr_in_disc"] < metrics["snr"] * 24**2
    # 24 images of 576 pixels: the variance is good to 2 %.
    total = read_stack(noisy).var(axis=(1, 2)).mean()
    assert total == pytest.approx(1.2, rel=0.1)
    assert truth["noise_sigma"] == 1


def test_the_table_and_the_truth_say_the_same(noisy):
    table = read_particles(noisy / "particles.star")
    table.require("poses", "ctf", "pixel_size", "box", "half_sets")
    truth = read_npz(noisy / "truth.npz")
    for name in ("euler_degrees", "shift_angstrom", "defocus_u", "defocus_v", "b_factor"):
        np.testing.assert_allclose(truth[name], getattr(table, name), atol=1e-9, err_msg=name)
    for matrix, angles in zip(truth["rotation"], table.euler_degrees, strict=True):
        np.testing.assert_allclose(matrix, rotation(*angles), atol=1e-9)
    assert np.bincount(table.half_set).tolist() == [0, 12, 12]
    assert (truth["defocus_u"] >= truth["defocus_v"]).all()
    assert np.abs(table.shift_angstrom).max() <= 3 * SMALL["shift_sigma"]
    assert open_images(table).box == 24


def test_the_truth_holds_the_conformation_of_every_image(noisy, bending):
    truth = read_truth(noisy / "truth.npz")
    alpha = bending.atoms.name == "CA"
    np.testing.assert_allclose(
        truth.c_alpha,
        bending.positions[:, alpha] + read_npz(noisy / "truth.npz")["moved_by"],
        atol=1e-3,
    )
    np.testing.assert_allclose(truth.c_alpha[0].mean(axis=0), 0, atol=1e-5)
    assert truth.chain.tolist() == ["A"] * 3 + ["B"] * 3
    assert truth.residue_number.tolist() == [1, 2, 3, 1, 2, 3]
    assert len(truth.frame_index) == 24
    assert set(truth.frame_index.tolist()) <= {0, 1, 2, 3}
    reference = read_atoms(noisy / "reference.cif")
    np.testing.assert_allclose(reference.positions[alpha], truth.c_alpha[0], atol=1e-3)


def test_coloured_noise_is_weaker_at_high_frequency(noisy):
    power = (np.abs(np.fft.rfft2(read_stack(noisy))) ** 2).mean(axis=0)
    assert power[0, 1:3].mean() > 1.5 * power[12, 8:].mean()


def test_the_noise_of_an_image_depends_on_its_number_alone(noisy):
    sample = noise_sampler(jax.random.key(1), settings_of(noisy), data_mesh())
    together = sample(np.arange(24))
    again = sample(np.arange(24)[::-1])
    np.testing.assert_array_equal(together, again[::-1])
    assert np.abs(np.corrcoef(together.reshape(24, -1)) - np.eye(24)).max() < 0.4


def test_an_interrupted_job_continues_to_the_same_bytes(clean, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "images_per_part", lambda box: 10)
    config, options = settings_of(clean), JobOptions(output=str(tmp_path / "stopped"), seed=3)
    drawn = []
    renderer = images.noise_free_renderer

    def interrupted_after(limit):
        def make(*arguments):
            draw = renderer(*arguments)

            def count(parameters):
                if len(drawn) == limit:
                    raise KeyboardInterrupt
                drawn.append(len(parameters.contrast))
                return draw(parameters)

            return count

        return make

    monkeypatch.setattr(images, "noise_free_renderer", interrupted_after(2))
    with pytest.raises(KeyboardInterrupt):
        simulate(config, options=options)
    assert not (tmp_path / "stopped" / "particles.mrcs").exists()
    # What a kill in the middle of a part leaves behind.
    (tmp_path / "stopped" / "clean" / ".part_000002.mrcs.0123.part").write_bytes(b"half")
    monkeypatch.setattr(images, "noise_free_renderer", interrupted_after(99))
    continued = simulate(config, options=options)
    assert len(drawn) == 3
    assert not (continued / "clean").exists()
    for name in ("particles.mrcs", "truth.npz"):
        assert (continued / name).read_bytes() == (clean / name).read_bytes()


def test_a_longer_set_begins_with_the_images_of_a_shorter_one():
    config = SimulateConfig(input="", images=20)
    key, weights = jax.random.key(5), uniform_weights(7)
    short = draw_images(key, replace(config, images=6), weights)
    for one, other in zip(short, draw_images(key, config, weights), strict=True):
        np.testing.assert_array_equal(one, other[:6])


def test_draws_follow_their_distributions():
    config = SimulateConfig(input="", images=4000, shift_sigma=2.0, contrast_sigma=0.1)
    weights = np.array([0.0, 0.5, 0.2, 0.3, 0.0])
    drawn = draw_images(jax.random.key(0), config, weights)
    shares = np.bincount(drawn.frame_index, minlength=5) / 4000
    np.testing.assert_allclose(shares, weights, atol=0.03)
    assert shares[0] == shares[4] == 0
    # Uniform rotations have a uniform cosine of tilt, and rot and psi without direction.
    assert np.cos(np.deg2rad(drawn.euler_degrees[:, 1])).mean() == pytest.approx(0, abs=0.03)
    for angle in drawn.euler_degrees[:, [0, 2]].T:
        assert np.abs(np.exp(1j * np.deg2rad(angle)).mean()) < 0.05
    # Cut off at three sigma, a normal distribution has 98.66 % of its standard deviation.
    np.testing.assert_allclose(drawn.shift_angstrom.std(axis=0), 2.0 * 0.9866, rtol=0.05)
    np.testing.assert_allclose(drawn.contrast.mean(), 1.0, atol=0.01)
    defocus = (drawn.defocus_u + drawn.defocus_v) / 2
    assert 8000 <= defocus.min() < 8100
    assert 24900 < defocus.max() <= 25000
    assert (drawn.defocus_u - drawn.defocus_v).max() <= 200.2


def test_c_alpha_atoms_alone_become_residues(peptide, tmp_path):
    write_atoms(tmp_path / "trace.pdb", select_atoms(peptide, peptide.name == "CA"))
    config = SimulateConfig(input=str(tmp_path / "trace.pdb"), **SMALL)
    plan = plan_simulate(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "6 residues" in plan.actions[0]
    assert not (tmp_path / "job").exists()


def test_the_page_shows_the_set(noisy):
    page = (noisy / "report.html").read_text()
    for words in ("SNR over the box", "Conformations", "Viewing directions", "data:image/png"):
        assert words in page


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"box": 20, "pixel_size": 0.5}, "use --box"),
        ({"images": 0}, "--images"),
        ({"snr": 0.0}, "--snr"),
        ({"snr": float("nan")}, "--snr"),
        ({"pixel_size": -1.0}, "--pixel-size"),
        ({"contrast_sigma": 0.5}, "--contrast-sigma"),
        ({"defocus_range": (2.0, 1.0)}, "--defocus-range"),
        ({"microscope": Microscope(voltage=0.0)}, "--voltage"),
        ({"sampling": "nowhere.csv"}, "nowhere.csv"),
        ({"input": "nowhere.pdb"}, "nowhere.pdb"),
    ],
)
def test_refuses_before_anything_is_drawn(motion_files, tmp_path, settings, words):
    file, template = motion_files
    config = SimulateConfig(**{"input": file, "template": template, **SMALL, **settings})
    with pytest.raises(InputError, match=words):
        simulate(config, options=JobOptions(output=str(tmp_path / "job")))
    # A corrected command must not meet the remains of a refused one.
    assert not (tmp_path / "job").exists()
