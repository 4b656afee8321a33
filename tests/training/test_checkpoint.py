import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cryojax_graph.training.checkpoint import Checkpoints, ConfigDiffers
from cryojax_graph.training.state import init_state

ROWS = {"latents": optax.adam(0.1)}


def state_at(step, value=1.0, images=5):
    params = {"w": jnp.full((2, 3), value), "latents": jnp.arange(images * 2.0).reshape(-1, 2)}
    state = init_state(jax.random.key(3), params, optax.adam(0.1), row_optimizers=ROWS)
    return state._replace(step=jnp.int32(step))


def plain(state):
    return jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))


def test_a_state_comes_back_whole(tmp_path):
    saved = state_at(7, value=1 / 3)
    with Checkpoints(tmp_path / "c", {"a": [1, 2.5]}) as checkpoints:
        checkpoints.save(saved)
    with Checkpoints(tmp_path / "c", {"a": [1, 2.5]}) as checkpoints:
        restored = checkpoints.restore(state_at(0))
    jax.tree.map(np.testing.assert_array_equal, plain(restored), plain(saved))
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    np.testing.assert_array_equal(
        jax.random.normal(jax.random.fold_in(restored.key, 1)),
        jax.random.normal(jax.random.fold_in(saved.key, 1)),
    )


def test_without_a_checkpoint_the_given_state_comes_back(tmp_path):
    start = state_at(0)
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        assert checkpoints.restore(start) is start


def test_another_config_is_refused_by_the_names_of_its_fields(tmp_path):
    with Checkpoints(tmp_path / "c", {"training": {"epochs": 10}}) as checkpoints:
        checkpoints.save(state_at(1))
    with (
        Checkpoints(tmp_path / "c", {"training": {"epochs": 20}}) as checkpoints,
        pytest.raises(ConfigDiffers, match=r"training\.epochs is 20, was 10"),
    ):
        checkpoints.restore(state_at(0))


def test_a_state_of_another_shape_is_refused(tmp_path):
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        checkpoints.save(state_at(1))
    with (
        Checkpoints(tmp_path / "c", {}) as checkpoints,
        pytest.raises(ConfigDiffers, match=r"latents.*6, 2.*5, 2"),
    ):
        checkpoints.restore(state_at(0, images=6))


def test_only_the_last_two_are_kept(tmp_path):
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(state_at(step, value=step))
        checkpoints.save(state_at(4, value=99.0))
        checkpoints.wait()
        assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["3", "4"]
        assert checkpoints.restore(state_at(0)).params["w"][0, 0] == 4.0


def test_what_a_crash_left_half_written_is_not_taken_for_a_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        checkpoints.save(state_at(3))
    half = tmp_path / "c" / "9.orbax-checkpoint-tmp-17"
    half.mkdir()
    (half / "state").write_bytes(b"\0")
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        assert checkpoints.latest_step() == 3


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path):
    with Checkpoints(tmp_path / "c", {"a": 1}) as checkpoints:
        checkpoints.save(state_at(3))
    for path in (tmp_path / "c").rglob("*"):
        if path.is_file():
            # A pickle of any protocol from 2 on begins with this byte and ends with a full stop.
            content = path.read_bytes()
            assert not (content.startswith(b"\x80") and content.endswith(b".")), path
