"""The code of the page on peaks works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs/howto/locate.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_the_python_of_the_page_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["gradient"].shape == (2, 3)
    volume, by_map = np.asarray(names["volume"], float), np.asarray(names["by_map"], float)
    # The fit of a positive map scales with the map, so Euler's theorem tells the value.
    np.testing.assert_allclose((volume * by_map).sum(), names["value"][0], rtol=0.02)
