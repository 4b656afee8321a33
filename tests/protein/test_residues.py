import numpy as np

from cryojax_graph.protein import residue_electrons, residue_width


def test_the_ends_are_the_published_ones():
    np.testing.assert_allclose(residue_electrons(np.array(["GLY", "TRP"])), [30.0, 98.0])
    np.testing.assert_allclose(residue_width(np.array(["GLY", "TRP"])), [1.40, 2.15])


def test_electrons_follow_from_the_molecular_weight():
    # Number of electrons of a neutral residue is the sum of atomic numbers: check two by hand.
    np.testing.assert_allclose(residue_electrons(np.array(["ALA", "MET"])), [38.0, 70.0])


def test_an_unknown_residue_is_an_average_one():
    known = residue_electrons(np.array(["UNK"]))[0]
    assert 30 < known < 98
