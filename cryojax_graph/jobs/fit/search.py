"""From a map and a model to the model in the map."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from cryojax_graph.fields import SplineField, query
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.fit.config import FitConfig
from cryojax_graph.jobs.fit.molecule import Molecule
from cryojax_graph.jobs.map_noise import constants_of
from cryojax_graph.jobs.map_parts import BORDER, part_around
from cryojax_graph.jobs.stored_field import field_of, known_from
from cryojax_graph.metrics import atom_density
from cryojax_graph.models.atom_graph import (
    Target,
    descend,
    descend_rigid,
    first_pull,
    move_bodies,
    start_descent,
    start_rigid,
)
from cryojax_graph.models.atom_graph.objective import Crowd
from cryojax_graph.protein import (
    count_clashes,
    distances_between,
    find_contacts,
    pairs_within_bonds,
)
from cryojax_graph.protein.pairs import pairs_within
from cryojax_graph.protein.planes_and_hands import PLANE_DEVIATION
from cryojax_graph.protein.shapes import angles_between, out_of_plane

_SLICE = 50
# Å that an atom may go in a step, first and last; in between it falls as a cosine.
_FIRST_STRIDE, _LAST_STRIDE = 0.04, 0.0005
# Rigid bodies: smoothed maps from coarse to fine, standard deviations in Å, and steps on each.
_RIGID_WIDTHS, _RIGID_STEPS, _RIGID_STRIDE = (3.0, 1.5, 0.75), 100, 0.1
# Of the steps, those on the smoothed map, with the first weight.
_EARLY = 0.4
# How far the model may move before the part of the map around it ends, Å, and further as a body.
_MARGIN, _RIGID_MARGIN = 6.0, 10.0
_ROOM = 1.1
# Of the weight, from one slice to the next, and over all.
_LEAST_CHANGE, _MOST_CHANGE, _LEAST, _MOST = 0.5, 1.6, 0.01, 10.0
# Widths of an atom in the map that are tried, Å, and how far it reaches, in widths and Å.
_WIDTHS, _REACHES, _FARTHEST = (0.35, 0.45, 0.55, 0.65, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0), 3.0, 5.0
WIDEST = _WIDTHS[-1]
_CROWD_SKIN = 0.5
# What the geometry may be like, as medians tell it: angles in degrees, planes in Å; pairs too
# close to each other, of the number of atoms.
_ANGLES, _PLANES, _PEPTIDES, _CLASHES = 2.0, 0.02, 0.08, 0.005
_LOSS = 1.5


class Fitted(NamedTuple):
    """A model in its map.

    Attributes:
        positions: of the atoms, Å.
        before: density at the atoms of the model as given, standard deviations from the mean.
        placed: the same when bodies have moved; the same as before where none do.
        after: the same at the end.
        weight: of the density, kT per standard deviation at a carbon atom.
        width: standard deviation of an atom in the map, Å: of those tried the one that suits best.
    """

    positions: Float[np.ndarray, "n 3"]
    before: Float[np.ndarray, " n"]
    placed: Float[np.ndarray, " n"]
    after: Float[np.ndarray, " n"]
    weight: float
    width: float


class Level(NamedTuple):
    """What the values of a map are measured from.

    Attributes:
        mean: of the map, map units.
        deviation: standard deviation, map units.
    """

    mean: float
    deviation: float


def level_of(density: Map) -> Level:
    """Mean and standard deviation of a map.

    Args:
        density: the map.
    """
    values = density.values
    return Level(float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))


def part_for(density: Map, molecule: Molecule, config: FitConfig) -> Map:
    """The part of a map that a model may move in.

    Args:
        density: the map.
        molecule: the model.
        config: of the job.

    Returns:
        a map.
    """
    margin = _MARGIN + _RIGID_MARGIN * (config.rigid != "none")
    return part_around(density, molecule.positions, margin / density.voxel_size + BORDER)


def smoothed(density: Map, width: float) -> Map:
    """A map less sharp.

    Args:
        density: the map.
        width: standard deviation of the Gaussian it is convolved with, Å.

    Returns:
        the map.
    """
    values = gaussian_filter(density.values, width / density.voxel_size[::-1], mode="nearest")
    return Map(values, density.voxel_size, density.origin)


def rigid_steps(config: FitConfig) -> int:
    """Number of steps of rigid bodies.

    Args:
        config: of the job.
    """
    return 0 if config.rigid == "none" else len(_RIGID_WIDTHS) * _RIGID_STEPS


def rigid_fit(
    density: Map,
    molecule: Molecule,
    config: FitConfig,
    *,
    advance: Callable[[int], object],
    check_abort: Callable[[], None],
) -> Float[np.ndarray, "n 3"]:
    """Move a model, or its chains, to where the map is highest.

    Args:
        density: the map.
        molecule: the model.
        config: of the job.
        advance: told the number of steps done so far.
        check_abort: called between parts of the work.

    Returns:
        positions, Å.
    """
    whole = config.rigid == "model"
    body = jnp.asarray(np.zeros_like(molecule.chain) if whole else molecule.chain)
    positions = jnp.asarray(molecule.positions, jnp.float32)
    masses = jnp.asarray(molecule.masses, jnp.float32)
    now = start_rigid(int(body.max()) + 1)
    run = jax.jit(descend_rigid)
    for number, width in enumerate(_RIGID_WIDTHS):
        check_abort()
        field = field_of(smoothed(density, width), "spline")
        strides = _strides(0, _RIGID_STEPS, _RIGID_STEPS) * (_RIGID_STRIDE / _FIRST_STRIDE)
        start = start_rigid(len(now.motion))._replace(motion=now.motion)
        now, _ = run(field, masses, positions, body, start, strides)
        advance((number + 1) * _RIGID_STEPS)
    return np.asarray(move_bodies(positions, body, now.motion), np.float64)


def fit_model(
    density: Map,
    level: Level,
    molecule: Molecule,
    config: FitConfig,
    *,
    seed: int = 0,
    advance: Callable[[int], object] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
    log: Callable[[str], None] = lambda message: None,
) -> Fitted:
    """Move the atoms of a model up the density of a map, their geometry restrained.

    Args:
        density: the map.
        level: its mean and standard deviation.
        molecule: the model.
        config: of the job.
        seed: of the draws that the first weight is told from.
        advance: told the number of steps done so far.
        check_abort: called between slices of the work.
        log: told what happens.

    Returns:
        positions, density and the weight that was chosen.
    """
    part = part_for(density, molecule, config)
    start = molecule.positions
    if config.rigid != "none":
        start = rigid_fit(part, molecule, config, advance=advance, check_abort=check_abort)
        shift = np.sqrt(np.mean(np.sum((start - molecule.positions) ** 2, axis=1)))
        log(f"rigid bodies moved by {shift:.2f} Å (rms over atoms)")
    constants = constants_of(density, config.field, file=config.map)
    field = field_of(known_from(density, part, config.field), config.field, constants)
    # Of few steps, too, the first ones are on the smoothed map.
    length = min(_SLICE, -(-config.steps // 2))
    slices = -(-config.steps // length)
    # The geometry tells the weight only when atoms have come to rest, more or less.
    early = round(_EARLY * slices)
    fields = [field] * slices
    if config.reach > 0:
        fields[:early] = [field_of(smoothed(part, config.reach), "spline")] * early
    targets = _Targets(molecule, level)
    targets.measure(part, start)
    blurs = [config.reach if number < early else 0.0 for number in range(slices)]
    first = weight = config.weight or targets.first_weight(
        fields[0], start, config, blur=blurs[0], seed=seed
    )
    now, run = start_descent(jnp.asarray(start, jnp.float32)), jax.jit(descend)
    for number, stage in enumerate(fields):
        check_abort()
        at = np.asarray(now.positions, np.float64)
        if number == early > 0:
            # Atoms in better places tell better what one of them looks like.
            targets.measure(part, at)
        target = targets.at(stage, at, blur=blurs[number])
        strides = _strides(number * length, length, slices * length)
        now, _ = run(target, now, jnp.float32(weight), strides)
        advance(rigid_steps(config) + min((number + 1) * length, config.steps))
        if config.weight is None and early <= number < slices - 1:
            strain = targets.strain(np.asarray(now.positions, np.float64), config.bond_deviation)
            change = np.clip(1.0 / strain, _LEAST_CHANGE, _MOST_CHANGE)
            weight = float(np.clip(weight * change, first * _LEAST, first * _MOST))
    end = np.asarray(now.positions, np.float64)
    before, placed, after = (
        _density_at(field, level, at) for at in (molecule.positions, start, end)
    )
    return Fitted(end, before, placed, after, weight, targets.width)


class _Targets:
    """What atoms are fitted to as they move: the list of contacts is made anew, of one length."""

    def __init__(self, molecule: Molecule, level: Level) -> None:
        self._molecule, self._level = molecule, level
        bonds = np.asarray(molecule.restraints.bonds)
        self._joined = pairs_within_bonds(bonds, len(molecule.masses))
        self._restraints = jax.tree.map(jnp.asarray, molecule.restraints)
        self._size = self._crowded = 0
        self._height, self.width = 0.0, _WIDTHS[0]
        self._given = self._clashes(molecule.positions)

    def measure(self, density: Map, positions: Float[np.ndarray, "n 3"]) -> None:
        """Find how wide and how high an atom is in a map."""
        peaks = [_peak_of(density, self._molecule, positions, width) for width in _WIDTHS]
        _, self._height, self.width = max(peaks)

    def strain(self, positions: Float[np.ndarray, "n 3"], bond_deviation: float) -> float:
        """How much of what the geometry may deviate it does: the worst of several ratios."""
        most = np.array([bond_deviation, _ANGLES, _PLANES, _PEPTIDES])
        # What was good may not become much worse; what was bad may not stay so.
        limits = np.clip(_LOSS * self._spreads(self._molecule.positions), 0.5 * most, most)
        count = len(positions)
        clashes = min(self._given, 2 * _CLASHES * count) + _CLASHES * count + 1.0
        worst = float((self._spreads(positions) / limits).max())
        return max(worst, self._clashes(positions) / clashes)

    def _spreads(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "4"]:
        held = self._molecule.restraints
        bonds = distances_between(positions, np.asarray(held.bonds)) - held.bond_length
        angles = np.rad2deg(angles_between(positions, np.asarray(held.angles)) - held.angle)
        planes = out_of_plane(positions, np.asarray(held.planes))
        twisted = np.asarray(held.plane_deviation) > PLANE_DEVIATION
        parts = bonds, angles, planes[~twisted], planes[twisted]
        return np.array([_spread(part) for part in parts])

    def _clashes(self, positions: Float[np.ndarray, "n 3"]) -> int:
        contacts = find_contacts(positions, self._molecule.labels, self._joined)
        return count_clashes(contacts, positions)

    def _crowd(self, positions: Float[np.ndarray, "n 3"], blur: float) -> Crowd:
        width = float(np.hypot(self.width, blur))
        height = self._height * (self.width / width) ** 3
        pairs = pairs_within(positions, min(_REACHES * width, _FARTHEST) + _CROWD_SKIN)
        if len(pairs) > self._crowded:
            self._crowded = 1 << int(_ROOM * len(pairs)).bit_length()
        pairs = np.pad(pairs, ((0, self._crowded - len(pairs)), (0, 0))).astype(np.int32)
        return Crowd(jnp.asarray(pairs), jnp.float32(height), jnp.float32(width))

    def at(self, field: SplineField, positions: Float[np.ndarray, "n 3"], *, blur: float) -> Target:
        labels, joined = self._molecule.labels, self._joined
        contacts = find_contacts(positions, labels, joined, size=self._size)
        if len(contacts.pairs) > self._size:
            # Another length is another program to compile.
            self._size = 1 << int(_ROOM * len(contacts.pairs)).bit_length()
            contacts = find_contacts(positions, labels, joined, size=self._size)
        return Target(
            field,
            jnp.asarray(self._molecule.masses, jnp.float32),
            jnp.float32(self._level.deviation),
            self._restraints,
            jax.tree.map(jnp.asarray, contacts),
            self._crowd(positions, blur),
        )

    def first_weight(
        self,
        field: SplineField,
        positions: Float[np.ndarray, "n 3"],
        config: FitConfig,
        *,
        blur: float,
        seed: int,
    ) -> float:
        target, key = self.at(field, positions, blur=blur), jax.random.key(seed)
        at = jnp.asarray(positions, jnp.float32)
        return float(jax.jit(first_pull)(key, target, at, deviation=config.bond_deviation))


def _spread(deviations: Float[np.ndarray, " m"]) -> float:
    """Standard deviation, as the median tells it.

    A few places where a bad model is caught must not set the weight for all.
    """
    return max(float(np.median(np.abs(deviations))) / 0.6745, 1e-4) if len(deviations) else 1e-4


def _peak_of(
    density: Map,
    molecule: Molecule,
    positions: Float[np.ndarray, "n 3"],
    width: float,
) -> tuple[float, float, float]:
    """Correlation of a map with atoms of one width, height of a carbon atom in it, the width."""
    values = density.values
    drawn = atom_density(
        values.shape,
        density.voxel_size,
        density.origin,
        positions,
        molecule.masses,
        width=width,
    )
    cover = drawn - drawn.mean()
    change = values - values.mean(dtype=np.float64)
    norm = float(np.sum(cover**2))
    if not norm > 0:
        return 0.0, 0.0, width
    slope = float(np.sum(cover * change)) / norm
    spread = float(np.linalg.norm(cover) * np.linalg.norm(change))
    return float(np.sum(cover * change)) / max(spread, 1e-30), max(slope, 0.0), width


def _density_at(
    field: SplineField, level: Level, positions: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    values = jax.jit(query)(field, jnp.asarray(positions, jnp.float32))
    return (np.asarray(values, np.float64) - level.mean) / level.deviation


def _strides(first: int, count: int, total: int) -> Float[np.ndarray, " steps"]:
    """Lengths of some steps of a descent, Å."""
    share = np.minimum((first + np.arange(count)) / total, 1.0)
    fall = 0.5 * (1.0 + np.cos(np.pi * share))
    return (_LAST_STRIDE + (_FIRST_STRIDE - _LAST_STRIDE) * fall).astype(np.float32)
