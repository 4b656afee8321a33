"""Rotations, rigid frames, torsions, superposition and orientation grids."""
