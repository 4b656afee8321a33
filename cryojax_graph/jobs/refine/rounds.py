"""Search and reconstruction in turn, the two halves apart."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.reconstruct import SliceSums
from cryojax_graph.forward.slices import VolumeSpectrum
from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import GroupNoise
from cryojax_graph.jobs.pose.contrast import contrast_precision
from cryojax_graph.jobs.pose.searcher import Found, Searcher, Start
from cryojax_graph.jobs.pose.searching import search_all
from cryojax_graph.jobs.pose.settings import Settings
from cryojax_graph.jobs.pose.survey import Survey
from cryojax_graph.jobs.reconstruct.insertion import Source, Views, insert_views
from cryojax_graph.jobs.reconstruct.maps import THRESHOLD, agreed_shells
from cryojax_graph.jobs.refine.contrast import group_contrast
from cryojax_graph.jobs.refine.half_maps import HalfSolution, solve_apart
from cryojax_graph.metrics.fsc import resolution_angstrom
from cryojax_graph.poses.reference import Reference, coarser_than, reference_of

# Images of each fold from which the power of the noise is told.
_SAMPLE = 128
# A rotation that is known to this, radians, need not be sought everywhere again.
_SURE = np.radians(3.0)
# Rounds have settled when one finds less than this more detail, and turns images by more than this
# share of what the round before did: what is left is chance, which does not become less.
_MORE_SHELLS, _CHANCE = 0.5, 0.8
# Images that turn by less than this, radians, stand still.
_STILL = 1e-3


class RefinePlan(NamedTuple):
    """What the rounds share.

    Attributes:
        wide: settings of the first round: everywhere, or around the given poses.
        again: settings for images that are not sure of their pose after it: the same rotations, at
            shifts around the one found.
        near: settings for those that are.
        centre: shifts of the images from which others are sought in the first round, Å.
        farthest: that any is sought from there, Å.
        noise: of the optics groups beside that of the set.
        groups: images of one contrast, for each image from 0.
        block: images that are searched by one call.
        source: of all images, for reconstruction.
        folds: images of each fold of either half. An image is compared with a map to which its own
            fold has not contributed: else it finds its own noise there, in the pose that it had.
        operators: of the point group.
        shared: shells up to which the halves have one map, so that they stay aligned.
        radius: of the sphere that holds the particle, voxels.
    """

    wide: Settings
    again: Settings
    near: Settings
    centre: Float[np.ndarray, "images 2"]
    farthest: float
    noise: GroupNoise
    groups: Int[np.ndarray, " images"]
    block: int
    source: Source
    folds: tuple[list[Int[np.ndarray, " n"]], list[Int[np.ndarray, " n"]]]
    operators: Float[np.ndarray, "operators 3 3"]
    shared: int
    radius: float


class Round(NamedTuple):
    """Outcome of one search and reconstruction.

    Attributes:
        found: poses, in the order of the folds.
        maps: of the halves.
        noise: power in shells of either half, variance per pixel.
        contrast: of the group of each image beside that of the set.
        contrast_precision: of the prior of the contrast of an image.
        resolution: Å, where the halves stop to agree.
        turned: median angle to the rotations of the round before, radians; NaN in the first.
    """

    found: Found
    maps: HalfSolution
    noise: Float[np.ndarray, "halves shells"]
    contrast: Float[np.ndarray, " images"]
    contrast_precision: float
    resolution: float
    turned: float

    @property
    def agreed(self) -> int:
        """Shells in which the halves agree, from the coarsest."""
        return int(agreed_shells(jnp.asarray(self.maps.fsc)).sum())


def refine_rounds(
    plan: RefinePlan, begin: Callable[[], Survey], *, most: int, job: Job
) -> list[Round]:
    """Alternate until neither maps nor poses change.

    Args:
        plan: of all rounds.
        begin: gives the reference and noise of the first round.
        most: rounds.
        job: in whose folder finished rounds are kept, so that interrupted work goes on.

    Returns:
        every round; of all but the last only the curve is left of its maps, which would not fit
        into memory together.

    Raises:
        Aborted: on request.
    """
    folder = job.working("rounds")
    folder.mkdir(exist_ok=True)
    rounds: list[Round] = []
    for number in range(1, most + 1):
        kept = folder / f"round_{number:03d}.npz"
        if not kept.exists():
            start = _after(rounds[-1], plan) if rounds else _first(begin(), plan)
            _save(_round(plan, start, number=number, job=job), kept)
        if rounds:
            rounds[-1] = _without_maps(rounds[-1])
        rounds.append(_load(kept))
        last = rounds[-1]
        job.log(
            f"Round {number}: the halves agree to {last.resolution:.2f} Å; rotations are known to "
            f"{np.degrees(np.median(last.found.rotation_deviation)):.1f}°"
            + ("" if number == 1 else f" and changed by {np.degrees(last.turned):.1f}° (median)")
        )
        if settled(rounds, plan):
            break
    return rounds


def _views(found: Found, images: Int[np.ndarray, " n"]) -> Views:
    """One view for each image, with the probability of its pose."""
    return Views(images, found.rotation, found.shift, found.probability)


class _Start(NamedTuple):
    """What a round begins with."""

    references: list[list[Reference]]
    noise: Float[np.ndarray, "halves shells"]
    contrast: Float[np.ndarray, " images"]
    contrast_precision: float
    found: Found | None


def _first(known: Survey, plan: RefinePlan) -> _Start:
    references = [[known.reference for _ in half] for half in plan.folds]
    noise, contrast = np.stack([known.noise] * 2), np.ones(len(plan.groups))
    return _Start(references, noise, contrast, known.contrast_precision, None)


def _after(last: Round, plan: RefinePlan) -> _Start:
    references = [[_reference(plan, map_) for map_ in half] for half in last.maps.references]
    if last.agreed <= plan.shared:
        # The ball that confines the maps carries what they share into finer shells, where images of
        # nothing would find it.
        references = [[coarser_than(map_, plan.shared) for map_ in half] for half in references]
    return _Start(references, last.noise, last.contrast, last.contrast_precision, last.found)


def _round(plan: RefinePlan, start: _Start, *, number: int, job: Job) -> Round:
    found, noise, sums = [], [], []
    for half, folds in enumerate(plan.folds):
        poses, calibrated, inserted = zip(
            *(_fold(plan, start, number, half, fold, job) for fold in range(len(folds))),
            strict=True,
        )
        found += poses
        noise.append(np.mean(calibrated, axis=0))
        sums.append(inserted)
    box = plan.source.particles.box
    maps = solve_apart(
        *([partial(_load_sums, path) for path in half] for half in sums),
        box=box,
        operators=plan.operators,
        shared=plan.shared,
        radius=plan.radius,
    )
    for path in (path for half in sums for path in half):
        path.unlink()
    joined = Found(*(np.concatenate(values) for values in zip(*found, strict=True)))
    contrast = group_contrast(
        start.contrast,
        in_table_order(joined, plan),
        plan.groups,
        precision=start.contrast_precision,
    )
    field = box * plan.source.particles.pixel_size
    fsc = jnp.asarray(maps.fsc)
    resolution = resolution_angstrom(fsc, threshold=THRESHOLD, box_angstrom=field)
    turned = np.nan if start.found is None else _turned(joined, start.found, plan.operators)
    return Round(
        joined,
        maps,
        np.stack(noise),
        contrast,
        contrast_precision(joined, start.contrast_precision),
        float(resolution),
        turned,
    )


def _fold(
    plan: RefinePlan, start: _Start, number: int, half: int, fold: int, job: Job
) -> tuple[Found, Float[np.ndarray, " shells"], Path]:
    """Poses of one fold, the noise around them, and the file of the sums over its views."""
    images, count = plan.folds[half][fold], len(plan.folds[half])
    reference, noise = start.references[half][fold], start.noise[half]
    parts, searched = [], []
    for kind, searcher, chosen in _searches(plan, start, images):
        search = searcher.prepare(reference, noise)
        found = search_all(
            searcher,
            search,
            start.contrast_precision,
            chosen,
            job,
            name=f"rounds/parts_{number:03d}_{half + 1}_{fold + 1}_{kind}",
            label=f"Round {number}, part {half * count + fold + 1} of {2 * count}, {kind}",
        )
        parts.append(found)
        searched.append(chosen)
    order = np.argsort(np.concatenate(searched))
    poses = Found(*(np.concatenate(values)[order] for values in zip(*parts, strict=True)))
    searcher = _searcher(plan, start, plan.wide)
    search = searcher.prepare(reference, noise)
    some = np.unique(np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(int))
    sample = Found(*(values[some] for values in poses))
    noise = searcher.calibration(search, images[some], sample).noise
    source = plan.source._replace(contrast=start.contrast)
    sums = insert_views(source, _views(poses, images), job=job)
    # The sums of eight parts of large boxes would not fit into memory.
    kept = job.working("rounds") / f"sums_{half + 1}_{fold + 1}.npz"
    write_npz(kept, {"sums": np.asarray(sums.values)}, compress=False)
    return poses, noise, kept


def _load_sums(path: Path) -> SliceSums:
    return SliceSums(jnp.asarray(read_npz(path, limits=OWN_LIMITS)["sums"]))


def _searches(
    plan: RefinePlan, start: _Start, images: Int[np.ndarray, " n"]
) -> list[tuple[str, Searcher, Int[np.ndarray, " some"]]]:
    """Images that are sure of their pose are searched around it, the others more widely."""
    if start.found is None:
        return [("wide", _searcher(plan, start, plan.wide), images)]
    found = in_table_order(start.found, plan)
    sure = found.rotation_deviation[images] < _SURE
    kinds = (
        ("near", _searcher(plan, start, plan.near, _around(found, plan.near, plan)), images[sure]),
        (
            "wide",
            _searcher(plan, start, plan.again, _around(found, plan.again, plan)),
            images[~sure],
        ),
    )
    return [kind for kind in kinds if len(kind[2])]


def _around(found: Found, settings: Settings, plan: RefinePlan) -> Start:
    """Poses to search around, so that no shift is tried that the first round would not have."""
    reach = np.linalg.norm(settings.shifts, axis=1).max()
    away = found.shift - plan.centre
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    share = np.minimum(max(plan.farthest - reach, 0.0) / length, 1.0)
    return Start(found.rotation, plan.centre + share * away)


def in_table_order(found: Found, plan: RefinePlan) -> Found:
    """Poses in the order of the table.

    Args:
        found: in the order of the folds.
        plan: of the folds.

    Returns:
        the same.
    """
    order = np.argsort(np.concatenate([*plan.folds[0], *plan.folds[1]]))
    return Found(*(values[order] for values in found))


def _searcher(
    plan: RefinePlan, start: _Start, settings: Settings, around: Start | None = None
) -> Searcher:
    particles = plan.source.particles
    return Searcher(
        particles,
        settings,
        around,
        noise=plan.noise,
        contrast=start.contrast,
        block=plan.block,
    )


def _reference(plan: RefinePlan, volume: Float[np.ndarray, "n n n"]) -> Reference:
    pixel = plan.source.particles.pixel_size
    # Reconstructed maps project to images by sums of voxels; the reference counts in Å.
    density = jnp.asarray(volume / pixel)
    return Reference(_spectrum(density, field=len(volume) * pixel, pixel_size=pixel), 2.0)


@partial(jax.jit, static_argnames=("field", "pixel_size"))
def _spectrum(density: Float[Array, "n n n"], *, field: float, pixel_size: float) -> VolumeSpectrum:
    made = reference_of(density, voxel_size=pixel_size, field=field, pixel_size=pixel_size)
    return made.volume


def _turned(after: Found, before: Found, operators: Float[np.ndarray, "n 3 3"]) -> float:
    """Median angle between rotations, modulo symmetry, radians."""
    cosines = [
        (np.einsum("nij,nij->n", after.rotation @ operator, before.rotation) - 1) / 2
        for operator in operators
    ]
    return float(np.median(np.arccos(np.clip(np.max(cosines, axis=0), -1, 1))))


def settled(rounds: list[Round], plan: RefinePlan) -> bool:
    """Whether another round would find no more than chance.

    Args:
        rounds: all of them so far.
        plan: of the rounds.

    Returns:
        True where neither maps nor poses change.
    """
    if len(rounds) < 3:
        return False
    field = plan.source.particles.box * plan.source.particles.pixel_size
    before, last = rounds[-2:]
    gained = field / last.resolution - max(field / r.resolution for r in rounds[:-1])
    still = last.turned < _STILL or last.turned > _CHANCE * before.turned
    return gained < _MORE_SHELLS and still


def _without_maps(done: Round) -> Round:
    nothing = np.zeros((0, 0, 0), np.float32)
    halves, references = nothing[None][[0, 0]], nothing[None, None][[0, 0]]
    maps = HalfSolution(halves, references, nothing, nothing, done.maps.fsc)
    return done._replace(maps=maps)


def _save(done: Round, path: Path) -> None:
    values = {f"found.{name}": value for name, value in done.found._asdict().items()}
    values |= {f"maps.{name}": value for name, value in done.maps._asdict().items()}
    values |= {name: np.asarray(getattr(done, name)) for name in Round._fields[2:]}
    write_npz(path, values)


def _load(path: Path) -> Round:
    values = read_npz(path, limits=OWN_LIMITS)
    found = Found(**{name: values[f"found.{name}"] for name in Found._fields})
    maps = HalfSolution(**{name: values[f"maps.{name}"] for name in HalfSolution._fields})
    rest = (float(values[name]) for name in Round._fields[4:])
    return Round(found, maps, values["noise"], values["contrast"], *rest)
