"""``flex`` from end to end."""

from pathlib import Path

import jax
from jaxtyping import Array, Key

from cryojax_graph.jobs.flex.alternation import (
    CONFORMATIONS,
    SHARE_OF_EPOCHS,
    find_poses,
    search_again,
)
from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.embedding import (
    embed,
    gain_of_motion,
    passes_for_pose_error,
    passes_of_embedding,
)
from cryojax_graph.jobs.flex.fitting import Fitted, fit_images, passes_of_fit
from cryojax_graph.jobs.flex.half_sets import fit_half_sets
from cryojax_graph.jobs.flex.outputs import write_outputs
from cryojax_graph.jobs.flex.pose_search import cost_of_search
from cryojax_graph.jobs.flex.problem import Inputs, Problem, place_problem, read_inputs
from cryojax_graph.jobs.flex.results import LARGEST_SAMPLE, Found, motion_of
from cryojax_graph.jobs.flex.saved import MODEL_FILE, saved_path
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.views import with_poses
from cryojax_graph.training.recipes.backbone_graph import init_latents

# In passes over the images with known poses.
_PASSES_OF_REFINED = 4.0


def flex(config: FlexConfig, *, options: JobOptions) -> Path:
    """Recover the motion of a protein from its particle images.

    Args:
        config: what to fit to what.
        options: where, and with which seed.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = {"particles": config.particles, "template": config.template}
    if config.truth:
        inputs["truth"] = config.truth
    if config.fitted:
        inputs["fitted"] = str(saved_path(config.fitted))
    key = jax.random.key(options.seed)
    for_split, for_fit, for_embedding, for_draws, for_halves = jax.random.split(key, 5)
    files = read_inputs(config)
    outputs = _outputs(config, files)
    with open_job(config, verb="flex", options=options, inputs=inputs, outputs=outputs) as job:
        problem = place_problem(files, config, for_split, job)
        if config.poses == "search":
            problem = _with_poses(problem, config, jax.random.fold_in(for_fit, 1), job)
        fitted = _fitted(problem, for_fit, job)
        gain = None
        if len(problem.held) and problem.config.objective.kind == "likelihood":
            embedded = embed(
                fitted,
                problem,
                problem.held,
                fitted_images=problem.decoder_images,
                key=for_embedding,
                job=job,
                name="embedding",
            )
            fitted = embedded.fitted
            gain = gain_of_motion(embedded, problem, problem.held, job=job, name="embedding")
        halves = fit_half_sets(problem, for_halves, job) if config.half_sets else None
        motion = motion_of(for_draws, fitted, config=problem.config, template=problem.template)
        found = Found(fitted, motion, gain, halves)
        write_outputs(config, problem, found, job)
    return job.folder


def _with_poses(problem: Problem, config: FlexConfig, key: Key[Array, ""], job: Job) -> Problem:
    """Poses found with the motion, or with that of an earlier job."""
    saved = problem.saved
    if saved is None:
        return find_poses(
            problem, key, job, rounds=config.rounds_of_search, symmetry=config.symmetry
        )
    return search_again(
        problem,
        saved.params,
        saved.candidates,
        job,
        name="poses_1",
        symmetry=config.symmetry,
    )


def _fitted(problem: Problem, key: Key[Array, ""], job: Job) -> Fitted:
    """The model, fitted now or by an earlier job, and latents of its images."""
    saved = problem.saved
    if saved is None:
        return fit_images(problem, problem.fitted, key=key, job=job, name="fit", label="Fitting")
    params = saved.params | {"latents": init_latents(key, len(problem.reader), problem.config)}
    if problem.config.poses.fitted:
        params = with_poses(params, len(problem.reader), problem.config.poses)
    return Fitted(params, saved.candidates, saved.frequencies)


def plan_flex(config: FlexConfig, *, options: JobOptions) -> Plan:
    """Say what ``flex`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.
    """
    files = read_inputs(config)
    particles, template, model = files.particles, files.template, files.model
    images, box = len(particles.table), particles.box
    residues = len(template.arrays.c_alpha)
    beads = residues if model.beads == "residue" else 2.2 * residues
    epochs, _ = model.fitting.epochs_for(round(images * (1 - config.held_out)))
    embedded = images if config.fitted else config.held_out * images
    fits = 0 if config.fitted else 1 + config.half_sets
    each = _PASSES_OF_REFINED if model.poses.fitted else 1.0
    passes = fits * passes_of_fit(round(images * (1 - config.held_out)), model, each)
    seconds, of_search = 25.0, 0.0
    if config.poses == "search":
        rounds = 0 if config.fitted else config.rounds_of_search
        searches = 1 + max(rounds, 1) * CONFORMATIONS
        passes += rounds * SHARE_OF_EPOCHS * epochs * each
        search = cost_of_search(
            box=box,
            pixel_size=particles.pixel_size,
            radius=template.radius,
            symmetry=config.symmetry,
        )
        seconds += 30.0 + searches * images * search.seconds_per_image
        of_search = search.memory_bytes
    per_image = beads * 2e-7 * max(1.0, 2.0 / particles.pixel_size) + 2e-5
    if model.objective.kind == "likelihood":
        new = passes_of_embedding(model, each)
        if config.fitted and config.poses == "refine":
            new += each * passes_for_pose_error(images, model.fitting.batch_size)
        passes += new * embedded / images
    seconds += passes * images * per_image
    in_memory = min(images * box * (box // 2 + 1) * 12, 2**30)
    conformation = residues * 12
    several = model.mixture.conformations_for(images) if model.mixture.turns else 0
    shared = 40 * images * several
    of_fit = 1.3e9 + shared + 2 * in_memory + 3 * min(images, LARGEST_SAMPLE) * conformation
    return Plan(
        actions=(
            f"read {images:,} images of {box} px at {particles.pixel_size:g} Å and a template of "
            f"{residues:,} residues",
            *(
                ["find the conformation of every image with the decoder of the earlier job"]
                if config.fitted
                else [f"fit {model.decoder.kind} decoder for {epochs} epochs"]
            ),
            *_of_poses(config),
            *([] if config.fitted else _of_mixture(model, images - round(embedded))),
            *(["fit two halves of the images and compare"] if config.half_sets else []),
            "decode every image, write path, maps and subsets",
        ),
        outputs=_outputs(config, files),
        seconds=seconds,
        # Searches and fits come in turn.
        memory_bytes=int(max(of_fit, of_search) + bytes_of_table(particles.table.source)),
        disk_bytes=int(images * conformation + 9 * 4 * box**3 + 5e6),
    )


def _outputs(config: FlexConfig, files: Inputs) -> tuple[str, ...]:
    return (
        "conformations.npz",
        "latents.npz",
        "motion.cif",
        "maps/",
        "subsets/",
        *([f"particles.{files.particles.table.kind}"] if config.poses != "known" else []),
        MODEL_FILE,
        "report.html",
    )


def _of_mixture(model: BackboneGraphConfig, images: int) -> list[str]:
    mixture = model.mixture
    several, turns = mixture.conformations_for(images), mixture.turns
    if model.objective.kind == "squared_error" or not turns or several < 2:
        return []
    held = f"hold every image against {several} conformations of all"
    return [f"where that explains more, {held} and fit again, {turns} times"]


def _of_poses(config: FlexConfig) -> list[str]:
    if config.poses == "search":
        searched = "search poses with the template"
        if config.fitted:
            return [f"{searched}, then with {CONFORMATIONS} conformations of the earlier job"]
        times = config.rounds_of_search
        again = f"then {times} times with {CONFORMATIONS} conformations found so far"
        return [f"{searched}, {again}"]
    return ["correct the given poses with the motion"] if config.poses == "refine" else []
