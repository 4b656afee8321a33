"""Rotations, rigid frames, torsions, superposition, orientation grids and point groups."""

from cryojax_graph.geometry.conical_tilt import conical_tilt_angles
from cryojax_graph.geometry.frames import (
    Frames,
    apply,
    compose,
    frames_from_three_points,
    invert,
)
from cryojax_graph.geometry.orientations import (
    cell_directions,
    orientation_children,
    orientation_count,
    orientation_grid,
    orientation_spacing_degrees,
    orientations_at,
    spiral_rotations,
    view_cells,
    views_per_cell,
)
from cryojax_graph.geometry.rotations import (
    chordal_mean,
    euler_degrees_from_matrix,
    exp_map,
    geodesic_distance,
    karcher_mean,
    log_map,
    matrix_from_6d,
    matrix_from_euler_degrees,
    matrix_from_quaternion,
    matrix_from_two_vectors,
    quaternion_from_matrix,
    random_rotations,
    six_d_from_matrix,
)
from cryojax_graph.geometry.superpose import rmsd, superpose, superposed_rmsd
from cryojax_graph.geometry.symmetry import (
    asymmetric_unit,
    nearest_equivalent,
    symmetry_generators,
    symmetry_rotations,
)
from cryojax_graph.geometry.torsions import bond_angle, build_chain, dihedral, place_atom

__all__ = [
    "Frames",
    "apply",
    "asymmetric_unit",
    "bond_angle",
    "build_chain",
    "cell_directions",
    "chordal_mean",
    "compose",
    "conical_tilt_angles",
    "dihedral",
    "euler_degrees_from_matrix",
    "exp_map",
    "frames_from_three_points",
    "geodesic_distance",
    "invert",
    "karcher_mean",
    "log_map",
    "matrix_from_6d",
    "matrix_from_euler_degrees",
    "matrix_from_quaternion",
    "matrix_from_two_vectors",
    "nearest_equivalent",
    "orientation_children",
    "orientation_count",
    "orientation_grid",
    "orientation_spacing_degrees",
    "orientations_at",
    "place_atom",
    "quaternion_from_matrix",
    "random_rotations",
    "rmsd",
    "six_d_from_matrix",
    "spiral_rotations",
    "superpose",
    "superposed_rmsd",
    "symmetry_generators",
    "symmetry_rotations",
]
