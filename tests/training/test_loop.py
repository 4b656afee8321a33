import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.training.batches import Feed
from cryojax_graph.training.loop import TrainingDiverged, fit
from cryojax_graph.training.state import TrainState

KEY = jax.random.key(0)


def state_at(step):
    return TrainState({}, (), {}, jnp.int32(step), KEY, jnp.int32(0), jnp.int32(0))


def source(size):
    class Source:
        closed = False

        def stream(self, start, stop):
            try:
                while start < stop:
                    count = min(size, stop - start)
                    yield Feed({"index": np.zeros((size, 1))}, count, start)
                    start += count
            finally:
                self.closed = True

    return Source()


def step_that_fails_from(first_bad):
    def step(state, batches, count):
        bad = 0
        for s in range(int(state.step), int(state.step) + count):
            bad = bad + 1 if s >= first_bad else 0
        losses = jnp.zeros(len(batches["index"])).at[:count].set(state.step + jnp.arange(count))
        bad = state.skipped_in_a_row + bad if bad else jnp.int32(0)
        return state._replace(step=state.step + count, skipped_in_a_row=jnp.asarray(bad)), {
            "loss": losses
        }

    return step


START = state_at(0)


def test_callbacks_see_each_step_once_in_order():
    seen = []
    end = fit(
        START,
        step_that_fails_from(99),
        source(3),
        steps=7,
        callbacks=[lambda p: seen.append((p.first, p.step, p.steps, p.metrics["loss"].tolist()))],
    )
    assert int(end.step) == 7
    assert seen == [(0, 3, 7, [0, 1, 2]), (3, 6, 7, [3, 4, 5]), (6, 7, 7, [6])]


def test_a_restored_state_continues_where_it_stood():
    seen = []
    state = state_at(5)
    fit(
        state,
        step_that_fails_from(99),
        source(4),
        steps=7,
        callbacks=[lambda p: seen.append(p.first)],
    )
    assert seen == [5]


def test_nothing_is_left_to_do_at_the_last_step():
    state = state_at(7)
    assert fit(state, step_that_fails_from(0), source(4), steps=7) is state


def test_too_many_bad_steps_in_a_row_end_the_run_before_any_callback():
    told, batches = [], source(3)
    with pytest.raises(TrainingDiverged, match="4 steps in a row up to step 9"):
        fit(
            START,
            step_that_fails_from(5),
            batches,
            steps=30,
            callbacks=[lambda p: told.append(p.step)],
            patience=3,
        )
    assert told == [3, 6]
    assert batches.closed


def test_a_short_run_of_bad_steps_only_is_no_fit():
    with pytest.raises(TrainingDiverged, match="5 steps in a row up to step 5"):
        fit(START, step_that_fails_from(0), source(3), steps=5, patience=10)


def test_an_exception_of_a_callback_stops_the_reader():
    batches = source(3)

    def stop(progress):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fit(START, step_that_fails_from(99), batches, steps=30, callbacks=[stop])
    assert batches.closed
