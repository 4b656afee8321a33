"""All that is known before the first image: the template as arrays that jit can take."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.grouping import GroupPlan, plan_groups
from cryojax_graph.graphs import (
    BackboneGraph,
    EdgeKind,
    NormalisedAdjacency,
    edges_of_kind,
    most_neighbours,
    neighbour_lists,
    normalised_adjacency,
)
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.protein import (
    Beads,
    Restraints,
    beads_at_c_alpha,
    beads_of_atoms,
    elastic_modes,
    frame_triples,
    pairs_within,
    place_beads,
    restraints_of_template,
)

_SPRING_CUTOFF = 13.0
_SPRING_REFERENCE = 6.0
# What a group of beads may gain: width by the fitted variance, extent by motion.
_EXTRA_VARIANCE = 3.0
_SLACK = 4.0
_REACH = 3.5
_STIFFNESS = {EdgeKind.HYDROGEN_BOND: 3.0, EdgeKind.PEPTIDE: 10.0}


class TemplateAtoms(NamedTuple):
    """Plain arrays of a template, from any reader.

    Attributes:
        c_alpha: positions, Å.
        chain: chain of each residue.
        graph: from ``build_backbone_graph``: peptide and hydrogen bonds.
        electrons: of each residue.
        width: spread of each residue's electrons, Å.
        atoms: positions of all heavy atoms, Å.
        atom_electrons: of each atom.
        atom_residue: residue of each atom.
        atom_is_backbone: whether it is N, CA, C or O.
    """

    c_alpha: Float[np.ndarray, "n 3"]
    chain: Int[np.ndarray, " n"]
    graph: BackboneGraph
    electrons: Float[np.ndarray, " n"]
    width: Float[np.ndarray, " n"]
    atoms: Float[np.ndarray, "atoms 3"]
    atom_electrons: Float[np.ndarray, " atoms"]
    atom_residue: Int[np.ndarray, " atoms"]
    atom_is_backbone: np.ndarray


class Template(NamedTuple):
    """Arrays that stay the same while a model is fitted.

    Attributes:
        c_alpha: positions, Å.
        bonded: 1 where a residue is joined to the next by a peptide bond, else 0.
        beads: Gaussians that its residues carry.
        plan: which beads are drawn together.
        restraints: distances that its geometry knows.
        modes: displacement per unit of each mode of its springs, soft modes scaled up; Å.
        adjacency: of the graph decoder.
    """

    c_alpha: Float[Array, "n 3"]
    bonded: Float[Array, " n-1"]
    beads: Beads
    plan: GroupPlan
    restraints: Restraints
    modes: Float[Array, "modes n 3"]
    adjacency: NormalisedAdjacency | None


def build_template(
    atoms: TemplateAtoms, config: BackboneGraphConfig, *, pixel_size: float
) -> Template:
    """Prepare a template for one config; on the host, once.

    Args:
        atoms: of the template.
        config: says which beads, restraints and modes are needed.
        pixel_size: of the images, Å.

    Returns:
        the template; what the config does not need is empty.
    """
    bonded = joined_to_next(atoms.graph)
    triples = frame_triples(atoms.chain, bonded)
    restraints = config.objective.restraints
    beads = _beads(atoms, triples, config)
    return Template(
        c_alpha=jnp.asarray(atoms.c_alpha, jnp.float32),
        bonded=jnp.asarray(bonded[:-1], jnp.float32),
        beads=beads,
        plan=plan_groups(
            np.asarray(place_beads(beads, jnp.asarray(atoms.c_alpha, jnp.float32))),
            np.sqrt(np.asarray(beads.variance) + _EXTRA_VARIANCE),
            pixel_size=pixel_size,
            reach=_REACH,
            slack=_SLACK,
        ),
        restraints=restraints_of_template(
            atoms.c_alpha,
            bonded,
            bond_deviation=restraints.bond_deviation,
            angle_deviation=restraints.angle_deviation,
            contact_deviation=restraints.contact_deviation,
            contact_cutoff=restraints.contact_cutoff,
        ),
        modes=_scaled_modes(atoms, config),
        adjacency=_adjacency(atoms.graph) if config.decoder.kind == "gcn" else None,
    )


def _beads(
    atoms: TemplateAtoms, triples: Int[np.ndarray, "n 3"], config: BackboneGraphConfig
) -> Beads:
    if config.beads == "residue":
        return beads_at_c_alpha(triples, atoms.electrons, atoms.width)
    return beads_of_atoms(
        atoms.c_alpha,
        triples,
        atoms.atoms,
        atoms.atom_electrons,
        atoms.atom_residue,
        atoms.atom_is_backbone,
        atoms_per_bead=config.atoms_per_bead,
    )


def _scaled_modes(atoms: TemplateAtoms, config: BackboneGraphConfig) -> Float[Array, "modes n 3"]:
    if config.decoder.kind != "elastic":
        return jnp.zeros((0, *atoms.c_alpha.shape))
    senders, receivers, stiffness = springs(atoms)
    values, modes = elastic_modes(
        np.asarray(atoms.c_alpha, float), senders, receivers, stiffness, count=config.decoder.modes
    )
    softest = values[values > 1e-6 * values.max()].min()
    amplitude = 1.0 / np.sqrt(values / softest + config.decoder.softness)
    amplitude /= np.sqrt(np.mean(amplitude**2))
    return jnp.asarray(amplitude[:, None, None] * modes, jnp.float32)


def springs(
    atoms: TemplateAtoms,
) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"], Float[np.ndarray, " edges"]]:
    """Elastic network of a template: stiffness by kind of edge, contacts by distance.

    Contacts weaken with the square of the distance (Yang, Song & Jernigan 2009); peptide and
    hydrogen bonds have stiffnesses of their own.

    Args:
        atoms: of the template.

    Returns:
        ends and stiffness of each spring, each listed once.
    """
    near = pairs_within(atoms.c_alpha, _SPRING_CUTOFF)
    distance = np.linalg.norm(atoms.c_alpha[near[:, 0]] - atoms.c_alpha[near[:, 1]], axis=-1)
    near, distance = near[distance > 0], distance[distance > 0]
    pairs, stiffness = [near], [(_SPRING_REFERENCE / distance) ** 2]
    for kind, value in _STIFFNESS.items():
        ends = np.stack(edges_of_kind(atoms.graph, kind), axis=1)
        pairs.append(ends[ends[:, 0] < ends[:, 1]])
        stiffness.append(np.full(len(pairs[-1]), value))
    every, values = np.concatenate(pairs), np.concatenate(stiffness)
    # The last word on a pair is that of the stiffest kind.
    found, last = np.unique(every[::-1], axis=0, return_index=True)
    return found[:, 0], found[:, 1], values[::-1][last]


def joined_to_next(graph: BackboneGraph) -> Int[np.ndarray, " n"]:
    """Where the chain goes on.

    Args:
        graph: of a backbone.

    Returns:
        1 where a residue is joined to the next by a peptide bond, else 0.
    """
    first, second = edges_of_kind(graph, EdgeKind.PEPTIDE)
    joined = np.zeros(int(graph.n_node.sum()), int)
    joined[first[second == first + 1]] = 1
    return joined


def _adjacency(graph: BackboneGraph) -> NormalisedAdjacency:
    return normalised_adjacency(neighbour_lists(graph, places=most_neighbours(graph)))
