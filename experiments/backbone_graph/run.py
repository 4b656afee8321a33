"""Protocol H1: motion recovered from simulated images of real trajectories, poses known.

For each trajectory, signal-to-noise ratio, model and seed, one ``flex`` job on 5,100 images of 64
px and one ``validate motion``; a cell that is done is not done again: the sweep resumes. Images of
``adk_dims`` come from an independent simulator (``--adk-images``: the folder that
``adk_images.py --snr 1 0.1 0.01`` made), those of the others from ``cryojax-graph simulate``, which
draws every heavy atom with five Gaussians; the fitted models have one Gaussian per residue or a few
beads, so no model is fitted to images of its own making.

    python experiments/backbone_graph/run.py --data DATA --adk-images DIR --work DIR
"""

import argparse
import json
from pathlib import Path

import numpy as np

from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.flex import FlexConfig, FlexOutputs, flex
from cryojax_graph.jobs.flex.inputs import read_template
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.jobs.validate import ValidateMotionConfig, validate_motion

IMAGES, BOX = 5100, 64
# Å per pixel: the box holds the molecule with some 15 Å around it.
PIXEL_SIZES = {
    "psi_domain": 1.25,
    "barstar": 1.25,
    "fab_elbow": 2.0,
    "gs_b2ar": 2.75,
    "spike_trimer": 3.5,
}
# The published runs take 500 epochs; their authors' code was measured after 200. On the two largest
# molecules that would take days on two cores.
PUBLISHED_EPOCHS = {"gs_b2ar": 100, "spike_trimer": 50}
MODELS = ("default", "paper", "mlp")
KEPT = (
    "rmsd_superposed_mean_angstrom",
    "rmsd_superposed_mean_low_angstrom",
    "rmsd_superposed_mean_high_angstrom",
    "rmsd_superposed_median_angstrom",
    "rmsd_superposed_p90_angstrom",
    "rmsd_in_frame_mean_angstrom",
    "template_rmsd_superposed_mean_angstrom",
    "constant_structure_rmsd_superposed_mean_angstrom",
    "pca_rank1_rmsd_superposed_mean_angstrom",
    "pca_rank8_rmsd_superposed_mean_angstrom",
    "constant_distortion_angstrom",
    "c_alpha_step_deviation_rms_angstrom",
    "latent_spearman_abs",
    "structure_spearman_abs",
    "lddt_ca_mean",
)


def finished(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "done"


def adk_case(images: Path, data: Path, snr: float, work: Path) -> tuple[Path, Path, Path]:
    """Particles, truth and template of the independent simulator's images."""
    template = data / "trajectories/adk_dims_template.pdb"
    truth_path = work / "adk_truth.npz"
    if not truth_path.exists():
        made, residues = read_npz(images / "truth.npz"), read_template(template).residues
        write_npz(
            truth_path,
            {
                "c_alpha": made["ca_coords"].astype(np.float32),
                "frame_index": made["frame_index"].astype(np.int64),
                "chain": residues.chain.astype(str),
                "residue_number": residues.number.astype(np.int32),
                "insertion_code": residues.insertion_code.astype(str),
                "residue_name": residues.name.astype(str),
            },
        )
    return images / f"snr{snr:g}.star", truth_path, template


def simulated_case(name: str, data: Path, snr: float, work: Path) -> tuple[Path, Path, Path]:
    """Particles, truth and template of one trajectory, made once."""
    folder = work / "images" / f"{name}_{snr:g}"
    if not finished(folder):
        config = SimulateConfig(
            input=str(data / f"trajectories/{name}.npz"),
            template=str(data / f"trajectories/{name}_template.pdb"),
            images=IMAGES,
            box=BOX,
            pixel_size=PIXEL_SIZES[name],
            snr=snr,
        )
        simulate(config, options=JobOptions(output=str(folder), seed=2602))
    return folder / "particles.star", folder / "truth.npz", folder / "reference.cif"


def cell(
    case: tuple[Path, Path, Path], model: str, seed: int, folder: Path, epochs: int | None
) -> dict[str, float]:
    """Figures of one fit."""
    particles, truth, template = case
    if not finished(folder / "flex"):
        config = FlexConfig(
            particles=str(particles),
            template=str(template),
            preset=model,
            epochs=epochs,
            held_out=0.05 if model == "default" else 0.0,
            outputs=FlexOutputs(points=8, subsets=2),
        )
        flex(config, options=JobOptions(output=str(folder / "flex"), seed=seed))
    if not finished(folder / "score"):
        config = ValidateMotionConfig(flex_folder=str(folder / "flex"), truth=str(truth))
        validate_motion(config, options=JobOptions(output=str(folder / "score"), seed=seed))
    scores = json.loads((folder / "score/metrics.json").read_text())
    fitted = json.loads((folder / "flex/metrics.json").read_text())
    kept = {name: round(scores[name], 4) for name in KEPT}
    gain = fitted.get("held_out_motion_gain_mean_nats")
    return kept | ({"held_out_motion_gain_mean_nats": round(gain, 3)} if gain else {})


def summary(cells: list[dict]) -> list[dict]:
    """Mean and range over seeds of the mean RMSD, by set, SNR and model."""
    rows = []
    keys = sorted({(c["set"], -c["snr"], c["model"]) for c in cells})
    for name, negative, model in keys:
        chosen = [c for c in cells if (c["set"], -c["snr"], c["model"]) == (name, negative, model)]
        values = [c["rmsd_superposed_mean_angstrom"] for c in chosen]
        first = chosen[0]
        rows.append(
            {
                "set": name,
                "snr": -negative,
                "model": model,
                "seeds": len(values),
                "rmsd_mean": round(float(np.mean(values)), 3),
                "rmsd_least": min(values),
                "rmsd_largest": max(values),
                "template": first["template_rmsd_superposed_mean_angstrom"],
                "constant": first["constant_structure_rmsd_superposed_mean_angstrom"],
                "rank8_floor": first["pca_rank8_rmsd_superposed_mean_angstrom"],
                "constant_distortion": round(
                    float(np.mean([c["constant_distortion_angstrom"] for c in chosen])), 3
                ),
                "latent_spearman": round(
                    float(np.mean([c["latent_spearman_abs"] for c in chosen])), 3
                ),
                "c_alpha_step_deviation": round(
                    float(np.mean([c["c_alpha_step_deviation_rms_angstrom"] for c in chosen])), 3
                ),
            }
        )
    return rows


def comparison(cells: list[dict]) -> list[dict]:
    """How far ours is below the better of the published models, by set and SNR.

    The least reduction sets the upper end of our worst seed's bootstrap interval against the lower
    end of their best seed's.
    """
    rows = []
    for name, snr in sorted({(c["set"], c["snr"]) for c in cells}):
        here = [c for c in cells if (c["set"], c["snr"]) == (name, snr)]
        by_model = {model: [c for c in here if c["model"] == model] for model in MODELS}
        if not all(by_model.values()):
            continue
        mean = {
            model: float(np.mean([c["rmsd_superposed_mean_angstrom"] for c in chosen]))
            for model, chosen in by_model.items()
        }
        better = min(("paper", "mlp"), key=lambda model: mean[model])
        ours = max(c["rmsd_superposed_mean_high_angstrom"] for c in by_model["default"])
        theirs = min(c["rmsd_superposed_mean_low_angstrom"] for c in by_model[better])
        rows.append(
            {
                "set": name,
                "snr": snr,
                "better_published": better,
                "reduction": round(1 - mean["default"] / mean[better], 3),
                "least_reduction": round(1 - ours / theirs, 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adk-images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["adk_dims", *PIXEL_SIZES])
    parser.add_argument("--snr", nargs="*", type=float, default=[1.0, 0.1, 0.01])
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--seeds", type=int, help="5 for adk_dims and 2 for the others by default")
    parser.add_argument("--published-epochs", type=int, help="instead of 200, 100, 50 by size")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "expected.json")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    done = (
        json.loads(arguments.results.read_text()) if arguments.results.exists() else {"cells": []}
    )
    known = {(c["set"], c["snr"], c["model"], c["seed"]): c for c in done["cells"]}
    todo = [
        (name, snr, model, seed)
        for seed in range(5)
        for name in arguments.sets
        for snr in arguments.snr
        for model in arguments.models
        if seed < (arguments.seeds or (5 if name == "adk_dims" else 2))
    ]
    for name, snr, model, seed in todo:
        if (name, snr, model, seed) in known:
            continue
        make = (
            (lambda s: adk_case(arguments.adk_images, arguments.data, s, arguments.work))
            if name == "adk_dims"
            else (lambda s, n=name: simulated_case(n, arguments.data, s, arguments.work))
        )
        folder = arguments.work / "cells" / f"{name}_{snr:g}_{model}_{seed}"
        published = arguments.published_epochs or PUBLISHED_EPOCHS.get(name, 200)
        epochs = None if model == "default" else published
        figures = cell(make(snr), model, seed, folder, epochs)
        known[name, snr, model, seed] = {
            "set": name, "snr": snr, "model": model, "seed": seed, "epochs": epochs, **figures
        }  # fmt: skip
        cells = [known[key] for key in sorted(known)]
        results = {"summary": summary(cells), "comparison": comparison(cells), "cells": cells}
        arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        print(name, snr, model, seed, figures["rmsd_superposed_mean_angstrom"], flush=True)


if __name__ == "__main__":
    main()
