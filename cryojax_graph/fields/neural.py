"""A map as a stack of networks, one for each box (Ranno and Si 2022)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.fields.grid import VoxelGrid
from cryojax_graph.fields.patches import Blend, Patches, owners_of
from cryojax_graph.fields.query import Expansion, differentiate
from cryojax_graph.fields.siren import Siren, siren

_AT_ONCE = 256


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["layers", "network", "constant", "offset", "scale", "grid"],
    meta_fields=["patches", "shape", "omega", "blend"],
)
@dataclass(frozen=True)
class NeuralField:
    """Density as what networks say of their boxes, joined where these overlap.

    Args:
        layers: of all networks, stacked.
        network: of each box; boxes of one density have none, and a number past the last.
        constant: what a box without network says.
        offset: density of a network's 0, map units.
        scale: density of a network's 1 above that.
        grid: of the voxels.
        patches: the boxes.
        shape: of the map, voxels along z, y, x.
        omega: frequency of the sines.
        blend: how boxes are joined.
    """

    layers: Siren
    network: Int[Array, " patches"]
    constant: Float[Array, " patches"]
    offset: Float[Array, ""]
    scale: Float[Array, ""]
    grid: VoxelGrid
    patches: Patches
    shape: tuple[int, int, int]
    omega: float
    blend: Blend

    def value(self, point: Float[Array, "3"]) -> Float[Array, ""]:
        """Density at a point (x, y, z) in Å; 0 outside the box."""
        return self.values(point[None])[0]

    def values(self, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
        """Density at many points."""
        index = jax.vmap(self.grid.index)(points)
        edge = jnp.array(self.shape) - 0.5
        inside = jnp.all((index >= -0.5) & (index <= edge), axis=1)
        owners = jax.vmap(partial(owners_of, patches=self.patches, blend=self.blend))(index)
        networks = len(self.layers[0].bias)
        # A box whose say counts nothing is not asked.
        counts = (owners.weight > 0) & inside[:, None]
        asked = jnp.where(counts, self.network[owners.patch], networks)
        said = _ask_networks(
            partial(siren, omega=self.omega),
            self.layers,
            asked.reshape(-1),
            owners.place.reshape(-1, 3),
        ).reshape(asked.shape)
        said = jnp.where(self.network[owners.patch] < networks, said, self.constant[owners.patch])
        joined = jnp.sum(owners.weight * said, axis=1)
        return jnp.where(inside, self.offset + self.scale * joined, 0.0)

    def expansions(self, points: Float[Array, "n 3"]) -> Expansion:
        """Density at many points, with gradient and Hessian of the joined field."""
        return differentiate(self.values, points)


def _ask_networks(
    evaluate: Callable[[Siren, Float[Array, "n 3"]], Float[Array, " n"]],
    layers: Siren,
    network: Int[Array, " m"],
    places: Float[Array, "m 3"],
) -> Float[Array, " m"]:
    """Ask for each place the network that is named, those of one network together.

    Places are sorted by network into blocks that hold places of one only, so that every block is a
    product with one set of weights; blocks that stay empty cost nothing. What is asked of a number
    past the last network is 0.
    """
    count = len(layers[0].bias)
    block = min(_AT_ONCE, len(network))
    blocks = -(-len(network) // block) + count
    order = jnp.argsort(network)
    sorted_network = network[order]
    members = jnp.bincount(network, length=count + 1)[:count]
    used = -(-members // block)
    after = jnp.cumsum(used)
    of_block = jnp.searchsorted(after, jnp.arange(blocks), side="right")
    clipped = jnp.minimum(sorted_network, count - 1)
    rank = jnp.arange(len(network)) - (jnp.cumsum(members) - members)[clipped]
    slot = (after - used)[clipped] * block + rank
    slot = jnp.where(sorted_network < count, slot, blocks * block)
    filled = jnp.zeros((blocks * block, 3), places.dtype)
    filled = filled.at[slot].set(places[order], mode="drop")

    def one(of: tuple[Array, Array]) -> Array:
        number, some = of
        return jax.lax.cond(
            number < count,
            lambda: evaluate(jax.tree.map(lambda a: a[number], layers), some),
            lambda: jnp.zeros(block, some.dtype),
        )

    said = jax.lax.map(one, (of_block, filled.reshape(blocks, block, 3))).reshape(-1)
    said = said.at[slot].get(mode="fill", fill_value=0.0)
    return jnp.zeros(len(network), said.dtype).at[order].set(said)
