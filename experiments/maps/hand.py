"""The hand of every experimental map, and of its mirror image, by the turn of its helices.

The method was set up on maps of models; these maps were looked at once it was done. All are
deposited as the right hand.

    python experiments/maps/hand.py --data DATA --results RESULTS
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import record

from cryojax_graph.io import InputError, read_map
from cryojax_graph.metrics import handedness


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    rows = []
    for path in sorted((arguments.data / "maps").glob("*/map*")):
        name = "/".join(path.parts[-2:])
        try:
            found = read_map(path)
        except InputError as error:
            rows.append({"map": name, "left_out": error.cause})
            continue
        if np.ptp(found.voxel_size) > 0.01:
            rows.append({"map": name, "left_out": "voxels are not cubes"})
            continue
        voxel = float(found.voxel_size[0])
        values = np.asarray(found.values, np.float32)
        hand, mirrored = (
            handedness(np.ascontiguousarray(v), voxel_size=voxel) for v in (values, values[::-1])
        )
        row = {"map": name, "rods": hand.rods}
        if hand.rods > 1:
            row |= {
                "excess": round(hand.excess, 3),
                "error": round(hand.error, 3),
                "told": hand.told,
                "excess_of_mirror_image": round(mirrored.excess, 3),
            }
        rows.append(row)
    record(arguments.results, "hand", rows)


if __name__ == "__main__":
    main()
