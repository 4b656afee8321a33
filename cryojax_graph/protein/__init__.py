"""What a protein chain is: residues that carry their atoms, restraints, elastic motion.

``restraints`` hold C-alpha atoms to a template; ``geometry_restraints`` hold all atoms to the
geometry of small molecules.
"""

from cryojax_graph.protein.beads import (
    Beads,
    beads_at_c_alpha,
    beads_of_atoms,
    carry,
    local_positions,
    place_beads,
)
from cryojax_graph.protein.contacts import Contacts, find_contacts, repulsion_energy
from cryojax_graph.protein.covalent import (
    AtomLabels,
    find_bonds,
    neighbours_of,
    pairs_within_bonds,
)
from cryojax_graph.protein.elastic import elastic_modes
from cryojax_graph.protein.frames import frame_triples, residue_frames
from cryojax_graph.protein.geometry_restraints import (
    GeometryRestraints,
    geometry_restraints,
    restraint_energy,
)
from cryojax_graph.protein.geometry_scores import GeometryScores, count_clashes, score_geometry
from cryojax_graph.protein.pairs import pairs_within
from cryojax_graph.protein.residues import residue_electrons, residue_width
from cryojax_graph.protein.restraints import (
    Restraints,
    clash_energy,
    distance_energy,
    restraints_of_template,
)
from cryojax_graph.protein.shapes import distances_between

__all__ = [
    "AtomLabels",
    "Beads",
    "Contacts",
    "GeometryRestraints",
    "GeometryScores",
    "Restraints",
    "beads_at_c_alpha",
    "beads_of_atoms",
    "carry",
    "clash_energy",
    "count_clashes",
    "distance_energy",
    "distances_between",
    "elastic_modes",
    "find_bonds",
    "find_contacts",
    "frame_triples",
    "geometry_restraints",
    "local_positions",
    "neighbours_of",
    "pairs_within",
    "pairs_within_bonds",
    "place_beads",
    "repulsion_energy",
    "residue_electrons",
    "residue_frames",
    "residue_width",
    "restraint_energy",
    "restraints_of_template",
    "score_geometry",
]
