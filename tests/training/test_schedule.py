"""The learning rate over a run, beside optax's own schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cryojax_graph.training.recipes.backbone_graph.schedule import scale_by_run


@pytest.mark.parametrize("decay", [True, False])
def test_it_is_a_warm_up_and_half_a_cosine(decay):
    ours = scale_by_run(0.5, warm_up=7, rest=20, decay=decay)
    fall = optax.cosine_decay_schedule(0.5, 20, 0.02) if decay else optax.constant_schedule(0.5)
    rise = optax.linear_schedule(0.05, 0.5, 7)
    expected = optax.scale_by_learning_rate(optax.join_schedules([rise, fall], [7]))
    gradient = {"x": jnp.array([2.0, -1.0])}

    def run(optimizer):
        def step(state, _):
            updates, state = optimizer.update(gradient, state)
            return state, updates["x"]

        return jax.lax.scan(step, optimizer.init(gradient), length=32)[1]

    np.testing.assert_allclose(run(ours), run(expected), rtol=1e-5)


def test_runs_of_all_lengths_share_one_program():
    traced = []

    @jax.jit
    def update(state):
        traced.append(1)
        return scale_by_run(0.5, warm_up=1, rest=1, decay=True).update(jnp.ones(2), state)[0]

    runs = [scale_by_run(0.5, warm_up=n, rest=3 * n, decay=True) for n in (2, 5)]
    first, second = (np.asarray(update(run.init(jnp.ones(2)))) for run in runs)
    assert len(traced) == 1
    np.testing.assert_allclose(first, second)
