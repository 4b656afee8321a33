"""Settings of the backbone-graph system and its presets."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DecoderConfig:
    """How a latent becomes a conformation.

    Args:
        kind: gcn and mlp are the published decoder and its baseline; elastic moves the template
            along the modes of its graph of springs.
        latent_size: numbers that describe one image.
        features: channels per residue (gcn).
        layers: message-passing layers (gcn) or hidden layers (mlp, elastic).
        width: of the hidden layers (mlp, elastic).
        modes: most modes to use, softest first (elastic).
        softness: stiffness, in units of the softest mode, below which modes count as equally soft
            (elastic).
    """

    kind: Literal["gcn", "mlp", "elastic"] = "elastic"
    latent_size: int = 8
    features: int = 10
    layers: int = 2
    width: int = 64
    modes: int = 1024
    softness: float = 0.05


@dataclass(frozen=True)
class RestraintConfig:
    """How far a conformation may leave the geometry of the template, all in Å.

    Args:
        bond_deviation: of C-alpha atoms joined by a peptide bond.
        angle_deviation: of C-alpha atoms two bonds apart.
        contact_deviation: of other pairs within the cut-off.
        contact_cutoff: distance in the template up to which a pair is a contact.
        clash_distance: closest approach that costs nothing.
        conformations: how many independent conformations the set of images is taken to hold; the
            energy of all images together counts as that of so many.
        stiff_at_first: how many times stronger all of this is at the start of the run; it falls to
            once by the time that all frequencies count. Domains then move as wholes before details
            may, and do not settle on their neighbours' density.
    """

    bond_deviation: float = 0.06
    angle_deviation: float = 0.6
    contact_deviation: float = 3.0
    contact_cutoff: float = 10.0
    clash_distance: float = 4.0
    conformations: float = 20.0
    stiff_at_first: float = 100.0


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised.

    Args:
        kind: squared_error is the published objective, likelihood ours.
        contrast_deviation: relative spread of the contrast between images (likelihood).
        coarsest: resolution in Å at which fitting begins (likelihood).
        sharpening_share: share of the run after which all frequencies count (likelihood).
        prior_share: share of the run over which the prior of the latents is switched on
            (likelihood).
        centroid_weight: of the squared centroid (squared_error).
        bond_weight: of the squared deviation of bonded distances from the template's
            (squared_error).
        restraints: of the likelihood.
    """

    kind: Literal["squared_error", "likelihood"] = "likelihood"
    contrast_deviation: float = 0.1
    coarsest: float = 12.0
    sharpening_share: float = 0.5
    prior_share: float = 0.4
    centroid_weight: float = 0.01
    bond_weight: float = 5e-4
    restraints: RestraintConfig = field(default_factory=RestraintConfig)


@dataclass(frozen=True)
class FittingConfig:
    """How it is minimised.

    Args:
        epochs: passes over the images.
        least_steps: there are more passes where they would make fewer steps than this.
        most_passes: that are made for that beyond ``fewest_steps``: images that are seen more often
            are fitted to their noise.
        fewest_steps: without which nothing has moved.
        repeats: how often all of that is done: what poses leave uncertain needs more draws of them.
        most_repeated: passes beyond which nothing is repeated, for the same reason.
        batch_size: images per step.
        decoder_rate: learning rate of the decoder.
        latent_rate: of the latents.
        imaging_rate: of scale, width and noise.
        warm_up_epochs: over which the rates rise from a tenth.
        decay: the rates fall along a cosine towards the end (else stay).
        latent_rows: each image's latent has an optimiser of its own that steps when the image is
            seen; else one optimiser moves all of them at every step, as published.
    """

    epochs: int = 25
    least_steps: int = 2000
    most_passes: int = 67
    fewest_steps: int = 500
    repeats: int = 1
    most_repeated: int = 100
    batch_size: int = 128
    decoder_rate: float = 6e-3
    latent_rate: float = 0.2
    imaging_rate: float = 2e-2
    warm_up_epochs: float = 1.0
    decay: bool = True
    latent_rows: bool = True

    def epochs_for(self, images: int) -> tuple[int, int]:
        """Length of a run.

        Args:
            images: that are fitted.

        Returns:
            passes over the images, and steps.
        """
        per_epoch = max(1, math.ceil(images / self.batch_size))
        least, fewest = (math.ceil(n / per_epoch) for n in (self.least_steps, self.fewest_steps))
        epochs = max(self.epochs, min(least, max(self.most_passes, fewest)))
        epochs = max(epochs, min(self.repeats * epochs, self.most_repeated))
        return epochs, epochs * per_epoch


@dataclass(frozen=True)
class PoseConfig:
    """Whether and how the poses of images are fitted with their conformations (likelihood).

    Args:
        fitted: given poses are where the fit starts; else they are taken as exact.
        expected_error: of the given rotations at the start of the run, degrees about each axis.
        error_fitted: the expected error is fitted with the rest. Not for poses found in the same
            images: what was fitted to their noise once seems exact to the next fit.
        first_deviation: of the Gaussian of a rotation at the start of the run, degrees.
        rate: share of the way to the best Gaussian, as far as it can be told, that is gone at a
            time.
        draws: poses that are tried for an image whenever it is seen.
        expected_share: of these, the share that is drawn from what is expected of all images.
    """

    fitted: bool = False
    expected_error: float = 10.0
    error_fitted: bool = True
    first_deviation: float = 3.0
    rate: float = 0.5
    draws: int = 16
    expected_share: float = 0.25


@dataclass(frozen=True)
class MixtureConfig:
    """The images as a mixture of conformations, once each has been fitted by itself (likelihood).

    Args:
        turns: how often the decoder is fitted to the mixture; 0 leaves every image to itself.
        conformations: in the mixture, at most.
        images_per_conformation: there are fewer in smaller sets: an image whose own conformation is
            among them prefers that one for its noise.
        width: of each, in units of latents.
        share_of_passes: passes over the images of a turn, in those of the first fit.
        share_of_rate: learning rate of the decoder, in that of the first fit.
    """

    turns: int = 2
    conformations: int = 64
    images_per_conformation: int = 16
    width: float = 0.1
    share_of_passes: float = 0.3
    share_of_rate: float = 0.5

    def conformations_for(self, images: int) -> int:
        """Size of the mixture.

        Args:
            images: that are fitted.

        Returns:
            number of conformations.
        """
        return max(1, min(self.conformations, images // self.images_per_conformation))


@dataclass(frozen=True)
class BackboneGraphConfig:
    """All settings of the system.

    Args:
        decoder: latent to conformation.
        objective: what is minimised.
        fitting: how.
        poses: whether they are fitted, too.
        mixture: of conformations that the images share.
        beads: residue puts one Gaussian at each C-alpha atom, as published; atoms carries the side
            chains of the template along.
        atoms_per_bead: most side-chain atoms in one Gaussian.
    """

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    fitting: FittingConfig = field(default_factory=FittingConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    beads: Literal["residue", "atoms"] = "atoms"
    atoms_per_bead: int = 4


def default() -> BackboneGraphConfig:
    """The recommended setting."""
    return BackboneGraphConfig()


def small() -> BackboneGraphConfig:
    """A light setting, for a first look and for tests."""
    return BackboneGraphConfig(
        decoder=DecoderConfig(latent_size=4, width=32, modes=64),
        fitting=FittingConfig(epochs=12, least_steps=500, batch_size=64, decoder_rate=2e-3),
        atoms_per_bead=8,
    )


def paper() -> BackboneGraphConfig:
    """The published graph decoder and objective (Krook et al. 2026, arXiv 2602.21915)."""
    return BackboneGraphConfig(
        decoder=DecoderConfig(kind="gcn", latent_size=8, features=10, layers=10),
        objective=ObjectiveConfig(kind="squared_error"),
        fitting=FittingConfig(
            epochs=500,
            least_steps=0,
            decoder_rate=1e-3,
            latent_rate=1e-3,
            imaging_rate=1e-3,
            warm_up_epochs=20.0,
            decay=False,
            latent_rows=False,
        ),
        beads="residue",
    )


def mlp() -> BackboneGraphConfig:
    """The published baseline without a graph, 26 wide to equal the graph decoder's size."""
    published = paper()
    return BackboneGraphConfig(
        decoder=DecoderConfig(kind="mlp", latent_size=8, width=26, layers=4),
        objective=published.objective,
        fitting=published.fitting,
        beads="residue",
    )


PRESETS = {"default": default, "small": small, "paper": paper, "mlp": mlp}
