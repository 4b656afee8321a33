"""Files to plain numpy and back; never imports jax."""

from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atomic import atomic_file, write_atomically
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.chimerax import (
    write_bild,
    write_cxc,
    write_defattr,
    write_views_bild,
)
from cryojax_graph.io.crossing import lost_in_cryosparc, to_cryosparc, to_relion
from cryojax_graph.io.cs import read_cs, write_cs
from cryojax_graph.io.describe import Facts, FileKind, describe, file_kind
from cryojax_graph.io.describe_arrays import ArrayFacts, describe_arrays
from cryojax_graph.io.describe_images import MapFacts, StackFacts, describe_map, describe_stack
from cryojax_graph.io.describe_models import (
    ModelFacts,
    SequenceFacts,
    describe_model,
    describe_sequences,
)
from cryojax_graph.io.describe_particles import ParticleFacts, describe_particles
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import StoredField, StoredVoxels, read_field, write_field
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.images import ParticleImages, open_images
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.molecular_dynamics import read_simulation
from cryojax_graph.io.mrc import Map, read_map, write_map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import ParticleTable, subset
from cryojax_graph.io.particles import (
    new_particles,
    read_particles,
    with_columns,
    write_particles,
)
from cryojax_graph.io.paths import AllowedRoots, allowed_roots, resolve
from cryojax_graph.io.residues import ResidueTable, chain_sequences, find_residues
from cryojax_graph.io.sequences import Sequence, read_sequences
from cryojax_graph.io.stacks import (
    ImageStack,
    StackWriter,
    open_stack,
    write_stack,
    write_stack_in_parts,
)
from cryojax_graph.io.star import StarTable, read_star, write_star
from cryojax_graph.io.trajectories import (
    Trajectory,
    frame_atoms,
    read_trajectory,
    write_trajectory,
)

__all__ = [
    "DEFAULT_LIMITS",
    "AllowedRoots",
    "ArrayFacts",
    "AtomTable",
    "Facts",
    "FileKind",
    "ImageStack",
    "InputError",
    "Limits",
    "Map",
    "MapFacts",
    "ModelFacts",
    "ParticleFacts",
    "ParticleImages",
    "ParticleTable",
    "ResidueTable",
    "Sequence",
    "SequenceFacts",
    "StackFacts",
    "StackWriter",
    "StarTable",
    "StoredField",
    "StoredNetworks",
    "StoredVoxels",
    "Trajectory",
    "allowed_roots",
    "atomic_file",
    "chain_sequences",
    "describe",
    "describe_arrays",
    "describe_map",
    "describe_model",
    "describe_particles",
    "describe_sequences",
    "describe_stack",
    "file_kind",
    "find_residues",
    "frame_atoms",
    "lost_in_cryosparc",
    "new_particles",
    "open_images",
    "open_stack",
    "read_atoms",
    "read_cs",
    "read_field",
    "read_map",
    "read_npz",
    "read_particles",
    "read_sequences",
    "read_simulation",
    "read_star",
    "read_trajectory",
    "resolve",
    "select_atoms",
    "subset",
    "to_cryosparc",
    "to_relion",
    "with_columns",
    "write_atomically",
    "write_atoms",
    "write_bild",
    "write_cs",
    "write_cxc",
    "write_defattr",
    "write_field",
    "write_map",
    "write_npz",
    "write_particles",
    "write_stack",
    "write_stack_in_parts",
    "write_star",
    "write_trajectory",
    "write_views_bild",
]
