import jax
import numpy as np
import pytest

from cryojax_graph.training.splits import half_sets, held_out


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.25, 0.5])
@pytest.mark.parametrize("count", [2, 9])
def test_held_out_images_and_the_rest_are_all_images(count, fraction):
    kept, held = held_out(jax.random.key(3), count, fraction)
    assert sorted([*kept, *held]) == list(range(count))
    assert len(held) == (max(1, round(fraction * count)) if fraction else 0)
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ValueError, match="held-out fraction"):
        held_out(jax.random.key(0), 10, fraction)


def test_holding_everything_out_is_refused():
    with pytest.raises(ValueError, match="leaves none"):
        held_out(jax.random.key(0), 1, 0.5)


@pytest.mark.parametrize("count", [6, 7])
def test_half_sets_are_disjoint_and_nearly_equal(count):
    images = np.arange(100, 100 + count)
    first, second = half_sets(jax.random.key(1), images)
    assert sorted([*first, *second]) == images.tolist()
    assert len(first) - len(second) == count % 2


def test_another_key_divides_otherwise():
    images = np.arange(50)
    draws = [half_sets(jax.random.key(seed), images)[0].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_rows_of_one_image_stay_together():
    group = np.array([0, 1, 1, 2, 3, 0, 4, 5, 5, 5, 6, 7])
    for seed in range(20):
        kept, held = held_out(jax.random.key(seed), 12, 0.3, group=group)
        assert sorted([*kept, *held]) == list(range(12))
        assert not set(group[kept]) & set(group[held])
        assert len(set(group[held])) == 2
        first, second = half_sets(jax.random.key(seed), kept, group=group)
        assert sorted([*first, *second]) == kept.tolist()
        assert not set(group[first]) & set(group[second])


def test_groups_of_one_change_nothing():
    key = jax.random.key(0)
    for plain, grouped in zip(
        held_out(key, 20, 0.3), held_out(key, 20, 0.3, group=np.arange(20)), strict=True
    ):
        assert plain.tolist() == grouped.tolist()
