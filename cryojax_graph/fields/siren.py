"""Networks of sine layers (SIREN; Sitzmann and others 2020, NeurIPS 33:7462) as pure functions."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Layer(NamedTuple):
    """A linear map; a stack of networks has a leading axis more.

    Attributes:
        kernel: from inputs to outputs.
        bias: of the outputs.
    """

    kernel: Float[Array, "*stack inputs outputs"]
    bias: Float[Array, "*stack outputs"]


Siren = tuple[Layer, ...]


def init_siren(key: Key[Array, ""], *, width: int, hidden: int, omega: float) -> Siren:
    """Weights of a network from points to a number, as its authors draw them.

    Args:
        key: of the weights.
        width: of every sine layer.
        hidden: sine layers after the first.
        omega: frequency of the sines.

    Returns:
        ``hidden + 2`` layers, the last of them linear. Kernels of the first are uniform within one
        over its inputs, of the others within ``sqrt(6 / width) / omega``; biases within one over
        the root of the inputs.
    """
    sizes = [3, *[width] * (hidden + 1), 1]
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        of_kernel, of_bias = jax.random.split(jax.random.fold_in(key, number))
        reach = 1.0 / inputs if number == 0 else (6.0 / inputs) ** 0.5 / omega
        kernel = jax.random.uniform(of_kernel, (inputs, outputs), minval=-reach, maxval=reach)
        reach = inputs**-0.5
        layers.append(
            Layer(kernel, jax.random.uniform(of_bias, (outputs,), minval=-reach, maxval=reach))
        )
    return tuple(layers)


def siren(layers: Siren, points: Float[Array, "*n 3"], *, omega: float) -> Float[Array, "*n"]:
    """Value of a network at points.

    Args:
        layers: of one network.
        points: -1 … 1 along each axis of its region.
        omega: frequency of the sines.

    Returns:
        one number for each point.
    """
    *sines, last = layers
    found = points
    for layer in sines:
        found = jnp.sin(omega * (found @ layer.kernel + layer.bias))
    return (found @ last.kernel + last.bias)[..., 0]
