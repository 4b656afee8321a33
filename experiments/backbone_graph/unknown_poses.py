"""Motion when poses are wrong or unknown, beside the same images with their true poses.

Adenylate kinase by the independent simulator (``adk_images.py``), template the closed state. Poses
are turned by an angle about random axes; ``flex`` takes them as they are (``known``) or corrects
them (``refine``); with ``search`` it is given none. A run that is done is not done again.

    python experiments/backbone_graph/unknown_poses.py --data DATA --adk-images DIR --work DIR
"""

import argparse
import json
from pathlib import Path

import numpy as np
from run import adk_case, finished
from scipy.spatial.transform import Rotation

from cryojax_graph.io import read_particles
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import ParticleTable, subset
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.jobs.flex import FlexConfig, FlexOutputs, flex
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose.outputs import ROTATION_DEVIATION
from cryojax_graph.jobs.validate import ValidateMotionConfig, validate_motion
from cryojax_graph.metrics import pose_errors

OFF_DEGREES = (5.0, 10.0, 15.0, 20.0)
KEPT = (
    "rmsd_superposed_mean_angstrom",
    "rmsd_in_frame_mean_angstrom",
    "constant_structure_rmsd_superposed_mean_angstrom",
    "constant_distortion_angstrom",
    "structure_spearman_abs",
)
SEED = 5


def turned(table: ParticleTable, degrees: float) -> ParticleTable:
    """Every pose wrong by an angle about an axis of its own."""
    euler = table.euler_degrees
    assert euler is not None
    axis = np.random.default_rng(SEED).standard_normal((len(table), 3))
    axis *= np.radians(degrees) / np.linalg.norm(axis, axis=1, keepdims=True)
    rotation = Rotation.from_rotvec(axis).as_matrix() @ rotation_from_euler(euler)
    return with_columns(table, {"euler_degrees": euler_from_rotation(rotation)})


def first_images(
    case: tuple[Path, Path, Path], count: int, work: Path
) -> tuple[ParticleTable, Path]:
    """Table and truth of the first images of a set."""
    particles, truth, _ = case
    arrays = read_npz(truth)
    short = work / f"truth_{count}.npz"
    if not short.exists():
        write_npz(short, arrays | {"frame_index": arrays["frame_index"][:count]})
    return subset(read_particles(particles), np.arange(count)), short


def row(
    table: ParticleTable,
    true: ParticleTable,
    case: tuple[Path, Path, Path],
    truth: Path,
    poses: str,
    folder: Path,
) -> dict[str, float]:
    """Figures of one fit."""
    if not finished(folder / "flex"):
        folder.mkdir(parents=True, exist_ok=True)
        write_particles(table, folder / "given.star")
        config = FlexConfig(
            particles=str(folder / "given.star"),
            template=str(case[2]),
            poses=poses,
            image_root=str(case[0].parent),
            outputs=FlexOutputs(points=8, subsets=2),
        )
        flex(config, options=JobOptions(output=str(folder / "flex")))
    if not finished(folder / "score"):
        config = ValidateMotionConfig(flex_folder=str(folder / "flex"), truth=str(truth))
        validate_motion(config, options=JobOptions(output=str(folder / "score")))
    scores = json.loads((folder / "score/metrics.json").read_text())
    kept = {name: round(scores[name], 4) for name in KEPT}
    if poses != "known":
        found = read_particles(folder / "flex/particles.star")
        errors = pose_errors(
            *(rotation_from_euler(np.asarray(t.euler_degrees)) for t in (found, true))
        )
        kept["rotation_error_median_degrees"] = round(float(np.median(errors.rotation_degrees)), 3)
        kept["rotation_below_10_percent"] = round(
            100 * float(np.mean(errors.rotation_degrees < 10)), 2
        )
        stated = np.asarray(found.columns[ROTATION_DEVIATION], float)
        rms_error, rms_stated = (np.sqrt(np.mean(v**2)) for v in (errors.rotation_degrees, stated))
        kept["rotation_deviation_median_degrees"] = round(float(np.median(stated)), 3)
        kept["rotation_error_over_deviation"] = round(float(rms_error / rms_stated), 3)
    if poses == "refine":
        fitted = json.loads((folder / "flex/metrics.json").read_text())
        kept["given_error_as_fitted_degrees"] = round(fitted["given_pose_error_rms_degrees"], 3)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adk-images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.1, 0.01])
    parser.add_argument("--images", type=int, default=5100)
    parser.add_argument("--off", type=float, nargs="*", default=list(OFF_DEGREES))
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "expected_unknown_poses.json"
    )
    settings = parser.parse_args()
    settings.work.mkdir(parents=True, exist_ok=True)
    rows = json.loads(settings.results.read_text()) if settings.results.exists() else []
    for snr in settings.snr:
        case = adk_case(settings.adk_images, settings.data, snr, settings.work)
        true, truth = first_images(case, settings.images, settings.work)
        runs = [(0.0, "known"), (0.0, "refine")]
        runs += [(off, poses) for off in settings.off for poses in ("known", "refine")]
        # Below some hundred, single images do not tell where they are seen from.
        runs += [(0.0, "search")] if snr * 64**2 > 120 else []
        for off, poses in runs:
            what = {"snr": snr, "images": settings.images, "poses": poses, "off_degrees": off}
            if any(what.items() <= done.items() for done in rows):
                continue
            folder = settings.work / f"{snr:g}_{settings.images}_{poses}_{off:g}"
            table = turned(true, off) if off else true
            rows.append(what | row(table, true, case, truth, poses, folder))
            settings.results.write_text(json.dumps(rows, indent=2) + "\n")
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
