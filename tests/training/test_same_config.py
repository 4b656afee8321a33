import pytest

from cryojax_graph.training.same_config import differing_fields


@pytest.mark.parametrize(
    ("stored", "current", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}, []),
        ({"a": {"b": 10}}, {"a": {"b": 20}}, ["a.b is 20, was 10"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a is [2, 1], was [1, 2]"]),
        ({"a": 1}, {"b": 1}, ["a is absent, was 1", "b is 1, was absent"]),
        ({"a": {"b": 1}}, {"a": 3}, ["a is 3, was {'b': 1}"]),
        ({"a": None}, {}, ["a is absent, was None"]),
    ],
)
def test_names_the_fields_that_differ(stored, current, expected):
    assert differing_fields(stored, current) == expected
