"""The code of the page on fitting works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[3] / "docs/howto/fit.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_the_python_of_the_page_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["by_atoms"].shape == (3, 3)
    # Density counts in standard deviations of the map, so that its scale does not.
    term = np.asarray(names["volume"], float) * np.asarray(names["by_map"], float)
    assert np.abs(term).sum() > 1.0
    assert abs(term.sum()) < 1e-3 * np.abs(term).sum()
