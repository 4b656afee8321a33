"""Sound files of another kind are named as what they are."""

from pathlib import Path

import pytest

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.fit import FitConfig, fit
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.locate import LocateConfig, locate
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.jobs.stored_field import read_source

ATOM = "ATOM      1  CA  ALA A   1       1.000   2.000   3.000  1.00 20.00           C\n"


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "model.pdb"
    path.write_text(ATOM)
    return path


def test_a_wanted_kind_passes(model):
    refuse_other_kind(model, "map", "model", remedy="name a map or a model")


def test_a_damaged_file_is_left_to_its_reader(tmp_path):
    path = tmp_path / "noise.bin"
    path.write_bytes(bytes(range(256)))
    refuse_other_kind(path, "map", remedy="name a map")


def test_a_model_is_not_taken_for_a_damaged_map(model, tmp_path):
    options = JobOptions(output=str(tmp_path / "job"))
    message = r"model\.pdb: its contents: an atomic model, not a map"
    with pytest.raises(InputError, match=message):
        locate(LocateConfig(str(model)), options=options)
    with pytest.raises(InputError, match=message):
        fit(FitConfig(str(model), map=str(model)), options=options)
    with pytest.raises(InputError, match=message):
        read_source(model)


def test_a_model_is_not_taken_for_a_damaged_table(model, tmp_path):
    options = JobOptions(output=str(tmp_path / "job"))
    message = r"model\.pdb: its contents: an atomic model, not a table of particles; name a STAR"
    with pytest.raises(InputError, match=message):
        reconstruct(ReconstructConfig(str(model)), options=options)
