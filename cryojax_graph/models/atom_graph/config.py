"""Settings of a neural map and its presets."""

from dataclasses import dataclass

from cryojax_graph.fields.patches import Blend


@dataclass(frozen=True)
class NeuralMapConfig:
    """How a map is cut, what networks learn of it and how long.

    Args:
        patch: voxels of a box along an axis at most.
        overlap: voxels that neighbouring boxes share at least.
        blend: how boxes are joined where they overlap.
        width: of the sine layers.
        hidden: sine layers after the first.
        omega: frequency of the sines.
        clip_negative: take density below 0 for 0, as published; else it is learned as it is.
        points: per step and network, drawn anywhere in its box from the field that is learned; 0
            learns the voxels alone, all of them in every step, as published.
        slope_weight: of the squared error of the gradient, per voxel, beside that of the density
            (with ``points``; Sobolev training, Czarnecki and others 2017, NeurIPS 30).
        rate: learning rate of Adam.
        decay: let it fall along a cosine to 0; else it stays.
        steps: at most.
        patience: steps without a lower error after which a network rests once its error is below
            ``fair``; without ``points``.
        fair: mean squared error, of density from -1 to 1, that patience may end at.
        perfect: mean squared error that ends at once.
    """

    patch: int = 64
    overlap: int = 8
    blend: Blend = "smooth"
    width: int = 128
    hidden: int = 3
    omega: float = 30.0
    clip_negative: bool = False
    points: int = 4096
    slope_weight: float = 1.0
    rate: float = 1e-3
    decay: bool = True
    steps: int = 1000
    patience: int = 25
    fair: float = 4e-4
    perfect: float = 1e-5


def default() -> NeuralMapConfig:
    """Networks that learn a field, its slopes included, at points between voxels."""
    return NeuralMapConfig()


def paper() -> NeuralMapConfig:
    """The published networks and how they were trained (Ranno and Si 2022, section 2).

    A network there that never comes below ``fair`` is trained for ever, here for 3,000 steps; and
    the best weights are kept, as the text says, not the last ones, as its program does. The first
    layer is drawn from U(-1/3, 1/3), as its program does, not from the U(-sqrt(6/256),
    sqrt(6/256)) of its text. The "sub-graph constraints" that its text names in section 3.2 without
    saying what they are are left out: every node stays in the graph, one without edges too.
    """
    return NeuralMapConfig(
        overlap=4,
        blend="linear",
        width=256,
        hidden=4,
        clip_negative=True,
        points=0,
        slope_weight=0.0,
        rate=1e-4,
        decay=False,
        steps=3000,
    )
