"""Settings of ``locate``."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_only_with, check_ranges
from cryojax_graph.models.atom_graph.config import NeuralMapConfig

RecipeKind = Literal["positive", "denoised", "spline", "quintic", "fourier", "trilinear"]
FieldKind = Literal["atoms", RecipeKind, "siren", "paper"]
_MOST_STEPS = 10_000_000
# Found on maps simulated at 1.2 to 3 Å with B-factors and noise (docs/validation.md).
_FALSE_SHARE = 0.25
_SIGMAS = 3.0


@dataclass(frozen=True)
class LocateConfig:
    """Settings of the verb.

    Args:
        map: Density map, MRC or CCP4; or a field.npz, or the folder of a finished locate job:
            voxels are searched as the map is, networks as they are, with ``siren`` or ``paper``
            (``threshold`` has to be given then).
        model: Atomic model in the frame of the map; peaks are then scored against its atoms.
        field: Where peaks are looked for. ``atoms`` explains the map by Gaussians as wide as atoms
            at its resolution and draws them narrower, so that merged peaks part. All others are
            the density itself: ``positive`` is the most accurate between voxels; ``denoised``
            follows the map no closer than its noise, and is nearer to the true density than the map
            is; ``spline`` and ``quintic`` are B-splines; ``fourier`` repeats the box; ``siren``
            trains networks; ``paper`` is the published system, its networks, walk and clusters
            (hours on a processor). ``trilinear`` is refused: it has no peak between voxels.
        threshold: Density above which peaks are looked for, in map units; not beside ``sigmas``.
        sigmas: The same in standard deviations above the mean of the map.
        resolution: Of the map, Å; three voxels when not given. Peaks closer than twice of it are
            joined in the graph.
        merge: Peaks closer than this are one, Å.
        prominence: Least height of a peak above the saddle to a higher one, as a share of the
            height of the threshold above the solvent.
        false_share: Expected share of false peaks among those of ``atoms`` at most, as the peaks of
            the map turned upside down tell it; 1 keeps all above the threshold. A masked map, or
            one that was cut off below, tells nothing.
        steps: of training at most, for ``siren`` and ``paper``; not beside ``networks.steps``.
        networks: All settings of the networks, for ``siren``: ``patience``, ``fair`` and
            ``perfect`` where they learn the voxels alone (``points`` 0), ``slope_weight`` where
            they do not.
    """

    map: tyro.conf.Positional[str]
    model: str | None = None
    field: FieldKind = "atoms"
    threshold: float | None = None
    sigmas: float = _SIGMAS
    resolution: float | None = None
    merge: float = 0.2
    prominence: float = 0.0
    false_share: float = _FALSE_SHARE
    steps: int | None = None
    networks: NeuralMapConfig = dataclasses.field(default_factory=NeuralMapConfig)

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("resolution", "merge"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                self._refuse(name, f"{value} is not a number above 0")
        for name in ("threshold", "sigmas"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                self._refuse(name, f"{value} is not a finite number")
        if self.threshold is not None and self.sigmas != _SIGMAS:
            self._refuse("sigmas", "it is given beside --threshold", "give one of the two")
        if self.field == "trilinear":
            cause = "where it curves down along one axis it curves up along another: it has no peak"
            self._refuse("field", cause, "choose spline; query knows trilinear")
        if self.steps is not None and not 1 <= self.steps <= _MOST_STEPS:
            self._refuse("steps", f"{self.steps} is not from 1 to {_MOST_STEPS:,}")
        if self.steps is not None and self.field not in ("siren", "paper"):
            self._refuse("steps", f"--field {self.field} has none")
        if not 0.0 <= self.prominence < float("inf"):
            self._refuse("prominence", f"{self.prominence} is below 0")
        if not 0.0 < self.false_share <= 1.0:
            self._refuse("false-share", f"{self.false_share} is not above 0 and at most 1")
        if self.false_share != _FALSE_SHARE and self.field != "atoms":
            self._refuse("false-share", f"--field {self.field} has none")
        if self.networks != NeuralMapConfig() and self.field != "siren":
            self._refuse("networks", f"--field {self.field} does not take them")
        if self.steps is not None and self.networks.steps != NeuralMapConfig().steps:
            self._refuse("networks.steps", "it is given beside --steps", "give one of the two")
        _check_networks(self.networks)
        _refuse_unused(self.networks)

    def _refuse(self, name: str, cause: str, remedy: str = "choose another value") -> None:
        raise InputError("command line", f"--{name}", cause, remedy)


def _refuse_unused(networks: NeuralMapConfig) -> None:
    """Settings that say nothing of networks of points, or of networks of voxels."""
    usual, points = NeuralMapConfig(), networks.points > 0
    needed = "--networks.points 0" if points else "--networks.points above 0"
    for name in ("patience", "fair", "perfect") if points else ("slope_weight",):
        value = getattr(networks, name)
        given = None if value == getattr(usual, name) else value
        check_only_with(f"--networks.{name.replace('_', '-')}", given, needed, holds=False)


def _check_networks(networks: NeuralMapConfig) -> None:
    # Where more than two boxes hold a voxel, the first two hand over before the third begins.
    most_overlap = networks.patch // 2
    check_ranges(
        {
            "networks.patch": (networks.patch, 4, 512),
            "networks.overlap": (networks.overlap, 2, most_overlap),
            "networks.width": (networks.width, 1, 4096),
            "networks.hidden": (networks.hidden, 0, 64),
            "networks.omega": (networks.omega, 1e-3, 1e4),
            "networks.points": (networks.points, 0, 10_000_000),
            "networks.slope-weight": (networks.slope_weight, 0.0, 1e6),
            "networks.rate": (networks.rate, 1e-9, 1.0),
            "networks.steps": (networks.steps, 1, _MOST_STEPS),
            "networks.patience": (networks.patience, 1, _MOST_STEPS),
            "networks.fair": (networks.fair, 0.0, 1e6),
            "networks.perfect": (networks.perfect, 0.0, 1e6),
        }
    )
