"""The code of the page on poses works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

import cryojax_graph.poses as poses

PAGE = Path(__file__).parents[2] / "docs/reference/poses.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_the_python_of_the_page_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert np.median(names["errors"]) < 5
    assert np.max(names["errors"]) < 20
    assert 0.4 < np.median(names["errors"]) / np.median(names["stated"]) < 2


def test_every_function_that_the_page_names_is_public():
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    names = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(names) > 5
    assert not [name for name in names if name not in poses.__all__]
