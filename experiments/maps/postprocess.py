"""Curves, resolution, B-factor and sharpened map beside ``relion_postprocess`` (RELION 3.1.3).

Both get the same half-maps and the same soft mask. Random phases differ by seed, so both sides
run with several and their means are compared; the spread of one seed is told beside.

    python experiments/maps/postprocess.py --data DATA --work WORK --results FILE
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gemmi import cif
from half_maps import CASES, Case, half_maps, true_map

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry

from cryojax_graph.forward import automatic_mask
from cryojax_graph.io import Map, read_map, write_map
from cryojax_graph.jobs.map_quality import QualitySettings, assess, sharpened_map
from cryojax_graph.metrics import half_spectrum, spectral_radius

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


def relion(folder: Path, case: Case, seed: int, options: dict[str, float]) -> dict[str, Any]:
    """What relion_postprocess says with one seed."""
    root = folder / f"relion_{seed}"
    values = {"o": root.name, "angpix": case.voxel_size, "random_seed": seed, **options}
    named = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    maps = ["--i", "half1.mrc", "--i2", "half2.mrc", "--mask", "mask.mrc"]
    if "adhoc_bfac" not in options:
        named.append("--auto_bfac")
    # The exit status speaks of the PDF, which needs Ghostscript; the STAR file tells what counts.
    subprocess.run(["relion_postprocess", *maps, *named], cwd=folder, capture_output=True)
    document = cif.read(str(root.with_suffix(".star")))
    general, table = document.find_block("general"), document.find_block("fsc")
    figures = {name: float(general.find_value(f"_rln{key}")) for name, key in GENERAL.items()}
    curves = {
        name: np.array([float(v) for v in table.find_loop(f"_rln{key}")])
        for name, key in CURVES.items()
    }
    return {**figures, **curves, "map": read_map(root.with_suffix(".mrc")).values}


def equally_weighted(halves: np.ndarray) -> np.ndarray:
    """Unmasked curve that counts each coefficient of a half spectrum once, as RELION does.

    Those of the plane kx = 0 are there with their mirror images, so they weigh double.
    """
    first, second = (half_spectrum(half).ravel() for half in halves)
    shells = len(halves[0]) // 2 + 1
    shell = np.rint(spectral_radius(len(halves[0]))).astype(int).ravel()

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, values, minlength=shells)[:shells]

    powers = [summed(abs(f) ** 2) for f in (first, second)]
    return summed((first * second.conj()).real) / np.sqrt(powers[0] * powers[1])


def ours(
    halves: np.ndarray, mask: np.ndarray, case: Case, seed: int, settings: QualitySettings
) -> dict[str, Any]:
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
        "resolution": result.resolution,
        "fitted_to": result.resolution * 0.9999,
        "b_factor_angstrom2": -(result.b_factor or 0.0),
        "randomised_from_angstrom": box / (curves.randomised_from or np.inf),
        **{name: getattr(curves, name) for name in CURVES},
        "map": sharpened_map(result),
    }


def differences(
    name: str, theirs: list[np.ndarray], own: list[np.ndarray]
) -> dict[str, float | int]:
    """How far the means of one curve are apart, beside what the seeds leave open."""
    both = [np.stack(side)[:, 1:] for side in (theirs, own)]
    means = [side.mean(axis=0) for side in both]
    apart = np.abs(means[0] - means[1])
    variance = sum(side.var(axis=0, ddof=1) for side in both)
    error = np.sqrt(variance / len(own))
    found: dict[str, float | int] = {
        f"{name}_largest_difference": round(float(apart.max()), 5),
        f"{name}_largest_at_shell": int(apart.argmax()) + 1,
        f"{name}_rms_difference": round(float(np.sqrt(np.mean(apart**2))), 5),
    }
    if error.max() > 1e-6:
        found[f"{name}_deviation_of_one_seed"] = round(float(np.sqrt(variance / 2).max()), 5)
    if name == "corrected":
        # Shells that nothing random reaches have no error to be measured in.
        some = error > 1e-3
        chi = np.sqrt(np.mean((apart[some] / error[some]) ** 2))
        found["corrected_rms_difference_in_standard_errors"] = round(float(chi), 2)
        for side, mean in zip(("relion", "ours"), means, strict=True):
            below = np.flatnonzero(mean < 0.143)
            found[f"last_shell_above_0143_{side}"] = int(below[0]) if len(below) else len(mean)
    return found


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
    own = [ours(halves, mask, case, seed, settings) for seed in range(1, seeds + 1)]
    theirs = []
    for seed, run in enumerate(own, 1):
        # By itself RELION fits up to where its curve first falls to 0, far into the noise.
        fit = {"autob_lowres": settings.guinier_from, "autob_highres": run["fitted_to"]}
        theirs.append(relion(folder, case, seed, fit))
    own_map = {"adhoc_bfac": own[0]["b_factor_angstrom2"], "low_pass": own[0]["resolution"]}
    same_factor = relion(folder, case, 1, own_map)["map"]
    report: dict[str, Any] = {
        "case": case._asdict(),
        "mask_percent": round(100 * float(mask.mean()), 2),
    }
    for side, runs in (("relion", theirs), ("ours", own)):
        for key in GENERAL:
            values = [run[key] for run in runs]
            report[f"{key}_{side}"] = round(float(np.mean(values)), 3)
            report[f"{key}_{side}_spread"] = round(float(np.ptp(values)), 3)
    for curve in CURVES:
        report |= differences(curve, *([run[curve] for run in runs] for runs in (theirs, own)))
    once = np.abs(equally_weighted(halves) - theirs[0]["unmasked"])
    report["unmasked_largest_difference_with_relions_weights"] = float(f"{once.max():.2g}")
    maps = [same_factor.ravel(), own[0]["map"].ravel()]
    report["sharpened_maps_correlation"] = round(float(np.corrcoef(*maps)[0, 1]), 6)
    report["b_factor_put_in_angstrom2"] = -case.b_factor
    return report


def main() -> None:
    """Compare all cases and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--seeds", type=int, default=32)
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
