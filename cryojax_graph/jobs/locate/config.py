"""Settings of ``locate``."""

from dataclasses import dataclass
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError

RecipeKind = Literal["positive", "spline", "quintic", "fourier", "trilinear"]
FieldKind = Literal["atoms", RecipeKind, "siren", "paper"]


@dataclass(frozen=True)
class LocateConfig:
    """Settings of the verb.

    Args:
        map: Density map, MRC or CCP4.
        model: Atomic model in the frame of the map; peaks are then scored against its atoms.
        field: Where peaks are looked for. ``atoms`` explains the map by Gaussians as wide as atoms
            at its resolution and draws them narrower, so that merged peaks part. All others are
            the density itself: ``positive`` is the most accurate between voxels; ``spline`` and
            ``quintic`` are B-splines; ``fourier`` repeats the box; ``trilinear`` is for comparison;
            ``siren`` trains networks; ``paper`` is the published system, its networks, walk and
            clusters (hours on a processor).
        threshold: Density above which peaks are looked for, in map units; in place of ``sigmas``.
        sigmas: The same in standard deviations above the mean of the map.
        resolution: Of the map, Å; three voxels when not given. Peaks closer than twice of it are
            joined in the graph.
        merge: Peaks closer than this are one, Å.
        prominence: Least height of a peak above the saddle to a higher one, as a share of the
            threshold.
        steps: of training at most, for ``siren`` and ``paper``.
    """

    map: tyro.conf.Positional[str]
    model: str | None = None
    field: FieldKind = "atoms"
    threshold: float | None = None
    sigmas: float = 3.0
    resolution: float | None = None
    merge: float = 0.2
    prominence: float = 0.0
    steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("resolution", "merge"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                self._refuse(name, f"{value} is not above 0")
        if self.steps is not None and self.steps < 1:
            self._refuse("steps", f"{self.steps} is below 1")
        if not 0.0 <= self.prominence < float("inf"):
            self._refuse("prominence", f"{self.prominence} is below 0")

    def _refuse(self, name: str, cause: str) -> None:
        raise InputError("command line", f"--{name}", cause, "choose another value")
