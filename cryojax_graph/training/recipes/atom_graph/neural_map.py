"""All networks of a map as one stack, trained in one compiled program."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key

from cryojax_graph.fields import VoxelGrid, fit_positive
from cryojax_graph.fields.neural import NeuralField
from cryojax_graph.fields.patches import cut_patches, index_in_box, lay_patches
from cryojax_graph.fields.siren import init_siren
from cryojax_graph.fields.spline import SplineField
from cryojax_graph.forward.batched import map_batches
from cryojax_graph.models.atom_graph.config import NeuralMapConfig
from cryojax_graph.models.atom_graph.network_error import slope_error, voxel_error
from cryojax_graph.training.batches import Feed
from cryojax_graph.training.mesh import replicate
from cryojax_graph.training.state import TrainState
from cryojax_graph.training.step import Metrics, Step


class NeuralMapRun(NamedTuple):
    """All that ``training.fit`` needs, and what makes a field of the trained networks.

    Attributes:
        state: before the first step, a stack of networks with a row for each box that is not of one
            density.
        step: takes steps of all of them.
        batches: counts steps; the boxes are the data.
        field: makes the field of a stack of networks, given as ``layers``.
    """

    state: TrainState
    step: Step
    batches: "Steps"
    field: Callable[..., NeuralField]


class Steps:
    """Feeds without images, for data that the step function holds itself."""

    def __init__(self, at_once: int) -> None:
        """Count.

        Args:
            at_once: steps of one call.
        """
        self._at_once = at_once

    def stream(self, start: int, stop: int) -> Generator[Feed]:
        """Feeds for the steps ``start`` … ``stop - 1``."""
        for first in range(start, stop, self._at_once):
            yield Feed({}, min(self._at_once, stop - first), first)


class _Network(NamedTuple):
    """One network on its way; a stack of them has a leading axis more."""

    layers: Any
    moments: Any
    best: Any
    least: Array
    since: Array
    resting: Array


def prepare_neural_map(
    volume: Float[np.ndarray, "z y x"],
    grid: VoxelGrid,
    config: NeuralMapConfig,
    *,
    key: Key[Array, ""],
    level: float = 0.0,
    together: int = 1,
    steps_per_call: int = 10,
    mesh: Mesh | None = None,
) -> NeuralMapRun:
    """Cut a map into boxes and set up their networks.

    Args:
        volume: density at the voxels.
        grid: where they lie.
        config: of boxes, networks and training.
        key: of weights and points.
        level: density of the solvent, map units, on which the field that is learned stands.
        together: networks computed at once on a device: 1 suits a processor, all of them an
            accelerator.
        steps_per_call: between which one can look.
        mesh: divide the networks over the axis ``data`` of these devices.

    Returns:
        the run; ``training.fit`` trains it, ``trained_field`` makes the field.
    """
    volume = np.asarray(volume, np.float32)
    learned = np.maximum(volume, 0.0) if config.clip_negative else volume
    low, high = float(learned.min()), float(learned.max())
    scale = (high - low) / 2 or 1.0
    offset = low + scale
    patches = lay_patches(volume.shape, size=config.patch, overlap=config.overlap)
    boxes = (cut_patches(learned, patches) - offset) / scale
    varies = np.ptp(boxes, axis=(1, 2, 3)) > 0
    # Past the last network, those that fill up devices included.
    number = np.where(varies, np.cumsum(varies) - 1, np.iinfo(np.int32).max)
    optimizer = _optimizer(config)
    corners = np.stack(np.meshgrid(*patches.starts, indexing="ij"), -1).reshape(-1, 3)[varies]
    data: dict[str, Any] = {"number": np.arange(len(corners))}
    if config.points:
        field = jax.jit(fit_positive)(jnp.asarray(learned), grid, level=level)
        data["corner"] = corners.astype(np.float32)
        error = partial(_error_of_field, field=field, grid=grid, offset=offset, scale=scale)
    else:
        data["values"] = boxes[varies].reshape(len(corners), -1)
        error = _error_of_voxels
    step = partial(
        _step_of_network,
        error=partial(error, size=patches.size, config=config),
        optimizer=optimizer,
        config=config,
    )
    # Devices take equal numbers of networks: what fills up rests from the start.
    more = -len(corners) % (1 if mesh is None else mesh.size)
    data = {k: jnp.asarray(np.concatenate([v, v[-1:].repeat(more, 0)])) for k, v in data.items()}
    networks = _start(key, len(corners), more, config, optimizer)
    state = TrainState(
        params={"networks": networks},
        optimizer_state=(),
        row_states={},
        step=jnp.zeros((), jnp.int32),
        key=jax.random.clone(key),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )
    if mesh is not None:
        # Where steps leave them: put elsewhere at first, the program would be compiled twice.
        rows = NamedSharding(mesh, PartitionSpec("data"))
        data = jax.device_put(data, rows)
        state = replicate(state._replace(params={}), mesh)
        state = state._replace(params={"networks": jax.device_put(networks, rows)})
    return NeuralMapRun(
        state,
        _several_steps(
            step, data, len(corners), together=together, mesh=mesh, length=steps_per_call
        ),
        Steps(steps_per_call),
        partial(
            NeuralField,
            network=jnp.asarray(number, jnp.int32),
            constant=jnp.asarray(boxes[:, 0, 0, 0]),
            offset=jnp.float32(offset),
            scale=jnp.float32(scale),
            grid=grid,
            patches=patches,
            shape=(volume.shape[0], volume.shape[1], volume.shape[2]),
            omega=config.omega,
            blend=config.blend,
        ),
    )


def trained_field(run: NeuralMapRun, state: TrainState) -> NeuralField:
    """The field of the best networks of a run.

    Args:
        run: from ``prepare_neural_map``.
        state: of it, from ``training.fit``.

    Returns:
        the field.
    """
    return run.field(layers=state.params["networks"].best)


def _start(
    key: Key[Array, ""],
    count: int,
    more: int,
    config: NeuralMapConfig,
    optimizer: optax.GradientTransformation,
) -> _Network:
    init = partial(init_siren, width=config.width, hidden=config.hidden, omega=config.omega)
    # Keys by number: a network begins alike however many there are beside it.
    layers = jax.vmap(lambda i: init(jax.random.fold_in(key, i)))(jnp.arange(count + more))
    return _Network(
        layers=layers,
        moments=jax.vmap(optimizer.init)(layers),
        best=jax.tree.map(jnp.copy, layers),
        least=jnp.where(jnp.arange(count + more) < count, jnp.float32(jnp.inf), 0.0),
        since=jnp.zeros(count + more, jnp.int32),
        resting=jnp.arange(count + more) >= count,
    )


def _optimizer(config: NeuralMapConfig) -> optax.GradientTransformation:
    falling = optax.cosine_decay_schedule(config.rate, config.steps)
    return optax.adam(falling if config.decay else config.rate)


def _several_steps(
    step: Callable[..., tuple[_Network, Array]],
    data: dict[str, Any],
    networks_count: int,
    *,
    together: int,
    mesh: Mesh | None,
    length: int,
) -> Step:
    def on_device(networks: _Network, data: dict[str, Any], key: Array) -> tuple[_Network, Array]:
        one = partial(step, key=key)
        # One network at a time, a resting one is passed over.
        if together == 1:
            return jax.lax.map(lambda of: one(*of), (networks, data))

        def several(networks: _Network, data: dict[str, Any]) -> tuple[_Network, Array]:
            # Those at once take every step, for the sake of those that do not rest.
            return jax.lax.cond(
                networks.resting.all(),
                lambda: (networks, networks.least),
                lambda: jax.vmap(one)(networks, data),
            )

        return map_batches(several, networks, data, chunk=together)

    def one_step(networks: _Network, data: dict[str, Any], key: Array) -> tuple[_Network, Array]:
        if mesh is None:
            return on_device(networks, data, key)
        rows, whole = PartitionSpec("data"), PartitionSpec()
        divided = jax.shard_map(
            on_device, mesh=mesh, in_specs=(rows, rows, whole), out_specs=rows, check_vma=False
        )
        return divided(networks, data, key)

    def run(state: TrainState, data: dict[str, Any], count: Array) -> tuple[TrainState, Metrics]:
        def body(i: Array, carry: tuple[_Network, Metrics]) -> tuple[_Network, Metrics]:
            networks, history = carry
            key = jax.random.fold_in(state.key, state.step + i)
            networks, errors = one_step(networks, data, key)
            # What fills up devices has no error.
            now = {
                "loss": errors.sum() / networks_count,
                "worst": errors.max(),
                "resting": 1.0 - (~networks.resting).sum() / networks_count,
            }
            return networks, {k: history[k].at[i].set(v) for k, v in now.items()}

        nothing = {k: jnp.zeros(length) for k in ("loss", "worst", "resting")}
        first = state.params["networks"], nothing
        networks, history = jax.lax.fori_loop(0, count, body, first)
        return state._replace(params={"networks": networks}, step=state.step + count), history

    compiled = jax.jit(run, donate_argnums=0)
    return lambda state, _, count: compiled(state, data, count)


def _step_of_network(
    network: _Network,
    data: dict[str, Any],
    *,
    key: Key[Array, ""],
    error: Callable[..., Array],
    optimizer: optax.GradientTransformation,
    config: NeuralMapConfig,
) -> tuple[_Network, Array]:
    def onward() -> tuple[_Network, Array]:
        loss, gradient = jax.value_and_grad(error)(
            network.layers, data, key=jax.random.fold_in(key, data["number"])
        )
        updates, moments = optimizer.update(gradient, network.moments, network.layers)
        layers: Any = optax.apply_updates(network.layers, updates)
        if config.points:
            # The error of a draw of points says little of one step; the last weights are the best.
            return network._replace(layers=layers, moments=moments, best=layers, least=loss), loss
        better = loss < network.least
        least = jnp.minimum(loss, network.least)
        since = jnp.where(better, 0, network.since + 1)
        fits = (since >= config.patience) & (least < config.fair)
        keep = partial(jax.tree.map, partial(jnp.where, better))
        return _Network(
            layers=layers,
            moments=moments,
            best=keep(network.layers, network.best),
            least=least,
            since=since,
            resting=fits | (least < config.perfect),
        ), loss

    return jax.lax.cond(network.resting, lambda: (network, network.least), onward)


def _error_of_voxels(
    layers: Any,
    data: dict[str, Any],
    *,
    key: Key[Array, ""],
    size: tuple[int, int, int],
    config: NeuralMapConfig,
) -> Float[Array, ""]:
    """Of all voxels of the box; nothing is drawn."""
    z, y, x = (jnp.linspace(-1.0, 1.0, n) if n > 1 else jnp.zeros(1) for n in size)
    grid = jnp.stack(jnp.meshgrid(z, y, x, indexing="ij"), -1)[..., ::-1]
    return voxel_error(layers, grid.reshape(-1, 3), data["values"], omega=config.omega)


def _error_of_field(
    layers: Any,
    data: dict[str, Any],
    *,
    key: Key[Array, ""],
    field: SplineField,
    grid: VoxelGrid,
    offset: float,
    scale: float,
    size: tuple[int, int, int],
    config: NeuralMapConfig,
) -> Float[Array, ""]:
    """Of points drawn in the box."""
    half = jnp.maximum((jnp.array(size[::-1], jnp.float32) - 1) / 2, 0.5)
    places = jax.random.uniform(key, (config.points, 3), minval=-1.0, maxval=1.0)
    # Beside a single section nothing is known.
    places *= jnp.array(size[::-1]) > 1
    index = data["corner"] + index_in_box(places, size)
    there = field.expansions(jax.vmap(grid.point)(index))
    return slope_error(
        layers,
        places,
        (there.value - offset) / scale,
        there.gradient * grid.voxel_size / scale,
        omega=config.omega,
        voxel=1 / half,
        weight=config.slope_weight,
    )
