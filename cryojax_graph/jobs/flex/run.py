"""``flex`` from end to end."""

from pathlib import Path

import jax

from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.fitting import embed_held_out, fit_resumably
from cryojax_graph.jobs.flex.outputs import write_outputs
from cryojax_graph.jobs.flex.problem import place_problem, read_inputs
from cryojax_graph.jobs.flex.results import motion_of
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import prepare_fit


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
    key = jax.random.key(options.seed)
    for_split, for_fit, for_embedding, for_draws = jax.random.split(key, 4)
    files = read_inputs(config)
    with open_job(config, verb="flex", options=options, inputs=inputs) as job:
        problem = place_problem(files, config, for_split, job)
        run = prepare_fit(
            problem.reader,
            problem.template,
            pixel_size=problem.particles.pixel_size,
            config=problem.config,
            key=for_fit,
            mesh=data_mesh(),
            images=problem.fitted,
        )
        params = fit_resumably(run, problem.config, job, "fit", "Fitting")
        params, gain = embed_held_out(params, problem, for_embedding, job)
        motion = motion_of(for_draws, params, config=problem.config, template=problem.template)
        write_outputs(config, problem, params, motion, gain, job)
    return job.folder


def plan_flex(config: FlexConfig, *, options: JobOptions) -> Plan:
    """Say what ``flex`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.
    """
    particles, template, _, model = read_inputs(config)
    images, box = len(particles.table), particles.box
    residues = len(template.arrays.c_alpha)
    beads = residues if model.beads == "residue" else 2.2 * residues
    seconds = model.fitting.epochs * images * (beads * box * (box + 40) * 1.2e-10 + 5e-5)
    in_memory = min(images * box * (box // 2 + 1) * 12, 2**30)
    conformations = images * residues * 12
    return Plan(
        actions=(
            f"read {images:,} images of {box} px at {particles.pixel_size:g} Å and a template of "
            f"{residues:,} residues",
            f"fit {model.decoder.kind} decoder for {model.fitting.epochs} epochs",
            "embed the held-out images, decode every image, write path, maps and subsets",
        ),
        outputs=(
            "conformations.npz",
            "latents.npz",
            "motion.cif",
            "maps/",
            "subsets/",
            "report.html",
        ),
        seconds=seconds,
        memory_bytes=int(6e8 + 2 * in_memory + conformations),
        disk_bytes=int(conformations + 9 * 4 * box**3 + 5e6),
    )
