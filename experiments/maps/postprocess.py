"""Curves, resolution, B-factor and sharpened map beside ``relion_postprocess`` (RELION 3.1.3).

Both get the same half-maps and the same soft mask. Random phases differ by seed, so both sides
run with several and their means are compared; the spread of one seed is told beside.

    python experiments/maps/postprocess.py --data DATA --work WORK --results expected_postprocess.json
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gemmi import cif
from half_maps import CASES, Case, half_maps, read_entry, true_map

from cryojax_graph.forward import automatic_mask
from cryojax_graph.io import Map, read_map, write_map
from cryojax_graph.jobs.map_quality import QualitySettings, assess, sharpened_map

CURVES = {
    "unmasked": "FourierShellCorrelationUnmaskedMaps",
    "masked": "FourierShellCorrelationMaskedMaps",
    "randomised": "CorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "FourierShellCorrelationCorrected",
}
GENERAL = {
    "resolution_angstrom": "FinalResolution",
    "b_factor_angstrom2": "BfactorUsedForSharpening",
    "randomised_from_angstrom": "RandomiseFrom",
}


def relion(folder: Path, case: Case, seed: int, guinier_from: float) -> dict[str, Any]:
    """What relion_postprocess says with one seed."""
    root = folder / f"relion_{seed}"
    command = ["relion_postprocess", "--i", "half1.mrc", "--i2", "half2.mrc", "--mask", "mask.mrc"]
    options = {
        "--o": root.name,
        "--angpix": case.voxel_size,
        "--random_seed": seed,
        "--autob_lowres": guinier_from,
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    # The exit status speaks of the PDF, which needs Ghostscript; the STAR file tells what counts.
    subprocess.run([*command, "--auto_bfac", *arguments], cwd=folder, capture_output=True)
    document = cif.read(str(root.with_suffix(".star")))
    general, table = document.find_block("general"), document.find_block("fsc")
    figures = {name: float(general.find_value(f"_rln{key}")) for name, key in GENERAL.items()}
    curves = {
        name: np.array([float(v) for v in table.find_loop(f"_rln{key}")])
        for name, key in CURVES.items()
    }
    return {**figures, **curves, "map": read_map(root.with_suffix(".mrc")).values}


def ours(halves: np.ndarray, mask: np.ndarray, case: Case, seed: int, settings: QualitySettings) -> dict:
    """What this package says with one seed."""
    result = assess(
        jax.random.key(seed), *halves, mask, voxel_size=case.voxel_size, settings=settings
    )
    curves = result.curves
    box = case.box * case.voxel_size
    above = np.flatnonzero(curves.corrected[1:] < 0.143)
    shell = int(above[0]) if len(above) else case.box // 2
    return {
        # The last shell above, as RELION tells it.
        "resolution_angstrom": box / shell,
        "b_factor_angstrom2": -(result.guinier.b_factor or 0.0),
        "randomised_from_angstrom": box / (curves.randomised_from or np.inf),
        **{name: getattr(curves, name) for name in CURVES},
        "map": sharpened_map(result),
    }


def compare(
    name: str, case: Case, data: Path, work: Path, seeds: int, settings: QualitySettings
) -> dict[str, Any]:
    """Both sides on one pair of half-maps."""
    folder = work / name.split(",")[0]
    folder.mkdir(parents=True, exist_ok=True)
    truth = true_map(read_entry(data, case.entry, work), case)
    halves = half_maps(truth, case.noise, seed=0)
    mask = automatic_mask(truth, voxel_size=case.voxel_size)
    for file, values in (("half1", halves[0]), ("half2", halves[1]), ("mask", mask)):
        size, origin = np.full(3, case.voxel_size), np.zeros(3)
        write_map(folder / f"{file}.mrc", Map(values, size, origin))
    theirs = [relion(folder, case, seed, settings.guinier_from) for seed in range(1, seeds + 1)]
    own = [ours(halves, mask, case, seed, settings) for seed in range(1, seeds + 1)]
    report: dict[str, Any] = {"case": case._asdict(), "mask_percent": 100 * float(mask.mean())}
    for side, runs in (("relion", theirs), ("ours", own)):
        for key in GENERAL:
            values = [run[key] for run in runs]
            report[f"{key}_{side}"] = round(float(np.mean(values)), 3)
            report[f"{key}_{side}_spread"] = round(float(np.ptp(values)), 3)
    for curve in CURVES:
        both = [np.array([run[curve] for run in runs])[:, 1:] for runs in (theirs, own)]
        # Noise of one seed beside that of the difference of the two means.
        deviation = np.sqrt(sum(side.var(axis=0, ddof=1) for side in both) / 2)
        difference = np.abs(both[0].mean(axis=0) - both[1].mean(axis=0))
        report[f"{curve}_largest_difference"] = round(float(difference.max()), 5)
        report[f"{curve}_at_shell"] = int(difference.argmax()) + 1
        report[f"{curve}_deviation_of_one_seed"] = round(float(deviation.max()), 5)
    maps = [theirs[0]["map"].ravel(), own[0]["map"].ravel()]
    report["sharpened_maps_correlation"] = round(float(np.corrcoef(*maps)[0, 1]), 6)
    report["b_factor_put_in_angstrom2"] = -case.b_factor
    return report


def main() -> None:
    """Compare all cases and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    settings = QualitySettings()
    found = {
        name: compare(name, case, arguments.data, arguments.work, arguments.seeds, settings)
        for name, case in CASES.items()
    }
    text = json.dumps({"seeds": arguments.seeds, "cases": found}, indent=2, ensure_ascii=False)
    print(text)
    if arguments.results:
        arguments.results.write_text(text + "\n")


if __name__ == "__main__":
    main()
