"""What is found where there is nothing to find: pure noise, and images of one conformation.

The conformation is the template's own, or the other end of the trajectory, to which the template
has to be bent first. Spread: RMS distance of the conformations from their mean. The gain is that of
5 % held-out images; above 0 by more than chance it would claim motion.

    python experiments/backbone_graph/nulls.py --data DATA --work DIR
"""

import argparse
import json
from pathlib import Path

import numpy as np

from cryojax_graph.io.particles import read_particles, with_columns, write_particles
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.flex import FlexConfig, flex
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, simulate

IMAGES, BOX, PIXEL_SIZE, SNR = 5100, 64, 1.5, 0.1
KEPT = (
    "spread_rms_angstrom",
    "held_out_motion_gain_mean_nats",
    "held_out_motion_gain_standard_error_nats",
    "position_deviation_median_angstrom",
    "rmsd_superposed_mean_angstrom",
)


def one_frame(data: Path, frame: int, work: Path) -> Path:
    """Images of one frame of the trajectory."""
    folder = work / f"frame_{frame}"
    if not (folder / "report.html").exists():
        work.mkdir(parents=True, exist_ok=True)
        weights = work / f"frame_{frame}.csv"
        weights.write_text(f"frame,weight\n{frame},1\n")
        config = SimulateConfig(
            input=str(data / "trajectories/adk_dims.npz"),
            template=str(data / "trajectories/adk_dims_template.pdb"),
            images=IMAGES,
            box=BOX,
            pixel_size=PIXEL_SIZE,
            snr=SNR,
            sampling=str(weights),
        )
        simulate(config, options=JobOptions(output=str(folder), seed=11, overwrite=True))
    return folder


def noise_alone(like: Path, work: Path) -> Path:
    """A table whose images are white noise."""
    folder = work / "noise"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(12)
    noise = rng.standard_normal((IMAGES, BOX, BOX), np.float32)
    write_stack(folder / "noise.mrcs", noise, pixel_size=PIXEL_SIZE)
    table = read_particles(like / "particles.star")
    table = with_columns(table, {"image_path": np.full(IMAGES, "noise.mrcs")})
    write_particles(table, folder / "particles.star")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "expected_nulls.json")
    chosen = parser.parse_args()
    same = one_frame(chosen.data, 0, chosen.work)
    other = one_frame(chosen.data, 97, chosen.work)
    cases = {
        "conformation_of_the_template": (same, str(same / "truth.npz")),
        "conformation_of_the_other_end": (other, str(other / "truth.npz")),
        "pure_noise": (noise_alone(same, chosen.work), None),
    }
    figures = {}
    for name, (images, truth) in cases.items():
        config = FlexConfig(
            particles=str(images / "particles.star"),
            template=str(same / "reference.cif"),
            truth=truth,
        )
        job = flex(config, options=JobOptions(output=str(chosen.work / "flex" / name)))
        metrics = json.loads((job / "metrics.json").read_text())
        figures[name] = {key: round(metrics[key], 4) for key in KEPT if key in metrics}
        warnings = json.loads((job / "manifest.json").read_text())["warnings"]
        figures[name]["warned"] = any(
            "No motion" in line or "less than the uncertainty" in line for line in warnings
        )
        print(name, figures[name], flush=True)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
