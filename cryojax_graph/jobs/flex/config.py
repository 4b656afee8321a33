"""Settings of ``flex``."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_only_with
from cryojax_graph.models.backbone_graph.config import (
    PRESETS,
    BackboneGraphConfig,
)

_REPEATS_WITH_GIVEN_POSES = 2
_ROUNDS_OF_SEARCH = 3


@dataclass(frozen=True)
class FlexOutputs:
    """How much to write.

    Args:
        points: Conformations along the path.
        subsets: Regions of the leading latent that get a particle table of their own.
    """

    points: int = 20
    subsets: int = 5


@dataclass(frozen=True)
class FlexConfig:
    """Settings of the verb.

    Args:
        particles: Particle images with CTF and, unless --poses search, poses: STAR of RELION or .cs
            of cryoSPARC.
        template: Model of the protein in the frame of its map: PDB or mmCIF.
        preset: default, small (a first look), or the published paper and mlp.
        poses: Where the poses come from: known takes those of the table, refine begins with them,
            search finds them.
        pose_rounds: With --poses search, how often poses are searched again with the conformations
            found so far; 3 times when not given.
        epochs: Passes over the images; when not given, those of the preset, and more where images
            are few.
        image_root: Folder that image names of the table are relative to.
        origin: Where the template's coordinates have their zero: the centre or the first voxel of
            the box; auto tries both.
        held_out: Share of the images kept for judging the model.
        half_sets: Fit two halves of the images as well, each on its own, and say how far their
            conformations of held-out images agree; doubles the time.
        fitted: Folder of an earlier flex job (or its model.npz): its decoder is taken as it is and
            only the conformations of these images are sought.
        truth: truth.npz of a simulation, to show errors in the report.
        outputs: How much to write.
        model: All settings of the model, for the preset default.
    """

    particles: tyro.conf.Positional[str]
    template: str
    preset: Literal["default", "small", "paper", "mlp"] = "default"
    poses: Literal["known", "refine", "search"] = "known"
    pose_rounds: int | None = None
    epochs: int | None = None
    image_root: str | None = None
    origin: Literal["auto", "centre", "corner"] = "auto"
    held_out: float = 0.05
    half_sets: bool = False
    fitted: str | None = None
    truth: str | None = None
    outputs: FlexOutputs = field(default_factory=FlexOutputs)
    model: BackboneGraphConfig = field(default_factory=BackboneGraphConfig)

    @property
    def rounds_of_search(self) -> int:
        """How often poses are searched again, where they are searched."""
        return self.pose_rounds or _ROUNDS_OF_SEARCH


def model_config(config: FlexConfig) -> BackboneGraphConfig:
    """Settings of the model after the preset and the number of epochs.

    Args:
        config: of the verb, without an earlier fit.

    Returns:
        settings of the model.

    Raises:
        InputError: the options contradict each other.
    """
    model = config.model
    if config.preset != "default":
        if model != BackboneGraphConfig():
            raise InputError(
                "command line",
                "--preset",
                f"--model settings were given together with --preset {config.preset}",
                "use --model settings with the preset default only",
            )
        model = PRESETS[config.preset]()
    if config.epochs is not None:
        if config.epochs < 1:
            raise InputError(
                "command line", "--epochs", f"{config.epochs} epochs", "give at least 1"
            )
        model = replace(model, fitting=replace(model.fitting, epochs=config.epochs, least_steps=0))
    if not 0 <= config.held_out < 0.5:
        raise InputError(
            "command line", "--held-out", f"the share is {config.held_out:g}", "give 0 to 0.5"
        )
    if config.poses != "known":
        if model.objective.kind != "likelihood":
            raise InputError(
                "command line",
                "--poses",
                f"the preset {config.preset} takes poses as they are",
                "use the preset default or small, or --poses known",
            )
        model = with_fitted_poses(model, found=config.poses == "search")
        # Images that tell their poses without any given ones need no more draws of them.
        if config.epochs is None and config.poses == "refine":
            fitting = replace(model.fitting, repeats=_REPEATS_WITH_GIVEN_POSES)
            model = replace(model, fitting=fitting)
    if config.half_sets and (model.objective.kind != "likelihood" or not config.held_out):
        raise InputError(
            "command line",
            "--half-sets",
            "two fits are compared on held-out images, which need a likelihood",
            "use the preset default or small, and --held-out above 0",
        )
    return model


def with_fitted_poses(model: BackboneGraphConfig, *, found: bool) -> BackboneGraphConfig:
    """Settings with which poses are fitted, too.

    Args:
        model: settings.
        found: the poses to begin with are found in the same images, which cannot tell their error.

    Returns:
        the same with poses that are corrected.
    """
    return replace(model, poses=replace(model.poses, fitted=True, error_fitted=not found))


def check_ranges(config: FlexConfig) -> None:
    """Refuse numbers that make no sense, before anything is computed.

    Args:
        config: of the verb.

    Raises:
        InputError: a number is out of its range.
    """
    for name, value, least in (
        ("outputs.points", config.outputs.points, 2),
        ("outputs.subsets", config.outputs.subsets, 1),
        ("pose-rounds", config.pose_rounds, 1),
    ):
        if value is not None and value < least:
            raise InputError("command line", f"--{name}", f"{value}", f"give at least {least}")
    check_only_with("--pose-rounds", config.pose_rounds, "--poses search", config.poses == "search")


def check_fitted_alone(config: FlexConfig) -> None:
    """Refuse options that mean nothing when the decoder comes from an earlier job.

    Args:
        config: of the verb, with an earlier fit.

    Raises:
        InputError: there is such an option.
    """
    for name in ("preset", "epochs", "half_sets", "model", "pose_rounds"):
        default = next(f for f in fields(FlexConfig) if f.name == name)
        plain = BackboneGraphConfig() if name == "model" else default.default
        if getattr(config, name) != plain:
            raise InputError(
                "command line",
                f"--{name.replace('_', '-')}",
                "it was given together with --fitted, which brings a finished model",
                "leave one of them out",
            )
