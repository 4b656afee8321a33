"""What ``pose`` does with the stacks of ``particles/``: tilts, single particles, a toy volume.

Tilts of six ribosomes (14.56 Å a pixel) are searched around the given poses turned by 10 degrees,
with RELION's reconstruction of the tilts of the other particles, or of every second tilt of all six
where the others are searched; of the map the whole is taken, the inside of a soft sphere around the
particle, or what is around it. Nulls are noise with the power of the images and poses of other
tilts of the particle. Then particles with maps of the large subunit of a ribosome and a foreign
one, refused or not, and noise-free projections of a toy volume. Each row is kept in the work
folder; what is done is not done again.

    python experiments/poses/experimental.py --data DATA --work WORK --results RESULTS
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from known_shifts import degrees_between
from molecules import record
from relion import finished

from cryojax_graph.forward import CTF, map_image, volume_spectrum
from cryojax_graph.geometry import chordal_mean, exp_map
from cryojax_graph.io import new_particles, read_map, read_particles, write_map
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import ParticleTable, subset
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose
from cryojax_graph.jobs.validate import ValidatePosesConfig, validate_poses
from cryojax_graph.metrics import fourier_shell_correlation, resolution_angstrom

Row = dict[str, Any]
TURN, WITHIN = 10.0, 20.0
# Å: of the sphere that a ribosome fits into, and of the edge of its mask.
MASK, EDGE = 200.0, 44.0
TILTS = "particles/tilt_ribosome_219"
TILT_STACK = "ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs"
SUBUNIT = "states/empiar_10076_50S/vol_{}.mrc.gz"
FOREIGN = "maps/emd_6824/map.mrc.gz"

_50S = "particles/empiar_10076_7/empiar_10076_7"
FIRST = "50s_cs"
SINGLE = {
    FIRST: (f"{_50S}.cs", None, SUBUNIT.format("458")),
    "50s_star": (f"{_50S}.star", None, SUBUNIT.format("458")),
    "50s_star_inverted": (f"{_50S}.star", "inverted", SUBUNIT.format("458")),
    "50s_other_mature_map": (f"{_50S}.cs", None, SUBUNIT.format("457")),
    "50s_immature_map": (f"{_50S}.cs", None, SUBUNIT.format("018")),
    "50s_foreign_map": (f"{_50S}.cs", None, FOREIGN),
    "50s_noise": (f"{_50S}.star", "noise", SUBUNIT.format("458")),
    "relion31": ("particles/relion31_5/relion31.star", None, SUBUNIT.format("458")),
    "aspire": (
        "particles/aspire_sample_17/sample_particles_relion31.star",
        None,
        SUBUNIT.format("458"),
    ),
}


class Tilts(NamedTuple):
    """Tilts with poses, their images, and which particle and how many-th tilt of it they are."""

    table: ParticleTable
    images: np.ndarray
    particle: np.ndarray
    order: np.ndarray

    @property
    def rotation(self) -> np.ndarray:
        return rotation_from_euler(self.table.euler_degrees)


class Trial(NamedTuple):
    """What is searched, and from where.

    Attributes:
        turn: each tilt about an axis of its own, all tilts of a particle by one rotation of it, or
            none.
        noise: images of the same power in place of the tilts.
        permuted: tilts take the poses of others of their particle.
    """

    turn: str = "each"
    noise: bool = False
    permuted: bool = False


TRIALS = {
    "turned": Trial(),
    "as_given": Trial(turn="none"),
    "noise": Trial(noise=True),
    "poses_permuted": Trial(permuted=True),
    "turned_as_one": Trial(turn="particle"),
    "noise_turned_as_one": Trial(turn="particle", noise=True),
}


def texts(text: str, count: int) -> np.ndarray:
    return np.full(count, text, np.dtypes.StringDType())


def of_same_power(images: np.ndarray) -> np.ndarray:
    """Noise with the amplitude of every Fourier coefficient of the images, phases at random."""
    noise = np.random.default_rng(2).standard_normal(images.shape)
    phases = np.exp(1j * np.angle(np.fft.rfft2(noise)))
    spectrum = np.abs(np.fft.rfft2(images)) * phases
    return np.fft.irfft2(spectrum, s=images.shape[1:]).astype(np.float32)


def read_tilts(data: Path, work: Path) -> Tilts:
    """The tilts in a STAR file with the right pixel size, CTF and poses, in the work folder."""
    folder = data / TILTS
    with np.load(folder / "poses_ctf.npz") as arrays:
        rotation, shift = arrays["rotations"].astype(float), arrays["translations_frac"]
        ctf = dict(zip(arrays["ctf_columns"].tolist(), arrays["ctf"].T.astype(float), strict=True))
    count = len(rotation)
    images = open_stack(folder / TILT_STACK).read(np.arange(count))
    box = images.shape[1]
    pixel = float(np.round(ctf["box_px"][0] * ctf["apix_A"][0] / box, 4))
    work.mkdir(parents=True, exist_ok=True)
    path = work / "particles.star"
    if not path.exists():
        write_stack(work / "particles.mrcs", images, pixel_size=pixel)
        write_stack(work / "noise.mrcs", of_same_power(images), pixel_size=pixel)
        fields = {
            "image_path": texts("particles.mrcs", count),
            "image_index": np.arange(count),
            "euler_degrees": euler_from_rotation(rotation),
            "shift_angstrom": shift.astype(float) * box * pixel,
            "defocus_u": ctf["defocusU_A"],
            "defocus_v": ctf["defocusV_A"],
            "defocus_angle_degrees": ctf["defocus_angle_deg"],
            "phase_shift_degrees": ctf["phase_shift_deg"],
            "b_factor": np.zeros(count),
            "voltage_kv": ctf["voltage_kV"],
            "spherical_aberration_mm": np.round(ctf["cs_mm"], 4),
            "amplitude_contrast": np.round(ctf["amp_contrast"], 4),
            "pixel_size": np.full(count, pixel),
            "box": np.full(count, box),
        }
        write_particles(new_particles(path, fields), path)
    names = read_particles(folder / "sta_testing_bin8.star").columns["rlnGroupName"]
    _, first, particle = np.unique(names, return_index=True, return_inverse=True)
    order = np.arange(count) - first[particle]
    return Tilts(read_particles(path), images, particle, order)


def parts_of(tilts: Tilts, left_out: str) -> list[np.ndarray]:
    """Rows that are left out of one map after the other."""
    number = tilts.particle if left_out == "particle" else tilts.order % 2
    return [np.flatnonzero(number == part) for part in np.unique(number)]


def reconstructed(tilts: Tilts, rows: np.ndarray, work: Path, name: str, region: str) -> Path:
    """A region of the map of some tilts by ``relion_reconstruct``."""
    path = work / f"{name}.mrc"
    if not path.exists():
        write_particles(subset(tilts.table, rows), work / f"{name}.star")
        command = ["relion_reconstruct", "--i", f"{name}.star", "--o", path.name, "--ctf"]
        subprocess.run(command, cwd=work, check=True, capture_output=True)
    if region == "whole":
        return path
    density, within = read_map(path), work / f"{name}_{region}.mrc"
    sphere = soft_sphere(len(density.values), float(density.voxel_size[0]))
    factor = sphere if region == "masked" else 1 - sphere
    write_map(within, replace(density, values=density.values * factor))
    return within


def soft_sphere(box: int, voxel: float) -> np.ndarray:
    axis = (np.arange(box) - box // 2) * voxel
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return np.clip((MASK + EDGE / 2 - radius) / EDGE, 0, 1).astype(np.float32)


def others_map(tilts: Tilts, left_out: str, part: int, work: Path, region: str) -> Path:
    """The map of all tilts but those of a part."""
    rows = np.setdiff1d(np.arange(len(tilts.table)), parts_of(tilts, left_out)[part])
    name = f"map_without_{left_out}_{part}"
    return reconstructed(tilts, rows, work, name, region)


def other_tilts(tilts: Tilts) -> np.ndarray:
    """For each tilt another one of its particle, at random."""
    rng, other = np.random.default_rng(3), np.arange(len(tilts.table))
    for particle in np.unique(tilts.particle):
        ring = rng.permutation(np.flatnonzero(tilts.particle == particle))
        other[ring] = np.roll(ring, 1)
    return other


def turned(tilts: Tilts, rotation: np.ndarray, turn: str) -> np.ndarray:
    """Rotations by ``TURN`` about axes at random away from some."""
    if turn == "none":
        return rotation
    axes = np.random.default_rng(1).standard_normal((len(rotation), 3))
    if turn == "particle":
        axes = axes[tilts.particle]
    axes *= np.radians(TURN) / np.linalg.norm(axes, axis=1, keepdims=True)
    away = np.asarray(jax.vmap(exp_map)(jnp.asarray(axes)), float)
    return away @ rotation if turn == "each" else rotation @ away


class Answer(NamedTuple):
    """What ``pose`` said of some images, or why it refused them."""

    rotation: np.ndarray
    columns: dict[str, np.ndarray]
    warnings: list[str]
    refusal: dict[str, str]
    seconds: float


def ask(folder: Path, particles: Path, reference: Path, **settings: Any) -> Answer:
    began = time.perf_counter()
    if not finished(folder):
        config = PoseConfig(str(particles), str(reference), **settings)
        try:
            pose(config, options=JobOptions(output=str(folder)))
        except InputError as error:
            refusal = {"place": error.place, "cause": error.cause, "remedy": error.remedy}
            count = len(read_particles(particles))
            nothing = np.full((count, 3, 3), np.nan)
            return Answer(nothing, {}, [], refusal, time.perf_counter() - began)
    seconds = json.loads((folder / "metrics.json").read_text())["wall_seconds"]
    manifest = read_manifest(folder)
    assert manifest is not None
    found = read_particles(folder / f"particles{particles.suffix}")
    columns = {
        name: found.columns[column].astype(float)
        for name, column in (
            ("deviation", "cryojaxgraphRotationDeviation"),
            ("evidence", "cryojaxgraphEvidence"),
            ("log_likelihood", "rlnLogLikeliContribution"),
        )
    }
    rotation = rotation_from_euler(found.euler_degrees)
    return Answer(rotation, columns, manifest["warnings"], {}, seconds)


def said(answers: list[Answer]) -> Row:
    """Figures of what was not refused."""
    ran = [answer for answer in answers if answer.columns]
    refused = [answer.refusal for answer in answers if answer.refusal]
    row: Row = {"refused": refused} if refused else {}
    if ran:
        deviation, evidence, likelihood = (
            np.concatenate([answer.columns[name] for answer in ran])
            for name in ("deviation", "evidence", "log_likelihood")
        )
        row |= {
            "stated_deviation_median_degrees": round(float(np.median(deviation)), 2),
            "stated_deviation_rms_degrees": round(float(np.sqrt(np.mean(deviation**2))), 2),
            "stated_below_10_percent": round(100 * float(np.mean(deviation < 10)), 1),
            "evidence_mean_nats": round(float(evidence.mean()), 2),
            "evidence_error_nats": round(float(evidence.std() / np.sqrt(len(evidence))), 2),
            "log_likelihood_mean_nats": round(float(likelihood.mean()), 2),
            "warnings": sorted({warning for answer in ran for warning in answer.warnings}),
        }
    return row | {"seconds": round(sum(answer.seconds for answer in answers), 1)}


def returned(tilts: Tilts, left_out: str, region: str, name: str, work: Path) -> Row:
    """How far from the given poses the search ends."""
    trial, rotation = TRIALS[name], tilts.rotation
    target = rotation[other_tilts(tilts)] if trial.permuted else rotation
    start = turned(tilts, target, trial.turn)
    changes = {"euler_degrees": euler_from_rotation(start)}
    if trial.noise:
        changes["image_path"] = texts("noise.mrcs", len(start))
    table = with_columns(tilts.table, changes)
    found = np.full_like(start, np.nan)
    weight = np.zeros(len(start))
    answers = []
    for part, rows in enumerate(parts_of(tilts, left_out)):
        particles = work / f"{name}_{left_out}_{part}.star"
        write_particles(subset(table, rows), particles)
        reference = others_map(tilts, left_out, part, work, region)
        folder = work / f"pose_{name}_{reference.stem}"
        answers.append(ask(folder, particles, reference, start="given", within=WITHIN))
        found[rows] = answers[-1].rotation
        if not answers[-1].refusal:
            weight[rows] = 1 / np.maximum(answers[-1].columns["deviation"], 0.1) ** 2
    ran = weight > 0
    row = {"set": "tilt_ribosome_219", "left_out": left_out, "map": region, "start": name}
    row["images"] = int(ran.sum())
    if trial.permuted:
        row["permuted_median_degrees"] = median(degrees_between(target, rotation))
    if ran.any():
        row |= angles(*(turns[ran] for turns in (target, start, found)))
        row |= of_particles(tilts, target, start, found, weight)
    return row | said(answers)


def median(values: np.ndarray) -> float:
    return round(float(np.median(values)), 2)


def angles(target: np.ndarray, start: np.ndarray, found: np.ndarray) -> Row:
    """Angles to the given poses before and after, and how far the search went."""
    before, after = degrees_between(start, target), degrees_between(found, target)
    went = degrees_between(found, start)
    return {
        "before_median_degrees": median(before),
        "before_mean_degrees": round(float(before.mean()), 2),
        "after_median_degrees": median(after),
        "after_mean_degrees": round(float(after.mean()), 2),
        "after_rms_degrees": round(float(np.sqrt(np.mean(after**2))), 2),
        "nearer_than_10_percent": round(100 * float(np.mean(after < 10)), 1),
        "nearer_than_5_percent": round(100 * float(np.mean(after < 5)), 1),
        "went_median_degrees": median(went),
        "went_beyond_within_percent": round(100 * float(np.mean(went > WITHIN)), 1),
        "went_most_degrees": round(float(went.max()), 1),
    }


def of_particles(
    tilts: Tilts, target: np.ndarray, start: np.ndarray, found: np.ndarray, weight: np.ndarray
) -> Row:
    """Angles to the given pose of each particle, as the mean of its tilts sees it.

    Rotations of one tilt are brought into the frame of the particle, where all tilts turn alike;
    tilts weigh by their stated deviations.
    """
    before, after = [], []
    for particle in np.unique(tilts.particle):
        rows = np.flatnonzero((tilts.particle == particle) & (weight > 0))
        for turns, angle in ((start, before), (found, after)):
            if len(rows):
                off = jnp.asarray(np.swapaxes(target[rows], 1, 2) @ turns[rows])
                mean = np.asarray(chordal_mean(off, jnp.asarray(weight[rows])))
                angle.append(round(float(degrees_between(mean[None], np.eye(3)[None])[0]), 2))
    return {"particles_before_degrees": before, "particles_after_degrees": after}


def held_out(tilts: Tilts, left_out: str, region: str, work: Path) -> Row:
    """How well maps predict what was left out of them, in poses as given and in wrong ones."""
    box, pixel = tilts.images.shape[1], float(tilts.table.pixel_size[0])
    rotation = tilts.rotation
    poses = {
        "given": rotation,
        "permuted": rotation[other_tilts(tilts)],
        "transposed": np.swapaxes(rotation, 1, 2),
    }
    correlation = {name: np.zeros(len(rotation)) for name in poses}
    for part, rows in enumerate(parts_of(tilts, left_out)):
        density = read_map(others_map(tilts, left_out, part, work, region)).values
        volume = volume_spectrum(jnp.asarray(density), voxel_size=pixel)
        draw = jax.jit(jax.vmap(partial(map_image, volume, box=box, pixel_size=pixel)))
        shift = jnp.asarray(tilts.table.shift_angstrom[rows], jnp.float32)
        for name, turns in poses.items():
            drawn = draw(jnp.asarray(turns[rows], jnp.float32), shift, ctf_of(tilts.table, rows))
            correlation[name][rows] = correlations(
                np.asarray(drawn), tilts.images[rows], MASK / pixel if region == "masked" else box
            )
    number = tilts.particle if left_out == "particle" else tilts.order
    halves = [
        read_map(reconstructed(tilts, np.flatnonzero(number % 2 == half), work, name, region))
        for half, name in enumerate((f"half_{left_out}_0", f"half_{left_out}_1"))
    ]
    curve = fourier_shell_correlation(*(jnp.asarray(half.values) for half in halves))
    resolution = resolution_angstrom(curve, threshold=0.143, box_angstrom=box * pixel)
    return {
        "set": "tilt_ribosome_219",
        "left_out": left_out,
        "map": region,
        "halves_agree_to_angstrom": round(float(resolution), 1),
        **{
            f"correlation_{name}": [round(float(v), 4) for v in (c.mean(), c.std() / len(c) ** 0.5)]
            for name, c in correlation.items()
        },
    }


def ctf_of(table: ParticleTable, rows: np.ndarray) -> CTF:
    values = (
        table.defocus_u,
        table.defocus_v,
        np.radians(table.defocus_angle_degrees),
        table.voltage_kv,
        table.spherical_aberration_mm,
        table.amplitude_contrast,
        np.radians(table.phase_shift_degrees),
        table.b_factor,
    )
    return CTF(*(jnp.asarray(value[rows], jnp.float32) for value in values))


def correlations(drawn: np.ndarray, images: np.ndarray, radius: float) -> np.ndarray:
    """Of the pixels inside a disc."""
    axis = np.arange(images.shape[1]) - images.shape[1] // 2
    inside = np.hypot(axis[:, None], axis) < radius
    first, second = (stack[:, inside] for stack in (drawn, images))
    first, second = (pixels - pixels.mean(axis=1, keepdims=True) for pixels in (first, second))
    norms = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return (first * second).sum(axis=1) / norms


def single(name: str, data: Path, work: Path) -> Row:
    """Particles as they come, or made white or noise, searched with one map."""
    table, change, map_name = SINGLE[name]
    path = data / table
    if change is not None:
        path = changed(path, change, work / f"{change}_{path.stem}")
    answer = ask(work / name, path, data / map_name, image_root=None)
    row = {"set": path.parent.name if change is None else Path(table).parent.name}
    row |= {"table": Path(table).name, "images_are": change or "as they come"}
    row |= {"reference": map_name, "images": len(answer.rotation)}
    row |= {"outcome": "refused" if answer.refusal else "ran", **said([answer])}
    if answer.columns:
        row["stated_deviation_degrees"] = answer.columns["deviation"].round(1).tolist()
    first = work / FIRST
    if name != FIRST and Path(table).parent == Path(SINGLE[FIRST][0]).parent and answer.columns:
        before = read_particles(first / "particles.cs")
        off = degrees_between(answer.rotation, rotation_from_euler(before.euler_degrees))
        row["to_first_degrees"] = off.round(1).tolist()
    return row


def changed(particles: Path, change: str, folder: Path) -> Path:
    """Particles with inverted contrast, or noise of the power of the images."""
    path = folder / particles.name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        table = read_particles(particles)
        stack = open_stack(particles.with_suffix(".mrc"))
        images = -stack.read(table.image_index)
        images = of_same_power(images) if change == "noise" else images
        name = f"{change}.mrcs"
        write_stack(folder / name, images, pixel_size=float(table.pixel_size[0]))
        count = len(table)
        fields = {"image_path": texts(name, count), "image_index": np.arange(count)}
        write_particles(with_columns(table, fields), path)
    return path


def toy_particles(data: Path, work: Path, count: int) -> Path:
    """Projections without noise and CTF: amplitude contrast 1, no defocus, no aberration."""
    folder = data / "particles/sim_toy_1000"
    work.mkdir(parents=True, exist_ok=True)
    images = open_stack(folder / "toy_projections.mrcs").read(np.arange(count))
    with np.load(folder / "poses.npz") as arrays:
        rotation = arrays["rotations"][:count].astype(float)
    write_stack(work / "particles.mrcs", images, pixel_size=1.0)
    nought = dict.fromkeys(
        ("defocus_u", "defocus_v", "defocus_angle_degrees", "spherical_aberration_mm"),
        np.zeros(count),
    )
    fields = {
        "image_path": texts("particles.mrcs", count),
        "image_index": np.arange(count),
        "euler_degrees": euler_from_rotation(rotation),
        "shift_angstrom": np.zeros((count, 2)),
        **nought,
        "voltage_kv": np.full(count, 300.0),
        "amplitude_contrast": np.ones(count),
        "pixel_size": np.ones(count),
        "box": np.full(count, images.shape[1]),
    }
    path = work / "particles.star"
    write_particles(new_particles(path, fields), path)
    return path


def toy(data: Path, work: Path, count: int, start: str) -> Row:
    """What is found of projections of a toy volume."""
    path, folder = toy_particles(data, work, count), data / "particles/sim_toy_1000"
    job, score = work / f"pose_{start}", work / f"score_{start}"
    within = 5.0 if start == "given" else None
    answer = ask(job, path, folder / "toymodel.mrc", start=start, within=within)
    row: Row = {"set": "sim_toy_1000", "start": start, "images": count, **said([answer])}
    if answer.refusal:
        return row
    if not finished(score):
        config = ValidatePosesConfig(str(job / "particles.star"), str(path))
        validate_poses(config, options=JobOptions(output=str(score)))
    scores = json.loads((score / "metrics.json").read_text())
    kept = ("median_degrees", "mean_degrees", "p90_degrees", "over_deviation")
    row |= {f"error_{name}": round(scores[f"rotation_error_{name}"], 3) for name in kept}
    row["error_below_5_percent"] = round(scores["rotation_below_5_percent"], 1)
    row["shift_error_median_pixels"] = round(scores["shift_error_median_pixels"], 3)
    return row


def rows_of(data: Path, work: Path, toys: int) -> dict[str, Callable[[], Row]]:
    """Every row by its name."""
    tilts = read_tilts(data, work / "tilts")
    folder = work / "tilts"
    rows: dict[str, Callable[[], Row]] = {}
    maps = [*product(("particle", "tilts"), ("masked", "whole")), ("tilts", "outside")]
    for left_out, region in maps:
        case = f"{left_out}_{region}"
        rows[f"held_out_{case}"] = partial(held_out, tilts, left_out, region, folder)
        for name in TRIALS:
            rows[f"{name}_{case}"] = partial(returned, tilts, left_out, region, name, folder)
    rows |= {name: partial(single, name, data, work / "single") for name in SINGLE}
    for start in ("search", "given"):
        rows[f"toy_{start}"] = partial(toy, data, work / "toy", toys, start)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", help="some of them; all when not given")
    parser.add_argument("--toys", type=int, default=1000)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    data, work = arguments.data.resolve(), arguments.work.resolve()
    done = []
    for name, measure in rows_of(data, work, arguments.toys).items():
        kept = work / f"{name}.json"
        if not kept.exists() and (arguments.rows is None or name in arguments.rows):
            kept.write_text(json.dumps(measure()))
        if kept.exists():
            done.append({"row": name, **json.loads(kept.read_text())})
            record(arguments.results, "experimental", done)


if __name__ == "__main__":
    main()
