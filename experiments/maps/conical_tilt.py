"""Random conical tilt beside the truth; the cone bootstrap beside the true deviation.

``tilt``: simulated tilt pairs of one structure, in-plane angles at random, CTF, white noise. The
filtered map of ``reconstruct --tilt-pairs`` is compared with the truth by shells, from 38 Å to the
resolution: outside the missing cone, and in the inner half of its angle. In coarser shells nothing
is far from the edge of the cone, across which a particle of finite size reaches.

``centring``: the same with particles off the centre of their tilted images. ``pose`` looks for them
with the map of the round before, 1° around the poses; their origins are then used, not the poses.

``bootstrap``: images of the same structure, views uneven, drawn many times with other noise. The
true deviation of each voxel is that over the draws, of the same filtered map; that of the bootstrap
comes from the images of a single draw.

    python experiments/maps/conical_tilt.py --data DATA --work WORK --results RESULTS
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record, write_density

from cryojax_graph.forward.bootstrap import add_replicate, cone_bootstrap, no_replicates
from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import shift_image, to_image, to_spectrum
from cryojax_graph.forward.reconstruct import (
    complete_sums,
    insert_slices,
    no_slices,
    shell_weights,
    solve_map,
)
from cryojax_graph.forward.slices import slice_spectrum, volume_spectrum
from cryojax_graph.geometry import conical_tilt_angles
from cryojax_graph.io import (
    new_particles,
    read_map,
    read_particles,
    with_columns,
    write_particles,
    write_stack,
)
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose
from cryojax_graph.jobs.reconstruct import PairingConfig, ReconstructConfig, reconstruct
from cryojax_graph.metrics import half_spectrum, outside_cone, spectral_radius

FIELD, ENTRY, AXIS, BEFORE = 192.0, "1a9x", 25.0, -40.0
# 38 Å.
_FIRST = 5
Arrays = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    atoms = read_entry(arguments.data, ENTRY, work)
    rows = []
    for box, snr in ((64, 0.1), (64, 0.03)):
        truth = work / f"map_{box}.mrc"
        write_density(atoms, box, FIELD / box, truth)
        density = read_map(truth).values
        rows += [tilt_row(work, density, tilt, arguments.pairs, snr) for tilt in (45.0, 60.0)]
    record(arguments.results, "tilt", rows)
    record(arguments.results, "centring", centring_rows(work, density, 400))
    write_density(atoms, 48, FIELD / 48, work / "map_48.mrc")
    density = read_map(work / "map_48.mrc").values
    record(arguments.results, "bootstrap", bootstrap_rows(density, arguments.draws))


@partial(jax.jit, static_argnames="pixel")
def noisy_images(key, density, rotation, defocus, snr, pixel):
    """Images with CTF; the ratio of variances is over the whole box."""
    box = density.shape[0]
    spectrum = volume_spectrum(density, voxel_size=pixel)

    def one(given):
        matrix, focus = given
        transfer = contrast_transfer(CTF(focus, focus), box=box, pixel_size=pixel)
        return to_image(slice_spectrum(spectrum, matrix, box=box) * transfer)

    clean = jax.lax.map(one, (rotation, defocus), batch_size=32)
    return clean + clean.std() / jnp.sqrt(snr) * jax.random.normal(key, clean.shape)


def tilt_row(work: Path, density: np.ndarray, tilt: float, pairs: int, snr: float) -> dict:
    folder = work / f"tilt_{tilt:g}_{snr:g}"
    write_pairs(folder, density, tilt, snr, np.zeros((pairs, 2)))
    job = reconstructed(folder, folder / "tilted.star", tilt, "job")
    return {
        "tilt_degrees": tilt,
        "pairs": pairs,
        "box": len(density),
        "snr": snr,
        **compared(job, density, tilt),
    }


def centring_rows(work: Path, density: np.ndarray, pairs: int) -> list[dict]:
    """Particles off the centre of their tilted images, found by ``pose`` with the map itself."""
    tilt, off, folder = 60.0, 6.0, work / "centring"
    shift = off * np.random.default_rng(0).normal(size=(pairs, 2))
    write_pairs(folder, density, tilt, 0.1, shift)
    rows, table = [], folder / "tilted.star"
    for number in range(3):
        job = reconstructed(folder, table, tilt, f"job{number}")
        origin = read_particles(job / "particles.star").shift_angstrom
        error = np.sqrt(np.sum((origin + shift) ** 2, axis=1).mean())
        found = {"round": number, "pairs": pairs, "shift_error_rms_angstrom": round(error, 2)}
        rows.append(found | compared(job, density, tilt))
        if number < 2:
            config = PoseConfig(
                str(job / "particles.star"),
                str(job / "class1/map.mrc"),
                start="given",
                within=1.0,
                shift_range=20.0,
                resolution=15.0,
                image_root=str(folder),
            )
            options = JobOptions(output=str(folder / f"pose{number}"), overwrite=True)
            table = pose(config, options=options) / "particles.star"
    return rows


def write_pairs(
    folder: Path, density: np.ndarray, tilt: float, snr: float, shift: np.ndarray
) -> None:
    """Tables of both, and the tilted images, whose particles stand at ``shift`` (Å)."""
    pairs, pixel, random = len(shift), FIELD / len(density), np.random.default_rng(int(tilt))
    in_plane = random.uniform(-180, 180, pairs)
    defocus = random.uniform(8_000, 25_000, pairs)
    euler = conical_tilt_angles(
        in_plane, np.full(pairs, tilt), np.full(pairs, AXIS), np.full(pairs, BEFORE)
    )
    rotation = jnp.asarray(rotation_from_euler(euler), jnp.float32)
    images = noisy_images(
        jax.random.key(0), density, rotation, jnp.asarray(defocus, jnp.float32), snr, pixel
    )
    # Moved with their noise, which is as white afterwards.
    moved = jax.vmap(partial(shift_image, pixel_size=pixel))(images, jnp.float32(shift))
    folder.mkdir(exist_ok=True)
    write_stack(folder / "tilted.mrcs", np.asarray(moved), pixel_size=pixel)
    common: Arrays = {
        "image_path": np.full(pairs, "tilted.mrcs"),
        "image_index": np.arange(pairs),
        "defocus_u": defocus,
        "defocus_v": defocus,
        "defocus_angle_degrees": np.zeros(pairs),
        "voltage_kv": np.full(pairs, 300.0),
        "spherical_aberration_mm": np.full(pairs, 2.7),
        "amplitude_contrast": np.full(pairs, 0.1),
        "pixel_size": np.full(pairs, pixel),
        "box": np.full(pairs, len(density)),
    }
    tilted = new_particles(folder / "tilted.star", common)
    write_particles(tilted, folder / "tilted.star")
    upright = np.stack([0 * in_plane, 0 * in_plane, in_plane], axis=1)
    posed = {"euler_degrees": upright, "shift_angstrom": np.zeros((pairs, 2))}
    write_particles(with_columns(tilted, posed), folder / "untilted.star")


def reconstructed(folder: Path, table: Path, tilt: float, name: str) -> Path:
    config = ReconstructConfig(
        str(table),
        tilt_pairs=str(folder / "untilted.star"),
        tilt_angle=tilt,
        tilt_axis=AXIS,
        pairs=PairingConfig(untilted_axis=BEFORE),
        image_root=str(folder),
    )
    return reconstruct(config, options=JobOptions(output=str(folder / name), overwrite=True))


def compared(job: Path, density: np.ndarray, tilt: float) -> dict[str, float]:
    """The filtered map beside the truth."""
    box, cone = len(density), 90.0 - tilt
    found = half_spectrum(read_map(job / "class1/map.mrc").values)
    true, shell = half_spectrum(density), np.rint(spectral_radius(box))
    curve = np.loadtxt(job / "fsc.csv", delimiter=",", skiprows=1)[:, 2]
    below = np.flatnonzero(curve[1:] < 0.143)
    last = int(below[0]) if len(below) else box // 2
    regions = {
        "outside": outside_cone(box, cone),
        "inside": ~outside_cone(box, cone / 2),
        "everywhere": np.ones(found.shape, bool),
    }
    means = {
        name: np.mean(
            [beside(found, true, region & (shell == s)) for s in range(_FIRST, last + 1)], axis=0
        )
        for name, region in regions.items()
    }
    return {
        "resolution_angstrom": round(FIELD / last, 2),
        **{f"fsc_truth_{name}": round(float(values[0]), 3) for name, values in means.items()},
        "amplitude_inside_over_outside": round(means["inside"][1] / means["outside"][1], 3),
    }


def beside(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Correlation of some coefficients, and the ratio of their amplitudes."""
    f, g = first[where], second[where]
    amplitude, other = np.linalg.norm(f), np.linalg.norm(g)
    return float((f * g.conj()).real.sum() / amplitude / other), float(amplitude / other)


@partial(jax.jit, static_argnames="pixel")
def data_of(images, defocus, pixel):
    """Data and weights of images."""
    box = images.shape[1]
    transfer = jax.vmap(lambda f: contrast_transfer(CTF(f, f), box=box, pixel_size=pixel))(defocus)
    return jax.vmap(to_spectrum)(images) * transfer, transfer**2


@jax.jit
def sums_of(data, weights, rotation):
    return complete_sums(insert_slices(no_slices(data.shape[1]), data, weights, rotation))


def bootstrap_rows(density: np.ndarray, draws: int) -> list[dict]:
    box, images = len(density), 600
    pixel, random = FIELD / box, np.random.default_rng(0)
    # Most views within 30° of z: what lies along z is seen by one image in eight.
    tilt = np.where(np.arange(images) % 8 == 0, 90.0, 30 * np.sqrt(random.random(images)))
    turns = random.uniform(0, 360, (2, images))
    euler = np.stack([turns[0], tilt, turns[1]], axis=1)
    rotation = jnp.asarray(rotation_from_euler(euler), jnp.float32)
    defocus = jnp.asarray(random.uniform(8_000, 25_000, images), jnp.float32)
    rows = []
    for snr in (0.1, 0.01):
        precision, solved = None, no_replicates(jnp.asarray(density))
        found: dict[int, list[np.ndarray]] = {10: [], 20: [], 40: []}
        for draw in range(draws):
            pictures = noisy_images(jax.random.key(draw), density, rotation, defocus, snr, pixel)
            data, weights = data_of(pictures, defocus, pixel)
            sums = sums_of(data, weights, rotation)
            if precision is None:
                precision = 0.1 * shell_weights(sums, box=box)
            volume = solve(sums, precision, box)
            solved = add_replicate(solved, volume)
            if draw < 3:
                for parts, deviations in found.items():
                    _, deviation = cone_bootstrap(
                        jax.random.key(100 + draw), data, weights, rotation, precision, parts=parts
                    )
                    deviations.append(np.asarray(deviation, np.float64))
        true = np.sqrt(np.asarray(solved.scatter, np.float64) / (draws - 1))
        inside = np.asarray(density) > 0.1 * np.asarray(density).max()
        for parts, deviations in found.items():
            ratio = [d / true for d in deviations]
            rows.append(
                {
                    "snr": snr,
                    "images": images,
                    "parts": parts,
                    "draws": draws,
                    "ratio_rms": round(float(np.mean([rms(d) for d in deviations]) / rms(true)), 3),
                    "ratio_rms_in_particle": round(
                        float(np.mean([rms(d[inside]) for d in deviations]) / rms(true[inside])), 3
                    ),
                    "ratio_median_of_voxels": round(float(np.median(ratio)), 3),
                    "ratio_p05": round(float(np.percentile(ratio, 5)), 3),
                    "ratio_p95": round(float(np.percentile(ratio, 95)), 3),
                    "true_deviation_over_map_in_particle": round(
                        rms(true[inside]) / rms(np.asarray(solved.mean)[inside]), 3
                    ),
                }
            )
    return rows


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@partial(jax.jit, static_argnames="box")
def solve(sums, precision, box):
    return solve_map(sums, precision, box=box)


if __name__ == "__main__":
    main()
