from pathlib import Path

import pytest
from hinge import hinge

from cryojax_graph.io.atoms import write_models
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, simulate


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hinge")
    atoms, positions = hinge()
    write_models(folder / "opening.cif", atoms, positions)
    config = SimulateConfig(
        input=str(folder / "opening.cif"), images=240, box=36, pixel_size=2.2, snr=2.0
    )
    return simulate(config, options=JobOptions(output=str(folder / "images")))
