"""Settings of ``reconstruct``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_ranges, check_symmetry


@dataclass(frozen=True)
class PairingConfig:
    """How tilt pairs are told, where their tables do not.

    Args:
        by: Column of both tables that names the pairs, where they are not in one order.
        untilted_axis: Axis of the tilt in the untilted images, degrees from +y towards +x;
            rlnMicrographTiltAxisDirection of their table, or the angle in the tilted images, when
            not given.
    """

    by: str | None = None
    untilted_axis: float | None = None


@dataclass(frozen=True)
class HalvesConfig:
    """How halves are drawn, where the table names none.

    Args:
        by: Column whose values go into one half, each with all of its rows: that of a tilt series,
            say. Filaments and tomographic particles are kept together by their own columns when not
            given.
    """

    by: str | None = None


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
            inverted; auto looks at the map. Images that cryoSPARC marks as dark are inverted when
            read, and are white.
        padding: How many times finer than the images' own their spectrum is sampled; 1 takes an
            eighth of the memory and is less accurate towards the edge of the box.
        bootstrap: Into how many parts the images are dealt to find how far the map would differ had
            other images been taken; 20 is usual. It takes as long as the maps once more.
        tilt_pairs: Random conical tilt: table of the untilted images, with in-plane angles and
            classes; the particles are their tilted partners, in the same order, and need no poses.
            Each class gives a map.
        tilt_angle: By which the support was tilted, degrees; rlnMicrographTiltAngle of the
            particles when not given. Its sign decides the hand of the maps.
        tilt_axis: From +y of a tilted image towards +x to the axis of the tilt, degrees;
            rlnMicrographTiltAxisDirection of the particles when not given.
        pairs: How pairs are told, where their tables do not.
        halves: How halves are drawn, where the table names none.
        image_root: Folder that image names of the table are relative to.
    """

    particles: tyro.conf.Positional[str]
    states: int | None = None
    symmetry: str = "C1"
    weights: str | None = None
    contrast: Literal["auto", "white", "dark"] = "auto"
    padding: Literal[1, 2, 3] = 2
    bootstrap: int | None = None
    tilt_pairs: str | None = None
    tilt_angle: float | None = None
    tilt_axis: float | None = None
    pairs: PairingConfig = field(default_factory=PairingConfig)
    halves: HalvesConfig = field(default_factory=HalvesConfig)
    image_root: str | None = None


def check_config(config: ReconstructConfig) -> None:
    """Refuse options that mean nothing, before anything is read.

    Args:
        config: of the verb.

    Raises:
        InputError: the first option that is wrong.
    """
    check_symmetry(config.symmetry)
    check_ranges(
        {
            "bootstrap": (config.bootstrap, 5, 1000),
            "tilt-angle": (config.tilt_angle, -89, 89),
            "tilt-axis": (config.tilt_axis, -360, 360),
            "pairs.untilted-axis": (config.pairs.untilted_axis, -360, 360),
        }
    )
    if Path(config.particles).is_dir():
        for name in ("bootstrap", "tilt_pairs"):
            if getattr(config, name) is not None:
                cause = "it is for a table of particles, and the folder of a flex job is named"
                remedy = "leave it, or name one of the tables of a state"
                raise InputError("command line", f"--{name.replace('_', '-')}", cause, remedy)
    elif config.states is not None:
        cause = "states are those of a motion, and the particles are a table"
        raise InputError("command line", "--states", cause, "name the folder of a flex job")
    if config.tilt_pairs is None:
        told = {
            "--pairs.by": config.pairs.by,
            "--tilt-angle": config.tilt_angle,
            "--tilt-axis": config.tilt_axis,
            "--pairs.untilted-axis": config.pairs.untilted_axis,
        }
        for option, value in told.items():
            if value is not None:
                cause = "it says something of tilt pairs, and none are given"
                raise InputError("command line", option, cause, "give --tilt-pairs, or leave it")
    elif not config.symmetry.upper().startswith("C"):
        cause = f"no axis of {config.symmetry} but that along z is known before there is a map"
        raise InputError("command line", "--symmetry", cause, "give C1, or Cn of an upright axis")
