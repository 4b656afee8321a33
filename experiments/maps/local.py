"""Local resolution beside ``relion_postprocess --locres`` (RELION 3.1.3).

Half-maps of a structure whose noise grows along x, so that resolution differs from place to place,
and the same with even noise, where all that differs is chance. One mask and sharpening for both.

    python experiments/maps/local.py --data DATA --work WORK --results FILE
"""

import argparse
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from half_maps import CASES, Case, half_maps, true_map

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record

from cryojax_graph.io import Map, read_map, write_map
from cryojax_graph.jobs.map_quality import find_mask, local_resolution

CASE = "lysozyme, 1.0 Å voxels"


def relion(folder: Path, case: Case) -> np.ndarray:
    """RELION's map of local resolution, Å."""
    command = ["relion_postprocess", "--i", "half1.mrc", "--i2", "half2.mrc", "--o", "relion"]
    command += ["--angpix", str(case.voxel_size), "--mask", "mask.mrc", "--locres"]
    subprocess.run([*command, "--adhoc_bfac", "-30"], cwd=folder, capture_output=True)
    return read_map(folder / "relion_locres.mrc").values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    case, rows = CASES[CASE], []
    arguments.work.mkdir(parents=True, exist_ok=True)
    truth = true_map(read_entry(arguments.data, case.entry, arguments.work), case)
    along = np.linspace(0, 1, case.box, dtype=np.float32)
    for name, growth in (("grows along x", 0.3 + 4 * along**2), ("even", np.ones_like(along))):
        folder = arguments.work / name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        noise = half_maps(np.zeros_like(truth), case.noise, 0) * growth
        first, second = (truth + noise).astype(np.float32)
        mask = find_mask(first, second, voxel_size=case.voxel_size)
        files = {"half1": first, "half2": second, "mask": mask}
        for stem, values in files.items():
            write_map(folder / f"{stem}.mrc", Map(values, np.full(3, case.voxel_size), np.zeros(3)))
        theirs = relion(folder, case)
        ours = local_resolution(
            jax.random.key(0), first, second, mask, voxel_size=case.voxel_size
        ).values
        inside = mask > 0.5
        rows.append(
            {
                "noise": name,
                "correlation": round(float(np.corrcoef(ours[inside], theirs[inside])[0, 1]), 3),
                "ratio_median": round(float(np.median(ours[inside] / theirs[inside])), 3),
                "range_ours_angstrom": np.percentile(ours[inside], [2, 98]).round(2).tolist(),
                "range_relion_angstrom": np.percentile(theirs[inside], [2, 98]).round(2).tolist(),
            }
        )
    record(arguments.results, "local", rows)


if __name__ == "__main__":
    main()
