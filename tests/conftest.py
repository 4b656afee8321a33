"""Every shape annotation of the package is checked while the tests run."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What one test compiled, in a process of its own or not, the others need not compile again.
_COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Programs are compiled in half the time with XLA's older emitters, which later versions lack.
# `XLA_FLAGS= pytest` tests what users run: a variable that is set stays as it is.
if version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

install_import_hook("cryojax_graph", "beartype.beartype")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real maps, particles and trajectories; the test is skipped where it is missing."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CRYOJAX_GRAPH_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CRYOJAX_GRAPH_DATA")
    return folder
