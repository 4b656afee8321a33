"""Settings of ``pose``."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_only_with, check_ranges, check_symmetry

_WITHIN, _DEFOCUS_DEVIATION = 15.0, 500.0


@dataclass(frozen=True)
class MapConfig:
    """How a map is read that is the reference.

    Args:
        voxel_size: Edge of a voxel in Å, in place of what its header says.
    """

    voxel_size: float | None = None


@dataclass(frozen=True)
class PoseConfig:
    """Settings of the verb.

    Args:
        particles: Particle images with CTF: STAR of RELION or .cs of cryoSPARC.
        reference: Map or model of what the images show: MRC, PDB or mmCIF.
        start: search looks everywhere; given only around the poses of the table.
        within: With --start given, how far from the given pose rotations are tried, degrees; 15
            when not given. Refinement of the best of them may end somewhat farther.
        shift_range: Largest shift that is looked for, Å; a twelfth of the image when not given.
        resolution: Finest detail of the reference that is used, Å; all of it when not given.
        symmetry: Point group of the reference, axes as in RELION: C1, D2, O and so on; it is held
            against the reference.
        origin: Where a model's coordinates have their zero: the centre or the first voxel of the
            box; auto takes what leaves it nearer to the centre.
        method: grid refines the best orientations of the grid; esl and mmse take one rotation from
            its scores, unrefined: the barycentre of the best mode (ellipsoidal support lifting, not
            to the letter as published), or the posterior mean.
        refine_defocus: Refine defocus with the pose, one offset of both values for each image.
        defocus_deviation: With --refine-defocus, how far the given defocus may be off: standard
            deviation, Å; 500 when not given.
        image_root: Folder that image names of the table are relative to.
        map: How the map of the reference is read.
    """

    particles: tyro.conf.Positional[str]
    reference: str
    start: Literal["search", "given"] = "search"
    within: float | None = None
    shift_range: float | None = None
    resolution: float | None = None
    symmetry: str = "C1"
    origin: Literal["auto", "centre", "corner"] = "auto"
    method: Literal["grid", "esl", "mmse"] = "grid"
    refine_defocus: bool = False
    defocus_deviation: float | None = None
    image_root: str | None = None
    map: MapConfig = field(default_factory=MapConfig)

    @property
    def around_degrees(self) -> float | None:
        """Largest rotation from a given pose; None to search everywhere."""
        return (self.within or _WITHIN) if self.start == "given" else None

    @property
    def defocus_prior(self) -> float | None:
        """Expected error of the given defocus, Å; None to take it as it is."""
        return (self.defocus_deviation or _DEFOCUS_DEVIATION) if self.refine_defocus else None


def check_config(config: PoseConfig) -> None:
    """Refuse settings that cannot be meant, before anything is read.

    Args:
        config: of the verb.

    Raises:
        InputError: a setting is out of range.
    """
    check_symmetry(config.symmetry)
    check_ranges(
        {
            "within": (config.within, 0.1, 180.0),
            "shift-range": (config.shift_range, 0.0, 1e4),
            "resolution": (config.resolution, 0.1, 1e4),
            "map.voxel-size": (config.map.voxel_size, 0.01, 1e3),
            "defocus-deviation": (config.defocus_deviation, 1.0, 1e4),
        }
    )
    given = config.start == "given"
    check_only_with("--within", config.within, "--start given", given)
    check_only_with(
        "--defocus-deviation", config.defocus_deviation, "--refine-defocus", config.refine_defocus
    )
    for name, asked in (
        ("--start given", given),
        ("--refine-defocus", config.refine_defocus),
    ):
        if asked and config.method != "grid":
            cause = f"--method {config.method} neither starts from poses nor refines"
            raise InputError("command line", name, cause, "leave --method at grid")
