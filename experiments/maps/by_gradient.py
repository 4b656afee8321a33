"""A map refined by the gradient of the likelihood of its images, beside the Fourier solution.

Particles by ``relion_project`` (Debian's RELION 3.1.3), true poses. The likelihood of all images is
a quadratic function of the map, and its gradient, through Fourier slices, CTF and shifts, is what
conjugate gradients climb by: alone, and with the prior that the Wiener filter of ``reconstruct``
stands for, the power of the map in each shell. Each iteration is one gradient over all images. The
gradient is held against central differences in float64 for single voxels and random directions.

    python experiments/maps/by_gradient.py --data DATA --work WORK --results RESULTS
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record, write_density
from relion import project

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.image import log_likelihood, map_spectrum
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.slices import volume_spectrum
from cryojax_graph.io import read_map
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import read_particle_set
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.metrics.fsc import fourier_shell_correlation, shell_index

ENTRY, BOX, PIXEL, SNR = "1a9x", 64, 3.0, 0.1
BLOCK = 50
SHOWN = (1, 3, 5, 10, 20)


def likelihood_of(particles: Path, images: int) -> Callable[[jax.Array], jax.Array]:
    """Log-likelihood of the images as a function of the map, white noise of unit power."""
    found = read_particle_set(str(particles), image_root=None, fewest=1, too_few="")
    table = found.table
    rows = np.arange(images)
    data = {
        "image": found.images.read(rows),
        "rotation": rotation_from_euler(table.euler_degrees[rows]),
        "shift": table.shift_angstrom[rows],
        "ctf": CTF(*(np.asarray(values)[rows] for values in found.ctf)),
    }
    blocks = jax.tree.map(lambda a: jnp.asarray(a).reshape(-1, BLOCK, *a.shape[1:]), data)

    def likelihood(volume: jax.Array) -> jax.Array:
        spectrum = volume_spectrum(volume)

        def of_image(data: dict) -> jax.Array:
            predicted = map_spectrum(
                spectrum, data["rotation"], data["shift"], data["ctf"], box=BOX, pixel_size=PIXEL
            )
            return log_likelihood(predicted, to_spectrum(data["image"]), 1.0, 1.0)

        return jax.lax.map(lambda block: jax.vmap(of_image)(block).sum(), blocks).sum()

    return likelihood


def gradient_errors(particles: Path, volume: np.ndarray, images: int) -> dict[str, float]:
    """Largest error of the gradient, relative to the largest derivative, against differences."""
    with jax.enable_x64(True):
        likelihood = likelihood_of(particles, images)
        value = jax.jit(likelihood)
        point = jnp.asarray(volume, jnp.float64)
        gradient = np.asarray(jax.jit(jax.grad(likelihood))(point))
        rng, step = np.random.default_rng(0), 1e-3 * float(np.abs(volume).max())
        directions = {"random_direction": list(rng.standard_normal((5, *volume.shape)))}
        inside = np.argwhere(volume > 0.2 * volume.max())
        chosen = inside[rng.integers(len(inside), size=20)]
        directions["voxel"] = [np.zeros(volume.shape) for _ in chosen]
        for direction, place in zip(directions["voxel"], chosen, strict=True):
            direction[tuple(place)] = 1.0
        errors = {}
        for name, along in directions.items():
            expected = [
                float(value(point + step * d) - value(point - step * d)) / (2 * step) for d in along
            ]
            found = [float((gradient * d).sum()) for d in along]
            scale = np.abs(expected).max()
            errors[f"gradient_error_{name}"] = float(np.abs(np.subtract(found, expected)).max())
            errors[f"gradient_error_{name}"] /= float(scale)
    return errors


def prior_of(filtered: np.ndarray, curve: np.ndarray) -> Callable[[jax.Array], jax.Array]:
    """Logarithm of a Gaussian prior of the map, of the power that a Wiener-filtered map shows."""
    agreement = np.clip(curve, 1e-3, 0.999)
    kept = 2 * agreement / (1 + agreement)
    shell = np.minimum(np.asarray(shell_index(BOX)).astype(int), BOX // 2)
    power = np.abs(np.fft.rfftn(filtered, norm="ortho")) ** 2
    mean = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    precision = jnp.asarray((kept / np.maximum(mean, 1e-12 * mean.max()))[shell], jnp.float32)
    twice = jnp.asarray(np.where(np.isin(np.arange(BOX // 2 + 1), (0, BOX // 2)), 1.0, 2.0))

    def prior(volume: jax.Array) -> jax.Array:
        spectrum = jnp.fft.rfftn(volume, norm="ortho")
        square = spectrum.real**2 + spectrum.imag**2
        return -0.5 * jnp.sum(twice * precision * square)

    return prior


def climbed(
    objective: Callable[[jax.Array], jax.Array], ball: jax.Array, iterations: int
) -> Iterator[jax.Array]:
    """Maps after each iteration of conjugate gradients from an empty map."""
    gradient = jax.jit(lambda volume: jax.grad(objective)(volume * ball) * ball)
    nothing = jnp.zeros((BOX,) * 3)
    first = gradient(nothing)
    residual, direction, volume = first, first, nothing
    for _ in range(iterations):
        curved = first - gradient(direction)
        power = jnp.vdot(residual, residual)
        step = power / jnp.vdot(direction, curved)
        volume, residual = volume + step * direction, residual - step * curved
        direction = residual + jnp.vdot(residual, residual) / power * direction
        yield volume * ball


def against(
    folder: Path,
    likelihood: Callable[[jax.Array], jax.Array],
    true: np.ndarray,
    ball: jax.Array,
    arguments: argparse.Namespace,
) -> list[dict]:
    """Figures of the climb with and without a prior, beside the Fourier solution in a folder."""
    correlation = jax.jit(fourier_shell_correlation)
    curve = np.loadtxt(folder / "fsc.csv", delimiter=",", skiprows=1)[:, 3]
    filtered = read_map(folder / "map_unsharpened.mrc").values
    solution = jnp.asarray(filtered) * ball
    of_fourier = np.asarray(correlation(solution, jnp.asarray(true)))
    weight = np.clip(of_fourier, 0, 1) * np.arange(BOX // 2 + 1) ** 2
    pixels = arguments.images * BOX**2
    variance = -2 * float(likelihood(jnp.asarray(true))) / pixels
    prior, rows = prior_of(filtered, curve), []

    def posterior(volume: jax.Array) -> jax.Array:
        return likelihood(volume) / variance + prior(volume)

    for name, objective in (("likelihood", likelihood), ("posterior", posterior)):
        for number, volume in enumerate(climbed(objective, ball, arguments.iterations), start=1):
            if number not in SHOWN and number != arguments.iterations:
                continue
            between = np.asarray(correlation(volume, solution))
            of_truth = np.asarray(correlation(volume, jnp.asarray(true)))
            row = {
                "objective": name,
                "iterations": number,
                "value_per_pixel": round(float(objective(volume)) / pixels, 6),
                "correlation_weighted": round(float((weight * between).sum() / weight.sum()), 4),
            }
            print(json.dumps(row), flush=True)
            row |= {"fsc_between": rounded(between), "fsc_truth": rounded(of_truth)}
            rows.append(row | {"fsc_truth_of_fourier_solution": rounded(of_fourier)})
    return rows


def rounded(curve: np.ndarray) -> list[float]:
    """For the file."""
    return np.round(curve.astype(float), 3).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve() / f"{ENTRY}_{BOX}_{arguments.images}"
    work.mkdir(parents=True, exist_ok=True)
    truth = work / "map.mrc"
    if not truth.exists():
        write_density(read_entry(arguments.data, ENTRY, work), BOX, PIXEL, truth)
    particles = project(work, arguments.images, SNR, box=BOX, pixel=PIXEL)
    true = read_map(truth).values
    rows = [gradient_errors(particles, true, BLOCK)]
    print(json.dumps(rows[-1]), flush=True)
    folder = work / "fourier"
    config = ReconstructConfig(str(particles))
    reconstruct(config, options=JobOptions(output=str(folder), overwrite=True))
    ball = soft_sphere(BOX, radius=BOX / 2 - 3, edge=3.0)
    likelihood = likelihood_of(particles, arguments.images)
    rows += against(folder, likelihood, true, ball, arguments)
    record(arguments.results, "by_gradient", rows)


if __name__ == "__main__":
    main()
