"""What a protein chain is: residues that carry their atoms, restraints, elastic motion."""

from cryojax_graph.protein.beads import (
    Beads,
    beads_at_c_alpha,
    beads_of_atoms,
    carry,
    local_positions,
    place_beads,
)
from cryojax_graph.protein.elastic import elastic_modes
from cryojax_graph.protein.frames import frame_triples, residue_frames
from cryojax_graph.protein.pairs import pairs_within
from cryojax_graph.protein.residues import residue_electrons, residue_width
from cryojax_graph.protein.restraints import (
    Restraints,
    clash_energy,
    distance_energy,
    restraints_of_template,
)

__all__ = [
    "Beads",
    "Restraints",
    "beads_at_c_alpha",
    "beads_of_atoms",
    "carry",
    "clash_energy",
    "distance_energy",
    "elastic_modes",
    "frame_triples",
    "local_positions",
    "pairs_within",
    "place_beads",
    "residue_electrons",
    "residue_frames",
    "residue_width",
    "restraints_of_template",
]
