"""``fit`` from file to files."""

from pathlib import Path

import numpy as np

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.fit.config import FitConfig
from cryojax_graph.jobs.fit.molecule import Molecule, read_molecule
from cryojax_graph.jobs.fit.outputs import note_metrics, write_outputs
from cryojax_graph.jobs.fit.report import fit_report
from cryojax_graph.jobs.fit.scores import WIDTH, FitScores, scores_of
from cryojax_graph.jobs.fit.search import (
    WIDEST,
    Fitted,
    fit_model,
    level_of,
    part_for,
    rigid_steps,
)
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.frames import OTHER_FRAME, outside_of, require_one_frame
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.map_noise import constants_of
from cryojax_graph.jobs.map_parts import WHOLE_BYTES
from cryojax_graph.jobs.map_resolution import check_resolution, working_resolution
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.stored_field import known_from
from cryojax_graph.protein.ideal_geometry import standard_name

_OUTPUTS = ("model.cif", "metrics.json", "report.html")
# Processor time per voxel of the fields and per atom and step, and bytes of each.
_FIELD_SECONDS, _STEP_SECONDS = 2e-5, 6e-6
_FIELD_BYTES, _ATOM_BYTES = 300, 8000
# Of the atoms: at low density, or of unknown residues.
_FEW = 0.5
# Clearly worse than the model given: Å, degrees, Å, Å, and pairs of atoms.
_WORSE_BONDS, _WORSE_ANGLES, _WORSE_PLANES, _WORSE_PEPTIDES, _WORSE_CLASHES = (
    0.01,
    0.7,
    0.02,
    0.04,
    5,
)
# Names of residues in a message.
_LISTED = 6


def fit(config: FitConfig, *, options: JobOptions) -> Path:
    """Move the atoms of a model into a map.

    Args:
        config: the model, the map, and how.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or most of the model lies outside the map.
    """
    density, molecule = _read(config)
    level = level_of(density)
    inputs = {"model": config.model, "map": config.map}
    with open_job(config, verb="fit", options=options, inputs=inputs, outputs=_OUTPUTS) as job:
        held = molecule.restraints
        job.log(
            f"{len(molecule.masses):,} atoms, {len(held.bonds):,} bonds, {len(held.angles):,} "
            f"angles, {len(held.planes):,} planes, {len(held.chiral):,} chiral vertices; "
            f"field: {config.field}"
        )
        _warn_outside(density, molecule, job)
        _tell_unknown(molecule, job)
        with job.progress("fitting", config.steps + rigid_steps(config)) as advance:
            fitted = fit_model(
                density,
                level,
                molecule,
                config,
                seed=options.seed,
                advance=advance,
                check_abort=job.check_abort,
                log=job.log,
            )
        heavy = molecule.heavy
        if np.mean(fitted.placed[heavy] < 1.0) > _FEW:
            job.warn(
                f"Most atoms lie where the map is hardly above its mean: {OTHER_FRAME}; --rigid "
                "model moves it by some Å"
            )
        _warn_coarse(fitted, job)
        write_outputs(molecule, fitted, job)
        resolution = working_resolution(density, config.resolution)
        scores = scores_of(density, molecule, fitted, resolution)
        note_metrics(scores, fitted, job)
        job.write_text("report.html", fit_report(molecule, fitted, scores, job), "this page")
        first, second = scores.geometry
        job.log(
            f"density at atoms {scores.density[0]:.2f} → {scores.density[1]:.2f} σ, correlation "
            f"{scores.correlation[0]:.3f} → {scores.correlation[1]:.3f}, bonds {first.bonds:.3f} "
            f"→ {second.bonds:.3f} Å, angles {first.angles:.2f} → {second.angles:.2f}°, peptide "
            f"planes {first.peptides:.3f} → {second.peptides:.3f} Å, pairs too close "
            f"{scores.clashes[0]:,} → {scores.clashes[1]:,}, atoms moved by {scores.shift:.2f} Å "
            f"(largest {scores.largest_shift:.2f} Å, backbone {scores.backbone_shift:.2f} Å)"
        )
        _warn_unpaid(scores, job)
        _warn_worse(scores, len(molecule.masses), job)
    return job.folder


def plan_fit(config: FitConfig, *, options: JobOptions) -> Plan:
    """Say what ``fit`` would do.

    Args:
        config: the model, the map, and how.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file cannot be used, or most of the model lies outside the map.
    """
    density, molecule = _read(config)
    atoms, part = len(molecule.masses), part_for(density, molecule, config)
    voxels = known_from(density, part, config.field).values.size
    rigid = () if config.rigid == "none" else (f"move as rigid bodies: {config.rigid}",)
    steps = config.steps + rigid_steps(config)
    return Plan(
        actions=(
            f"make fields ({config.field}) of {voxels:,} voxels around {atoms:,} atoms",
            *rigid,
            f"move the atoms in {config.steps:,} steps",
        ),
        outputs=_OUTPUTS,
        seconds=15.0 + voxels * _FIELD_SECONDS + atoms * steps * _STEP_SECONDS,
        memory_bytes=int(
            6e8 + density.values.size * WHOLE_BYTES + voxels * _FIELD_BYTES + atoms * _ATOM_BYTES
        ),
        disk_bytes=int(4e6 + 120 * atoms),
    )


def _read(config: FitConfig) -> tuple[Map, Molecule]:
    refuse_other_kind(config.map, "map", "stack", remedy="--map is the density to fit to")
    density = read_map(config.map)
    if not np.ptp(density.values) > 0:
        cause = f"every voxel is {float(density.values.flat[0]):g}"
        raise InputError(config.map, "its values", cause, "name a map that shows something")
    constants_of(density, config.field, file=config.map)
    check_resolution(density, config.resolution)
    molecule = read_molecule(config.model)
    require_one_frame(outside_of(molecule.positions, density), config.model)
    return density, molecule


def _warn_outside(density: Map, molecule: Molecule, job: Job) -> None:
    outside = int(outside_of(molecule.positions, density).sum())
    if outside:
        job.warn(f"{outside:,} atoms lie outside of the map: only their neighbours hold them")


def _tell_unknown(molecule: Molecule, job: Job) -> None:
    """Say what has no ideal values: water aside, residues other than amino acids."""
    names = molecule.labels.residue_name
    bonded = np.zeros(len(names), bool)
    bonded[np.asarray(molecule.restraints.bonds).reshape(-1)] = True
    bonded &= ~np.isin(names, ("HOH", "WAT", "DOD"))
    known = {name: standard_name(name) is not None for name in set(names.tolist())}
    unknown = bonded & ~np.array([known[name] for name in names.tolist()])
    if not unknown.any():
        return
    kinds = sorted(set(names[unknown].tolist()))
    listed = ", ".join(kinds[:_LISTED]) + (", …" if len(kinds) > _LISTED else "")
    message = (
        f"No ideal values are known for {int(unknown.sum()):,} atoms ({listed}): they keep the "
        "bonds, angles and planes that they have in the model, good or bad"
    )
    (job.warn if unknown.sum() > _FEW * bonded.sum() else job.log)(message)


def _warn_coarse(fitted: Fitted, job: Job) -> None:
    if fitted.width >= WIDEST:
        job.warn(
            f"Of all widths tried, the largest suits an atom in the map best ({WIDEST:g} Å, that "
            f"of a map at {WIDEST / WIDTH:.0f} Å): the map is as coarse or coarser, its density is "
            "shared by more atoms than are counted, and places of single atoms mean little; move "
            "the model as rigid bodies (--rigid model or chain), and keep it else"
        )


def _warn_unpaid(scores: FitScores, job: Job) -> None:
    if not scores.pays:
        first, second = scores.correlation
        job.warn(
            f"The backbone moved by {scores.backbone_shift:.2f} Å (rms; an atom by "
            f"{scores.largest_shift:.2f} Å at most), but the correlation with the map hardly rose "
            f"({first:.3f} → {second:.3f}): the map hardly tells the two models apart, and the "
            "one given may be the better; a smaller --weight, or --reach 0, moves it less"
        )


def _warn_worse(scores: FitScores, atoms: int, job: Job) -> None:
    first, second = scores.geometry
    worse = []
    if second.bonds > first.bonds + _WORSE_BONDS:
        worse.append(f"bonds {first.bonds:.3f} → {second.bonds:.3f} Å")
    if second.angles > first.angles + _WORSE_ANGLES:
        worse.append(f"angles {first.angles:.2f} → {second.angles:.2f}°")
    if second.planes > first.planes + _WORSE_PLANES:
        worse.append(f"planes {first.planes:.3f} → {second.planes:.3f} Å")
    if second.peptides > first.peptides + _WORSE_PEPTIDES:
        worse.append(f"peptide planes {first.peptides:.3f} → {second.peptides:.3f} Å")
    if second.hands > first.hands:
        worse.append(f"chiral vertices of the wrong hand {first.hands} → {second.hands}")
    if scores.clashes[1] > scores.clashes[0] + max(_WORSE_CLASHES, 0.01 * atoms):
        worse.append(f"pairs too close {scores.clashes[0]:,} → {scores.clashes[1]:,}")
    if worse:
        job.warn(
            f"The geometry became worse: {', '.join(worse)}. The map may not show as much as the "
            "model says: compare with the model given, or use a smaller --weight"
        )
