"""Settings of ``flex``."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_only_with, check_ranges, check_symmetry
from cryojax_graph.models.backbone_graph.config import (
    PRESETS,
    BackboneGraphConfig,
)

_REPEATS_WITH_GIVEN_POSES = 2
_ROUNDS_OF_SEARCH = 3
_TINY = 1e-6


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


def check_settings(config: FlexConfig) -> None:
    """Refuse numbers that make no sense, before anything is computed.

    Args:
        config: of the verb.

    Raises:
        InputError: a number is out of its range.
    """
    model, none = config.model, math.inf
    decoder, objective, fitting = model.decoder, model.objective, model.fitting
    poses, mixture = model.poses, model.mixture
    check_ranges(
        {
            "outputs.points": (config.outputs.points, 2, none),
            "outputs.subsets": (config.outputs.subsets, 1, none),
            "search.rounds": (config.search.rounds, 1, none),
            "model.decoder.latent-size": (decoder.latent_size, 1, none),
            "model.decoder.features": (decoder.features, 1, none),
            "model.decoder.layers": (decoder.layers, 0, none),
            "model.decoder.width": (decoder.width, 1, none),
            "model.decoder.modes": (decoder.modes, 1, none),
            "model.decoder.softness": (decoder.softness, _TINY, none),
            "model.objective.coarsest": (objective.coarsest, _TINY, none),
            "model.objective.sharpening-share": (objective.sharpening_share, 0, 1),
            "model.objective.prior-share": (objective.prior_share, 0, 1),
            "model.fitting.epochs": (fitting.epochs, 1, none),
            "model.fitting.least-steps": (fitting.least_steps, 0, none),
            "model.fitting.repeats": (fitting.repeats, 1, none),
            "model.fitting.batch-size": (fitting.batch_size, 1, none),
            "model.fitting.decoder-rate": (fitting.decoder_rate, _TINY, none),
            "model.fitting.latent-rate": (fitting.latent_rate, _TINY, none),
            "model.fitting.imaging-rate": (fitting.imaging_rate, _TINY, none),
            "model.poses.expected-error": (poses.expected_error, _TINY, 180),
            "model.poses.first-deviation": (poses.first_deviation, _TINY, 180),
            "model.poses.rate": (poses.rate, 0, 1),
            "model.poses.draws": (poses.draws, 1, none),
            "model.poses.expected-share": (poses.expected_share, 0, 1),
            "model.mixture.turns": (mixture.turns, 0, none),
            "model.mixture.conformations": (mixture.conformations, 1, none),
            "model.mixture.images-per-conformation": (mixture.images_per_conformation, 1, none),
            "model.mixture.width": (mixture.width, _TINY, none),
            "model.mixture.share-of-passes": (mixture.share_of_passes, _TINY, none),
            "model.mixture.share-of-rate": (mixture.share_of_rate, _TINY, none),
            "model.atoms-per-bead": (model.atoms_per_bead, 1, none),
        }
    )
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
