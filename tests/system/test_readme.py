"""What the README shows works as it stands there."""

import re
from pathlib import Path

import jax.numpy as jnp
import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_python_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict = {}
        exec(compile(block, str(README), "exec"), names)
        assert names["images"].shape == (4, 128, 128)
        assert bool(jnp.isfinite(names["gradient"]).all())
        assert float(jnp.abs(names["gradient"]).max()) > 0
