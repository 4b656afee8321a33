"""Settings of ``reconstruct``."""

from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of the verb.

    Args:
        particles: Particle images with poses and CTF: STAR of RELION or .cs of cryoSPARC. Rows that
            show the same image in different poses are taken as such. Or the folder of a finished
            flex job: one map for each of some states along the motion that it found.
        states: With the folder of a flex job, how many states; 5 when not given.
        symmetry: Point group of the particle, axes as in RELION: C1, D2, O and so on.
        weights: Column of the table with the weight of each row: the probability of its pose or a
            figure of merit. All rows weigh the same when not given.
        contrast: white particles are brighter than what is around them, dark ones darker and are
            inverted; auto looks at the map.
        padding: How many times finer than the images' own their spectrum is sampled; 1 takes an
            eighth of the memory and is less accurate towards the edge of the box.
        image_root: Folder that image names of the table are relative to.
    """

    particles: tyro.conf.Positional[str]
    states: int | None = None
    symmetry: str = "C1"
    weights: str | None = None
    contrast: Literal["auto", "white", "dark"] = "auto"
    padding: Literal[1, 2, 3] = 2
    image_root: str | None = None
