"""Seconds and memory of a table of a million particles, through the command line.

python experiments/conversion/large.py --work WORK --results expected.json
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cryojax_graph.io.star import StarTable, write_star

TEXT = np.dtypes.StringDType()
PER_STACK = 250


def columns(count: int) -> dict[str, np.ndarray]:
    """The columns of a refinement of RELION 4, with its digits."""
    rng = np.random.default_rng(0)

    def decimals(low: float, high: float) -> np.ndarray:
        return np.array([f"{value:.6f}" for value in rng.uniform(low, high, count)], TEXT)

    stack = np.arange(count) // PER_STACK
    image = np.arange(count) % PER_STACK + 1
    names = [f"FoilHole_{s:08d}_Data_{s % 9}_Fractions" for s in range(count // PER_STACK + 1)]
    pairs = list(zip(image.tolist(), stack.tolist(), strict=True))
    micrographs = [f"MotionCorr/job003/Movies/{names[s]}.mrc" for _, s in pairs]
    images = [f"{i:06d}@Extract/job012/Movies/{names[s]}.mrcs" for i, s in pairs]
    return {
        "rlnCoordinateX": decimals(0, 4000),
        "rlnCoordinateY": decimals(0, 4000),
        "rlnAutopickFigureOfMerit": decimals(0, 10),
        "rlnClassNumber": rng.integers(1, 5, count).astype(str).astype(TEXT),
        "rlnImageName": np.array(images, TEXT),
        "rlnMicrographName": np.array(micrographs, TEXT),
        "rlnOpticsGroup": (stack % 4 + 1).astype(str).astype(TEXT),
        "rlnCtfMaxResolution": decimals(3, 6),
        "rlnDefocusU": decimals(8000, 25000),
        "rlnDefocusV": decimals(8000, 25000),
        "rlnDefocusAngle": decimals(-90, 90),
        "rlnAngleRot": decimals(-180, 180),
        "rlnAngleTilt": decimals(0, 180),
        "rlnAnglePsi": decimals(-180, 180),
        "rlnOriginXAngst": decimals(-20, 20),
        "rlnOriginYAngst": decimals(-20, 20),
        "rlnNormCorrection": decimals(0.5, 1.5),
        "rlnMaxValueProbDistribution": decimals(0, 1),
        "rlnRandomSubset": rng.integers(1, 3, count).astype(str).astype(TEXT),
        "rlnGroupNumber": (stack + 1).astype(str).astype(TEXT),
    }


def optics() -> StarTable:
    values = {
        "rlnOpticsGroup": "1234",
        "rlnOpticsGroupName": [f"opticsGroup{n}" for n in range(1, 5)],
        "rlnVoltage": ["300.000000"] * 4,
        "rlnSphericalAberration": ["2.700000"] * 4,
        "rlnAmplitudeContrast": ["0.100000"] * 4,
        "rlnImagePixelSize": ["1.035000"] * 4,
        "rlnImageSize": ["256"] * 4,
        "rlnImageDimensionality": "2222",
    }
    return StarTable({label: np.array(list(texts), TEXT) for label, texts in values.items()})


def converted(source: Path, output: Path) -> dict[str, float]:
    """Seconds and peak memory of one conversion in a process of its own."""
    command = [sys.executable, "-m", "cryojax_graph", "convert", str(source), "-o", str(output)]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--overwrite"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{source} was not converted")
    return {
        "wall_seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "input_bytes": source.stat().st_size,
        "output_bytes": output.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    first = arguments.work / "million.star"
    write_star(
        first,
        {"optics": optics(), "particles": StarTable(columns(arguments.rows))},
        comment="version 30001",
    )
    measured = {}
    for way in ("star cs", "cs star", "star npz"):
        source, target = way.split()
        path = first if source == "star" else arguments.work / f"million.{source}"
        output = arguments.work / f"{'back' if way == 'cs star' else 'million'}.{target}"
        measured[way.replace(" ", " to ")] = converted(path, output)
    print(json.dumps(measured, indent=2))
    if arguments.results:
        known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
        known["large"] = {"rows": arguments.rows, **measured}
        arguments.results.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
