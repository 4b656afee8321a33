import re
import subprocess
import sys
from pathlib import Path

import cryojax_graph
from cryojax_graph import io


def test_reading_files_needs_no_jax():
    program = (
        "import sys, cryojax_graph.io; print([m for m in ('jax', 'flax') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_every_public_name_is_there():
    assert len(set(io.__all__)) == len(io.__all__)
    assert all(hasattr(io, name) for name in io.__all__)


def test_no_door_through_which_a_file_could_run_a_program():
    doors = r"\b(import|from) pickle|allow_pickle=True|torch\.load|\beval\(|\bexec\(|shell=True"
    sources = list(Path(cryojax_graph.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    for source in sources:
        assert not re.search(doors, source.read_text()), source
