"""Settings of ``flex``."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_only_with, check_symmetry
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
class PoseSearchConfig:
    """How poses are searched with --poses search.

    Args:
        rounds: How often they are searched again with the conformations found so far; 3 times when
            not given.
    """

    rounds: int | None = None


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
        symmetry: With --poses search, point group of the template, its axes through its middle and
            directed as in RELION. Every image is placed in one asymmetric unit; conformations may
            break the symmetry.
        epochs: Passes over the images; when not given, those of the preset, and more where images
            are few.
        image_root: Folder that image names of the table are relative to.
        origin: Where the template's coordinates have their zero: the centre or the first voxel of
            the box; auto tries both. With --poses search its middle comes to the centre.
        held_out: Share of the images kept for judging the model.
        half_sets: Fit two halves of the images as well, each on its own, and say how far their
            conformations of held-out images agree; doubles the time. With --poses search both have
            poses that all images together have found, and are not independent.
        fitted: Folder of an earlier flex job (or its model.npz): its decoder is taken as it is and
            only the conformations of these images are sought.
        truth: truth.npz of a simulation, to show errors in the report.
        outputs: How much to write.
        model: All settings of the model, for the preset default.
        search: How poses are searched with --poses search.
    """

    particles: tyro.conf.Positional[str]
    template: str
    preset: Literal["default", "small", "paper", "mlp"] = "default"
    poses: Literal["known", "refine", "search"] = "known"
    symmetry: str = "C1"
    epochs: int | None = None
    image_root: str | None = None
    origin: Literal["auto", "centre", "corner"] = "auto"
    held_out: float = 0.05
    half_sets: bool = False
    fitted: str | None = None
    truth: str | None = None
    outputs: FlexOutputs = field(default_factory=FlexOutputs)
    model: BackboneGraphConfig = field(default_factory=BackboneGraphConfig)
    search: PoseSearchConfig = field(default_factory=PoseSearchConfig)

    @property
    def rounds_of_search(self) -> int:
        """How often poses are searched again, where they are searched."""
        return self.search.rounds or _ROUNDS_OF_SEARCH


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
    if model.poses.fitted and config.poses == "known":
        raise InputError(
            "command line",
            "--model.poses.fitted",
            "--poses known takes poses as they are",
            "leave it out: --poses refine and --poses search fit poses",
        )
    if config.epochs is not None:
        if config.epochs < 1:
            raise InputError(
                "command line", "--epochs", f"{config.epochs} epochs", "give at least 1"
            )
        model = replace(model, fitting=replace(model.fitting, epochs=config.epochs, least_steps=0))
    if not 0 <= config.held_out < 0.5:
        raise InputError(
            "command line",
            "--held-out",
            f"the share is {config.held_out:g}",
            "give 0 or more, below 0.5",
        )
    if config.poses != "known":
        if model.objective.kind != "likelihood":
            raise InputError(
                "command line",
                "--poses",
                f"the preset {config.preset} takes poses as they are",
                "use the preset default or small, or --poses known",
            )
        # Images that tell their poses without any given ones need no more draws of them.
        if config.epochs is None and config.poses == "refine":
            fitting = replace(model.fitting, repeats=_REPEATS_WITH_GIVEN_POSES)
            model = replace(model, fitting=fitting)
    model = with_poses_from(model, config.poses)
    if config.half_sets and (model.objective.kind != "likelihood" or not config.held_out):
        raise InputError(
            "command line",
            "--half-sets",
            "two fits are compared on held-out images, which need a likelihood",
            "use the preset default or small, and --held-out above 0",
        )
    return model


def with_poses_from(
    model: BackboneGraphConfig, poses: Literal["known", "refine", "search"]
) -> BackboneGraphConfig:
    """Settings with which poses are fitted, too, or left as they are.

    Args:
        model: settings, those of an earlier job among them: how it got its poses does not matter.
        poses: where those to begin with come from. The error of poses that were searched cannot be
            told by the images in which they were found.

    Returns:
        the same for these poses.
    """
    fitted, found = poses != "known", poses == "search"
    return replace(model, poses=replace(model.poses, fitted=fitted, error_fitted=not found))


def check_ranges(config: FlexConfig) -> None:
    """Refuse numbers that make no sense, before anything is computed.

    Args:
        config: of the verb.

    Raises:
        InputError: a number is out of its range.
    """
    model = config.model
    mixture = model.mixture
    for name, value, least in (
        ("outputs.points", config.outputs.points, 2),
        ("outputs.subsets", config.outputs.subsets, 1),
        ("search.rounds", config.search.rounds, 1),
        ("model.mixture.turns", mixture.turns, 0),
        ("model.mixture.conformations", mixture.conformations, 1),
        ("model.mixture.images-per-conformation", mixture.images_per_conformation, 1),
        ("model.decoder.latent-size", model.decoder.latent_size, 1),
        ("model.decoder.features", model.decoder.features, 1),
        ("model.decoder.width", model.decoder.width, 1),
        ("model.decoder.modes", model.decoder.modes, 1),
        ("model.decoder.layers", model.decoder.layers, 0),
        ("model.fitting.epochs", model.fitting.epochs, 1),
        ("model.fitting.batch-size", model.fitting.batch_size, 1),
        ("model.fitting.least-steps", model.fitting.least_steps, 0),
        ("model.fitting.repeats", model.fitting.repeats, 1),
        ("model.poses.draws", model.poses.draws, 1),
        ("model.atoms-per-bead", model.atoms_per_bead, 1),
    ):
        if value is not None and value < least:
            raise InputError("command line", f"--{name}", f"{value}", f"give at least {least}")
    for name, value in (
        ("model.mixture.width", mixture.width),
        ("model.mixture.share-of-passes", mixture.share_of_passes),
        ("model.mixture.share-of-rate", mixture.share_of_rate),
        ("model.decoder.softness", model.decoder.softness),
        ("model.fitting.decoder-rate", model.fitting.decoder_rate),
        ("model.fitting.latent-rate", model.fitting.latent_rate),
        ("model.fitting.imaging-rate", model.fitting.imaging_rate),
        ("model.poses.expected-error", model.poses.expected_error),
        ("model.poses.first-deviation", model.poses.first_deviation),
        ("model.objective.coarsest", model.objective.coarsest),
    ):
        if not (value > 0 and math.isfinite(value)):
            raise InputError("command line", f"--{name}", f"{value:g}", "give more than 0")
    for name, value in (
        ("model.objective.sharpening-share", model.objective.sharpening_share),
        ("model.objective.prior-share", model.objective.prior_share),
        ("model.poses.rate", model.poses.rate),
        ("model.poses.expected-share", model.poses.expected_share),
    ):
        if not 0 <= value <= 1:
            raise InputError("command line", f"--{name}", f"{value:g}", "give 0 to 1")
    check_symmetry(config.symmetry)
    searched = config.poses == "search"
    check_only_with("--search.rounds", config.search.rounds, "--poses search", searched)
    stated = None if config.symmetry.upper() == "C1" else config.symmetry
    check_only_with("--symmetry", stated, "--poses search", searched)
    if searched and config.origin != "auto":
        raise InputError(
            "command line",
            "--origin",
            "with --poses search the template's middle is put at the centre of the box",
            "leave it out",
        )


def check_fitted_alone(config: FlexConfig) -> None:
    """Refuse options that mean nothing when the decoder comes from an earlier job.

    Args:
        config: of the verb, with an earlier fit.

    Raises:
        InputError: there is such an option.
    """
    plain = FlexConfig(config.particles, config.template)
    for name in ("preset", "epochs", "held_out", "half_sets", "model", "search"):
        if getattr(config, name) != getattr(plain, name):
            raise InputError(
                "command line",
                f"--{name.replace('_', '-')}",
                "it was given together with --fitted, which brings a finished model",
                "leave one of them out",
            )
