import numpy as np
import pytest

from cryojax_graph.models.backbone_graph.template import TemplateAtoms


def chain_of(count: int, seed: int = 0) -> TemplateAtoms:
    """A loose helix with four backbone and two side-chain atoms in each residue."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(100.0) * np.arange(count)
    c_alpha = np.stack([4 * np.cos(angle), 4 * np.sin(angle), 1.5 * np.arange(count)], axis=1)
    c_alpha -= c_alpha.mean(0)
    residue = np.repeat(np.arange(count), 6)
    return TemplateAtoms(
        c_alpha=c_alpha,
        chain=np.zeros(count, int),
        bonded=np.append(np.ones(count - 1, int), 0),
        hydrogen_bonds=np.array([[0, 4], [2, 6]]),
        electrons=np.full(count, 54.0),
        width=np.full(count, 1.8),
        atoms=c_alpha[residue] + rng.normal(size=(6 * count, 3)),
        atom_electrons=np.full(6 * count, 7.0),
        atom_residue=residue,
        atom_is_backbone=np.tile([True] * 4 + [False] * 2, count),
    )


@pytest.fixture(scope="session")
def make_chain():
    return chain_of
