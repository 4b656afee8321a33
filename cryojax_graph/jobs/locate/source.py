"""What is searched: a map, or what an earlier job stored of one."""

from pathlib import Path
from typing import NamedTuple

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import read_field
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.graph_scores import Atoms, atoms_of, atoms_within
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.outputs import check_map_name
from cryojax_graph.jobs.locate.search import check_settings, threshold_of
from cryojax_graph.jobs.stored_field import holds_field, source_path
from cryojax_graph.models.atom_graph.config import NeuralMapConfig


class Source(NamedTuple):
    """What is searched.

    Attributes:
        path: of the file.
        of: a map, or networks that were trained on a part of one.
        shown: file of the map, for the script that shows it; None of a stored field.
        atoms: of the model that peaks are scored against; None without one.
    """

    path: Path
    of: Map | StoredNetworks
    shown: str | None
    atoms: Atoms | None


def read_source(config: LocateConfig) -> Source:
    """Read what is searched and the model, and refuse what cannot be done with them.

    Args:
        config: of the job.

    Returns:
        a map, that of stored voxels too; or networks.

    Raises:
        InputError: a file cannot be used, nothing lies above the threshold, or options do not suit
            what is searched.
    """
    path = source_path(config.map)
    if not holds_field(path):
        check_map_name(str(path.resolve()))
        refuse_other_kind(path, "map", "stack", remedy="name a map, or a stored field")
        density, shown = read_map(path), str(path.resolve())
    else:
        stored, shown = read_field(path), None
        if isinstance(stored, StoredNetworks):
            _check_networks(config)
            atoms = None if config.model is None else atoms_of(config.model)
            return Source(path, stored, shown, atoms)
        density = stored.density
    threshold_of(density, config, file=config.map)
    check_settings(density, config)
    atoms = None if config.model is None else atoms_within(config.model, density)
    return Source(path, density, shown, atoms)


def _check_networks(config: LocateConfig) -> None:
    """Networks are trained, and what they know of their map is a part of it."""
    if config.field not in ("siren", "paper"):
        cause = (
            f"it holds networks, which are searched as they are, not what --field {config.field}"
        )
        remedy = "add --field siren, or --field paper for the published walk; or name the map"
        raise InputError(config.map, "header, kind", f"{cause} fits", remedy)
    given = {
        "--steps": config.steps is not None,
        "--networks": config.networks != NeuralMapConfig(),
    }
    for option in (option for option, there in given.items() if there):
        cause = "it says nothing of networks that are trained already"
        raise InputError("command line", option, cause, "leave it out, or name the map")
    if config.threshold is None:
        cause = "deviations of the part of a map that networks know are not those of the map"
        remedy = "give --threshold in map units; run.log of the job that trained them names its own"
        raise InputError("command line", "--sigmas", cause, remedy)
