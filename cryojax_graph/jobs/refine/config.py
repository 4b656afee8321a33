"""Settings of ``refine``."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from cryojax_graph.jobs.pose.config import MapConfig
from cryojax_graph.jobs.ranges import check_only_with, check_ranges, check_symmetry
from cryojax_graph.jobs.reconstruct.config import HalvesConfig

_WITHIN = 10.0
# How far from a pose that is sure others are tried, degrees.
_NEAR = 10.0


@dataclass(frozen=True)
class RefineConfig:
    """Settings of the verb.

    Args:
        particles: Particle images with CTF: STAR of RELION or .cs of cryoSPARC.
        reference: Map or model of what the images show: MRC, PDB or mmCIF.
        low_pass: Detail of the reference that is used, Å: what is finer comes from the images
            alone. Coarser than this the two halves share their map, so that they stay aligned.
        start: search looks everywhere, whatever poses the table has; given around them, in later
            rounds around those of the round before.
        within: With --start given, how far from a pose rotations are tried, degrees; 10 when not
            given.
        contrast: white particles are brighter than what is around them; dark ones are inverted when
            read, as are those that cryoSPARC marks as dark. Images that fit the inverted reference
            better are refused.
        symmetry: Point group of the particle, axes as in RELION: C1, D2, O and so on; it is held
            against the reference.
        diameter: Of the sphere that holds the particle, Å, up to the box without its edge; told
            from the reference when not given.
        most_rounds: Rounds of search and reconstruction after which it ends in any case.
        shift_range: Largest shift that is looked for, Å; a twelfth of the image when not given.
        origin: Where a model's coordinates have their zero: the centre or the first voxel of the
            box; auto takes what leaves it nearer to the centre.
        halves: How halves are drawn, where the table names none.
        map: How the map of the reference is read.
        image_root: Folder that image names of the table are relative to.
    """

    particles: tyro.conf.Positional[str]
    reference: str
    low_pass: float = 40.0
    start: Literal["search", "given"] = "search"
    within: float | None = None
    contrast: Literal["white", "dark"] = "white"
    symmetry: str = "C1"
    diameter: float | None = None
    most_rounds: int = 12
    shift_range: float | None = None
    origin: Literal["auto", "centre", "corner"] = "auto"
    halves: HalvesConfig = field(default_factory=HalvesConfig)
    map: MapConfig = field(default_factory=MapConfig)
    image_root: str | None = None

    @property
    def around_degrees(self) -> float | None:
        """Largest rotation from a given pose; None to search everywhere."""
        return (self.within or _WITHIN) if self.start == "given" else None

    @property
    def near_degrees(self) -> float:
        """Largest rotation from the pose of an image that was sure of it in the round before."""
        return min(_NEAR, self.around_degrees or _NEAR)


def check_config(config: RefineConfig) -> None:
    """Refuse settings that cannot be meant, before anything is read.

    Args:
        config: of the verb.

    Raises:
        InputError: a setting is out of range.
    """
    check_symmetry(config.symmetry)
    check_only_with("--within", config.within, "--start given", config.start == "given")
    check_ranges(
        {
            "low-pass": (config.low_pass, 1.0, 1e3),
            "within": (config.within, 0.1, 180.0),
            "diameter": (config.diameter, 1.0, 1e4),
            "most-rounds": (config.most_rounds, 1, 1000),
            "shift-range": (config.shift_range, 0.0, 1e4),
            "map.voxel-size": (config.map.voxel_size, 0.01, 1e3),
        }
    )
