"""Settings of ``fit``."""

from dataclasses import dataclass
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.locate.config import RecipeKind

# Reach, Å: on a map that is smoothed more, atoms share their density with more neighbours than are
# counted, and gather at what they have in common.
_FARTHEST = 2.0
_BOND_DEVIATION = 0.015


@dataclass(frozen=True)
class FitConfig:
    """Settings of the verb.

    Args:
        model: Atomic model with all its atoms, PDB or mmCIF, in the frame of the map.
        map: Density map, MRC or CCP4.
        field: How density between voxels is known, as in ``locate``.
        resolution: Of the map, Å; three voxels when not given. For the correlations that are told
            alone: how wide an atom is in the map, the fit measures itself.
        rigid: First move the whole model, or each chain, as a rigid body.
        reach: How far atoms may be from their places, Å; the map is smoothed by about as much
            before the details count. 0 for a model that only wants a last touch, at most 2: where
            chains or the whole are farther off, ``rigid`` brings them back.
        steps: Of the fit, at least 2; rounded up to fifties above a hundred.
        bond_deviation: Standard deviation of bonds from ideal lengths that the weight of the
            density may bring about, Å; angles, planes and close pairs are limited besides.
        weight: Of the density, in place of the chosen one, which the log and the metrics say; not
            beside ``bond-deviation``.
    """

    model: tyro.conf.Positional[str]
    map: str
    field: RecipeKind = "positive"
    resolution: float | None = None
    rigid: Literal["none", "model", "chain"] = "none"
    reach: float = 0.5
    steps: int = 600
    bond_deviation: float = _BOND_DEVIATION
    weight: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("resolution", "bond_deviation", "weight"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                self._refuse(name, f"{value} is not above 0")
        if not 0.0 <= self.reach <= _FARTHEST:
            remedy = "move a model that is farther off with --rigid model or --rigid chain"
            self._refuse("reach", f"{self.reach} is not from 0 to {_FARTHEST:g} Å", remedy)
        if self.weight is not None and self.bond_deviation != _BOND_DEVIATION:
            cause = "it is given beside --weight, which takes no account of it"
            self._refuse("bond_deviation", cause, "give one of the two")
        if self.steps < 2:
            self._refuse("steps", f"{self.steps} is below 2")

    def _refuse(self, name: str, cause: str, remedy: str = "choose another value") -> None:
        place = f"--{name.replace('_', '-')}"
        raise InputError("command line", place, cause, remedy)
