"""One toy system serves all tests of state and step: latents per image, a linear decoder."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cryojax_graph.training.state import TrainState, init_state
from cryojax_graph.training.step import make_step

pytestmark = pytest.mark.smoke

IMAGES, LATENT, PIXELS, BATCH = 12, 3, 5, 4


def loss(params, batch, *, config, key):
    predicted = params["latents"]["z"] @ params["decoder"]["w"]
    error = ((predicted - batch["image"]) ** 2).mean(axis=-1)
    value = (error * batch["weight"]).sum() / batch["weight"].sum()
    return value, {"largest": error.max()}


def toy_params():
    first, second = jax.random.split(jax.random.key(1))
    return {
        "decoder": {"w": jax.random.normal(first, (LATENT, PIXELS))},
        "latents": {"z": jax.random.normal(second, (IMAGES, LATENT))},
    }


def stacked(indices, weights=None):
    indices = np.asarray(indices)
    pictures = np.random.default_rng(0).normal(size=(IMAGES + 9, PIXELS)).astype(np.float32)
    return {
        "index": jnp.asarray(indices, jnp.int32),
        "weight": jnp.ones(indices.shape) if weights is None else jnp.asarray(weights),
        "image": jnp.asarray(pictures[indices]),
    }


ADAM = {"latents": optax.adam(0.1)}
SHARED = optax.adam(0.01)
STEP = make_step(loss, SHARED, config=None, row_optimizers=ADAM)
ORDER = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [0, 5, 9, 2], [8, 1, 0, 11], [3, 2, 1, 0]])


@pytest.fixture
def state() -> TrainState:
    return init_state(jax.random.key(0), toy_params(), SHARED, row_optimizers=ADAM)


def same_bits(first, second):
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)),
        first._replace(key=jax.random.key_data(first.key)),
        second._replace(key=jax.random.key_data(second.key)),
    )


def test_the_shared_parameters_follow_adam_on_the_weighted_loss(state):
    weights = [[1.0, 1.0, 0.0, 1.0]]
    batch = stacked(ORDER[:1], weights)
    decoder = np.asarray(state.params["decoder"]["w"], float)
    latents = np.asarray(state.params["latents"]["z"], float)[ORDER[0]]
    image = np.asarray(batch["image"][0], float)
    error = latents @ decoder - image
    gradient = latents.T @ (error * np.array(weights[0])[:, None] * 2 / PIXELS / 3)
    moved = decoder - 0.01 * gradient / (np.abs(gradient) + 1e-8)

    new, metrics = STEP(state, batch, 1)
    np.testing.assert_allclose(new.params["decoder"]["w"], moved, atol=1e-5)
    value = ((error**2).mean(-1) * weights[0]).sum() / 3
    np.testing.assert_allclose(metrics["loss"][0], value, rtol=1e-5)


def same_to_rounding(first, second):
    """Two programs compiled apart may round differently, as the processor lets them."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), first, second)


def slope_loss(params, batch, *, config, key):
    """Its gradient with respect to a row is the image's slope, exactly."""
    value = (params["latents"] * batch["slope"]).sum() + (params["shared"] * 0.37).sum()
    return value, {}


SLOPES = np.random.default_rng(3).normal(size=(8, IMAGES, LATENT)).astype(np.float32)


def test_a_row_follows_its_own_optimizer():
    adam, start = ADAM["latents"], SLOPES[-1]
    step = make_step(slope_loss, SHARED, config=None, row_optimizers=ADAM)
    params = {"latents": start, "shared": np.ones(2, np.float32)}
    state = init_state(jax.random.key(0), params, SHARED, row_optimizers=ADAM)
    slopes = np.stack([SLOPES[i][order] for i, order in enumerate(ORDER)])
    batch = {"index": jnp.asarray(ORDER, jnp.int32), "slope": jnp.asarray(slopes)}
    state, _ = step(state, batch, len(ORDER))

    @jax.jit
    def update(gradient, own, value):
        updates, own = adam.update(gradient, own, value)
        return optax.apply_updates(value, updates), own

    for row in range(IMAGES):
        value, own = jnp.asarray(start[row]), adam.init(jnp.asarray(start[row]))
        for i in np.flatnonzero((row == ORDER).any(axis=1)):
            value, own = update(jnp.asarray(SLOPES[i][row]), own, value)
        same_to_rounding(state.params["latents"][row], value)
        stored = jax.tree.map(lambda leaf, row=row: leaf[row], state.row_states["latents"])
        same_to_rounding(stored, own)


def test_with_every_image_in_every_batch_rows_are_dense_adam():
    params = {"latents": SLOPES[-1], "shared": np.ones(2, np.float32)}
    everyone = np.tile(np.arange(IMAGES, dtype=np.int32), (3, 1))
    batch = {"index": jnp.asarray(everyone), "slope": jnp.asarray(SLOPES[:3])}
    labels = {"latents": "rows", "shared": "shared"}
    dense = optax.multi_transform({"rows": ADAM["latents"], "shared": SHARED}, labels)

    def run(optimizer, row_optimizers):
        step = make_step(slope_loss, optimizer, config=None, row_optimizers=row_optimizers)
        state = init_state(jax.random.key(0), params, optimizer, row_optimizers=row_optimizers)
        return step(state, batch, 3)[0].params

    same_to_rounding(run(SHARED, ADAM), run(dense, {}))


def test_unseen_rows_and_padding_change_nothing(state):
    before = np.asarray(state.params["latents"]["z"])
    batch = stacked([[2, 7, IMAGES, IMAGES + 1]], [[1.0, 1.0, 0.0, 0.0]])
    batch["image"] = batch["image"].at[0, 2:].set(jnp.asarray(1e3))
    after, _ = STEP(state, batch, 1)
    changed = (np.asarray(after.params["latents"]["z"]) != before).any(axis=-1)
    assert np.flatnonzero(changed).tolist() == [2, 7]
    assert np.flatnonzero(after.row_states["latents"][0].count).tolist() == [2, 7]


def test_grouping_of_steps_changes_no_bit():
    def run(groups):
        state = init_state(jax.random.key(0), toy_params(), SHARED, row_optimizers=ADAM)
        losses, first = [], 0
        for count in groups:
            batch = stacked(np.resize(ORDER[first : first + count], (5, BATCH)))
            state, metrics = STEP(state, batch, count)
            losses.extend(metrics["loss"][:count].tolist())
            assert not metrics["loss"][count:].any()
            first += count
        return state, losses

    together, losses = run([5])
    apart, same_losses = run([2, 1, 2])
    same_bits(together, apart)
    assert losses == same_losses
    assert len(set(losses)) == 5


def test_the_loss_sees_the_number_of_the_step_and_fresh_randomness():
    constant = make_step(
        lambda p, b, *, config, key: (
            jnp.sum(p["x"]),
            {"step": b["step"], "draw": jax.random.normal(key)},
        ),
        optax.sgd(0.0),
        config=None,
    )
    state = init_state(jax.random.key(5), {"x": jnp.zeros(2)}, optax.sgd(0.0))
    _, metrics = constant(state, {"index": jnp.zeros((3, 1), jnp.int32)}, 3)
    assert metrics["step"].tolist() == [0, 1, 2]
    keys = [jax.random.fold_in(jax.random.key(5), s) for s in range(3)]
    np.testing.assert_allclose(metrics["draw"], [jax.random.normal(k) for k in keys], rtol=1e-6)


def test_constants_are_seen_and_not_changed(state):
    rows_alone = {"latents": state.params["latents"]}
    alone = init_state(jax.random.key(0), rows_alone, SHARED, row_optimizers=ADAM)

    def with_frozen(params, batch, *, frozen, **settings):
        return loss(params | frozen, batch, **settings)

    constants = {"frozen": {"decoder": toy_params()["decoder"]}}
    step = make_step(with_frozen, SHARED, config=None, row_optimizers=ADAM, constants=constants)
    alone, metrics = step(alone, stacked(ORDER[:1]), 1)
    whole, expected = STEP(state, stacked(ORDER[:1]), 1)
    assert set(alone.params) == {"latents"}
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(
        alone.params["latents"]["z"], whole.params["latents"]["z"], rtol=1e-5
    )


def test_a_step_that_is_not_finite_is_skipped_and_counted(state):
    batch = stacked(ORDER[:3])
    batch["image"] = batch["image"].at[0, 1].set(jnp.nan).at[2, 0, 0].set(jnp.inf)
    only_second = stacked(ORDER[1:2])
    reference = init_state(jax.random.key(0), toy_params(), SHARED, row_optimizers=ADAM)
    expected, _ = STEP(reference, only_second, 1)

    new, metrics = STEP(state, batch, 3)
    assert metrics["skipped"].tolist() == [1, 0, 1]
    assert (int(new.step), int(new.skipped), int(new.skipped_in_a_row)) == (3, 2, 1)
    jax.tree.map(np.testing.assert_array_equal, new.params, expected.params)
    jax.tree.map(np.testing.assert_array_equal, new.row_states, expected.row_states)
    jax.tree.map(np.testing.assert_array_equal, new.optimizer_state, expected.optimizer_state)


def test_the_callers_parameters_survive_donation():
    params = toy_params()
    state = init_state(jax.random.key(0), params, SHARED, row_optimizers=ADAM)
    key = jax.random.key(0)
    STEP(state, stacked(ORDER[:1]), 1)
    assert np.isfinite(params["decoder"]["w"]).all()
    assert jax.random.key_data(key).shape == (2,)


def test_weakly_typed_parameters_do_not_compile_the_step_twice():
    params = toy_params() | {"scale": jnp.asarray(1.0)}
    state = init_state(jax.random.key(0), params, optax.adam(0.1), row_optimizers=ADAM)
    traced = []

    def counted(*arguments, **settings):
        traced.append(1)
        return loss(*arguments, **settings)

    step = make_step(counted, optax.adam(0.1), config=None, row_optimizers=ADAM)
    state, _ = step(state, stacked([[0, 1, 2, 3]]), 1)
    once = len(traced)
    assert once > 0
    for _ in range(2):
        state, _ = step(state, stacked([[0, 1, 2, 3]]), 1)
    assert len(traced) == once
