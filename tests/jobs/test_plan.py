import pytest

from cryojax_graph.jobs.plan import Plan, describe_plan, readable_size, readable_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.042, "0.042 s"),
        (1.4, "1 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_times_are_readable(seconds, text):
    assert readable_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB"), (2**43, "8.0 TiB")],
)
def test_sizes_are_readable(size, text):
    assert readable_size(size) == text


def test_a_plan_says_what_how_long_and_how_much():
    text = describe_plan(Plan(("read", "fit"), ("a.cif", "b.npz"), 90.0, 2**30, 5 * 2**20))
    assert text.splitlines() == [
        "Would do:",
        "  1. read",
        "  2. fit",
        "Would write: a.cif, b.npz",
        "Time: about 1 min 30 s",
        "Memory: about 1.0 GiB",
        "Disk: about 5.0 MiB",
    ]
