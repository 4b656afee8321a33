"""Whole-or-absent checkpoints of a train state, from which a run continues bit for bit."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from cryojax_graph.training.same_config import differing_fields
from cryojax_graph.training.state import TrainState


class ConfigDiffers(ValueError):
    """The checkpoints in a folder come from a run with another config."""


class Checkpoints:
    """The last checkpoints of one run, written by orbax in the background.

    A checkpoint is written under a temporary name and renamed when complete, so that a crash at any
    moment leaves the ones before it. It holds arrays and JSON, never pickles.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, keep: int = 2) -> None:
        """Open the folder, which is made when missing.

        Args:
            folder: for checkpoints only.
            config: all that must agree for a run to continue, as plain JSON values.
            keep: number of checkpoints to keep.
        """
        self._config = config
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True),
            item_names=("state", "origin"),
        )

    def __enter__(self) -> "Checkpoints":
        """Nothing to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish what is being written."""
        self._manager.close()

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, if there is one."""
        return self._manager.latest_step()

    def restore(self, like: TrainState) -> TrainState:
        """Load the newest checkpoint.

        Args:
            like: a state of the same structure, shapes and shardings, for instance the initial one.

        Returns:
            the stored state, on the devices of ``like``; ``like`` itself when there is no
            checkpoint.

        Raises:
            ConfigDiffers: the checkpoint belongs to another config or has arrays of other shapes;
                names what differs.
        """
        step = self.latest_step()
        if step is None:
            return like
        packed = _without_key_type(like)
        stored = self._manager.restore(step, args=ocp.args.Composite(origin=ocp.args.JsonRestore()))
        if differences := differing_fields(stored["origin"], self._origin(packed)):
            raise ConfigDiffers("checkpoint of another config: " + "; ".join(differences))
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, packed)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(template))
        )
        state: TrainState = restored["state"]
        key = jax.random.wrap_key_data(state.key, impl=jax.random.key_impl(like.key))
        return state._replace(key=key)

    def save(self, state: TrainState) -> None:
        """Begin to write a checkpoint; returns when the state may be donated.

        Args:
            state: what to save. A step that is saved already is left as it is.
        """
        step = int(state.step)
        if step == self.latest_step():
            return
        # The next step donates the state's buffers while the background thread still reads: give it
        # its own.
        copy = jax.tree.map(jnp.copy, _without_key_type(state))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(copy), origin=ocp.args.JsonSave(self._origin(copy))
            ),
        )

    def _origin(self, state: TrainState) -> dict[str, Any]:
        leaves = jax.tree_util.tree_leaves_with_path(state)
        arrays = {jax.tree_util.keystr(path): str(leaf.shape) for path, leaf in leaves}
        return {"config": self._config, "arrays": arrays}

    def wait(self) -> None:
        """Return when everything begun is on disk."""
        self._manager.wait_until_finished()


def _without_key_type(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))
