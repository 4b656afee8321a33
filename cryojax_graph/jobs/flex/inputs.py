"""Particles and template for ``flex``, checked before anything is computed."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from cryojax_graph.geometry import matrix_from_euler_degrees
from cryojax_graph.graphs import BackboneGraph, build_backbone_graph
from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import ParticleImages
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.residues import ResidueTable, find_residues
from cryojax_graph.jobs.particles import read_particle_set
from cryojax_graph.models.backbone_graph.template import TemplateAtoms
from cryojax_graph.protein import residue_electrons, residue_width
from cryojax_graph.training.recipes.backbone_graph import Views

FEWEST_RESIDUES = 8
FEWEST_IMAGES = 32
SMALL_MOLECULES = "ligands, ions or water molecules"
_ELECTRONS = {"C": 6.0, "N": 7.0, "O": 8.0, "P": 15.0, "S": 16.0, "SE": 34.0}
_C_ALPHA = 1


class TemplateModel(NamedTuple):
    """A template with and without the names of its atoms.

    Attributes:
        arrays: for the model of motion.
        atoms: heavy atoms of its protein residues, for writing conformations.
        residue: residue of each atom.
        residues: the protein residues that have a C-alpha atom.
        left_out: what else the file holds, by name, with its number.
        seen: all that a search for the template looks for: heavy atoms of the file but water, in
            its frame.
    """

    arrays: TemplateAtoms
    atoms: AtomTable
    residue: Int[np.ndarray, " atoms"]
    residues: ResidueTable
    left_out: Mapping[str, int]
    seen: AtomTable

    @property
    def middle(self) -> Float[np.ndarray, "3"]:
        """Mean of all that is seen, in the frame of the file, Å."""
        return self.seen.positions.mean(axis=0, dtype=np.float64)

    @property
    def radius(self) -> float:
        """Of the sphere with its radius of gyration, Å."""
        apart = self.seen.positions - self.middle
        return float(np.sqrt(5 / 3 * np.mean(np.sum(apart**2, axis=1))))


class Particles(NamedTuple):
    """Particle images and how each was taken.

    Attributes:
        table: as it was read.
        images: on disk.
        views: poses and CTF.
        pixel_size: Å.
        box: pixels.
        image_root: folder that the image names of the table are relative to.
    """

    table: ParticleTable
    images: ParticleImages
    views: Views
    pixel_size: float
    box: int
    image_root: Path


def read_views(
    path: str | Path,
    *,
    image_root: str | None,
    fewest: int = FEWEST_IMAGES,
    poses: bool = True,
) -> Particles:
    """Particles with poses and CTF.

    Args:
        path: STAR or .cs table.
        image_root: folder for relative image names.
        fewest: images that will do.
        poses: take those of the table; else all stand in no particular one.

    Returns:
        the particles; no pixel has been read.

    Raises:
        InputError: poses, CTF or pixel size are missing, boxes or pixel sizes are mixed, images are
            missing or were corrected for their CTF, or there are too few.
    """
    particles = read_particle_set(
        path,
        *(("poses",) if poses else ()),
        image_root=image_root,
        fewest=fewest,
        too_few="to tell motion from noise",
    )
    table = particles.table
    euler, shift = np.zeros((len(table), 3)), np.zeros((len(table), 2))
    if poses:
        assert table.euler_degrees is not None
        assert table.shift_angstrom is not None
        euler, shift = table.euler_degrees, table.shift_angstrom
    views = Views(
        rotation=np.asarray(jax.vmap(matrix_from_euler_degrees)(jnp.asarray(euler, jnp.float32))),
        shift=shift.astype(np.float32),
        ctf=particles.ctf,
    )
    return Particles(
        table,
        particles.images,
        views,
        particles.pixel_size,
        particles.box,
        particles.image_root,
    )


def read_template(path: str | Path) -> TemplateModel:
    """Protein residues of a model, as arrays.

    Args:
        path: PDB or mmCIF file with one model; C-alpha atoms alone are enough.

    Returns:
        the template in the frame of its file.

    Raises:
        InputError: the file has no or too few protein residues.
    """
    atoms = read_atoms(path)
    atoms = select_atoms(atoms, ~np.isin(np.char.upper(atoms.element.astype(str)), ("H", "D")))
    residues = find_residues(atoms)
    usable = residues.backbone_mask[:, _C_ALPHA] & (residues.kind == "protein")
    if usable.sum() < FEWEST_RESIDUES:
        raise InputError(
            path,
            "its residues",
            f"{int(usable.sum())} protein residues with a C-alpha atom, need {FEWEST_RESIDUES}",
            "give a model of the protein seen in the images",
        )
    _refuse_repeated(residues, usable, path)
    c_alpha = residues.backbone[usable, _C_ALPHA]
    if np.linalg.norm(np.ptp(c_alpha, axis=0)) < 1.0:
        raise InputError(
            path,
            "its coordinates",
            "all C-alpha atoms stand in one place",
            "give a model with coordinates",
        )
    _refuse_unit(c_alpha, path)
    left_out = _left_out(residues, usable)
    owner = np.repeat(np.arange(len(residues)), residues.atom_count)
    seen = select_atoms(atoms, (residues.kind != "water")[owner])
    atoms = select_atoms(atoms, usable[owner])
    residues = find_residues(atoms)
    owner = np.repeat(np.arange(len(residues)), residues.atom_count)
    electrons = np.array([_ELECTRONS.get(e.upper(), 7.0) for e in atoms.element.tolist()])
    arrays = TemplateAtoms(
        c_alpha=residues.backbone[:, _C_ALPHA].astype(float),
        chain=residues.chain_index,
        graph=_graph(residues),
        electrons=residue_electrons(residues.name),
        width=residue_width(residues.name),
        atoms=atoms.positions.astype(float),
        atom_electrons=electrons,
        atom_residue=owner,
        atom_is_backbone=np.isin(atoms.name, ("N", "CA", "C", "O")),
    )
    return TemplateModel(arrays, atoms, owner, residues, left_out, seen)


def _left_out(residues: ResidueTable, usable: Bool[np.ndarray, " n"]) -> dict[str, int]:
    counts = {
        "nucleotides": residues.kind == "nucleotide",
        "amino acids without a C-alpha atom": (residues.kind == "protein") & ~usable,
        SMALL_MOLECULES: (residues.kind == "other") | (residues.kind == "water"),
    }
    return {name: int(those.sum()) for name, those in counts.items() if those.any()}


def _refuse_unit(c_alpha: Float[np.ndarray, "n 3"], path: str | Path) -> None:
    step = float(np.median(np.linalg.norm(np.diff(c_alpha, axis=0), axis=1)))
    if not 2.5 < step < 6.0:
        raise InputError(
            path,
            "its coordinates",
            f"neighbouring C-alpha atoms are {step:.2g} Å apart, in a protein 3.8 Å",
            "give coordinates in Å, residues in the order of the chain",
        )


def _refuse_repeated(
    residues: ResidueTable, usable: Bool[np.ndarray, " n"], path: str | Path
) -> None:
    seen = set()
    parts = residues.chain, residues.number, residues.insertion_code
    names = (part[usable].tolist() for part in parts)
    for chain, number, code in zip(*names, strict=True):
        if (chain, number, code) in seen:
            raise InputError(
                path,
                f"residue {number}{code} of chain {chain}",
                "it is listed twice",
                "remove one of the two, or give it a chain name of its own",
            )
        seen.add((chain, number, code))


def _graph(residues: ResidueTable) -> BackboneGraph:
    backbone = np.where(residues.backbone_mask[..., None], residues.backbone, np.nan).astype(float)
    nitrogen, c_alpha, carbon, oxygen = (backbone[:, k] for k in range(4))
    return build_backbone_graph(
        c_alpha,
        residues.chain_index,
        residues.number.astype(np.int64),
        nitrogen=nitrogen,
        carbon=carbon,
        oxygen=oxygen,
        donates=residues.name != "PRO",
    )


def moved(template: TemplateModel, by: Float[np.ndarray, "3"]) -> TemplateModel:
    """A template at another place.

    Args:
        template: to move.
        by: Å.

    Returns:
        the moved template.
    """
    arrays = template.arrays
    arrays = arrays._replace(c_alpha=arrays.c_alpha + by, atoms=arrays.atoms + by)
    return template._replace(arrays=arrays)
