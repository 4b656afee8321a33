"""Every particle table to the other program and back, and to an archive and back.

python experiments/conversion/round_trip.py --data DATA --results expected.json
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from cryojax_graph.io import InputError, read_particles, with_columns, write_particles
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.poses import rotation_from_euler

CTF = (
    *("defocus_u", "defocus_v", "phase_shift_degrees", "b_factor", "voltage_kv"),
    *("spherical_aberration_mm", "amplitude_contrast", "pixel_size"),
)
# Tables that do not state the box, which .cs files must; the value itself plays no part.
BOX = 320


def angle_degrees(first: ParticleTable, second: ParticleTable) -> float:
    a, b = (rotation_from_euler(t.euler_degrees) for t in (first, second))
    # By the chord: exact near zero, where the arc cosine of the trace fails.
    chord = np.linalg.norm(a - b, axis=(1, 2)) / np.sqrt(8)
    return float(np.rad2deg(2 * np.arcsin(np.clip(chord, 0, 1))).max())


def values_of(first: ParticleTable, second: ParticleTable) -> dict[str, float]:
    """Largest differences of what two tables say of the same particles."""
    found = {}
    if first.has("poses"):
        found["pose_degrees"] = angle_degrees(first, second)
        found["shift_angstrom"] = float(np.abs(first.shift_angstrom - second.shift_angstrom).max())
    pairs = [(getattr(first, name), getattr(second, name)) for name in CTF]
    relative = [np.abs(a - b).max() / max(np.abs(a).max(), 1e-9) for a, b in pairs if a is not None]
    found["ctf_relative"] = float(max(relative))
    turned = first.defocus_angle_degrees
    if turned is not None:
        found["defocus_angle_degrees"] = float(np.abs(turned - second.defocus_angle_degrees).max())
    for name in ("half_set", "optics_group", "class_number"):
        a, b = getattr(first, name), getattr(second, name)
        if a is not None and b is not None:
            found[f"{name}_different"] = int((a != b).sum())
    return {name: float(f"{value:.2g}") for name, value in found.items()}


def columns_of(first: ParticleTable, second: ParticleTable) -> dict[str, object]:
    """What became of the columns themselves."""
    pairs = [(first.columns, second.columns)]
    if first.optics and second.optics:
        pairs.append((first.optics.columns, second.optics.columns))
    changed = [
        name
        for old, new in pairs
        for name, values in old.items()
        if name in new
        and (values.dtype != new[name].dtype or not np.array_equal(values, new[name]))
    ]
    return {
        "columns": sum(len(old) for old, _ in pairs),
        "lost": sum(name not in new for old, new in pairs for name in old),
        "gained": sum(name not in old for old, new in pairs for name in new),
        "not_identical": changed,
        "order_kept": list(first.columns) == list(second.columns),
        "tables_kept": (first.table_name, bool(first.optics), list(first.other_tables))
        == (second.table_name, bool(second.optics), list(second.other_tables)),
    }


def round_trip(path: Path, folder: Path) -> dict[str, object]:
    table = read_particles(path)
    stated = table.box is not None
    if not stated:
        table = with_columns(table, {"box": np.full(len(table), BOX)})
    result: dict[str, object] = {"particles": len(table), "states_box": stated}
    for way in ("star" if table.kind == "cs" else "cs", "npz"):
        there, back = folder / f"there.{way}", folder / f"back.{table.kind}"
        write_particles(table, there)
        crossed = read_particles(there)
        write_particles(crossed, back)
        again = read_particles(back)
        result[f"{table.kind} to {way}"] = values_of(table, crossed)
        result[f"{table.kind} to {way} to {table.kind}"] = {
            **values_of(table, again),
            **columns_of(table, again),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    root = arguments.data / "particles"
    measured: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted([*root.rglob("*.star"), *root.rglob("*.cs")]):
            try:
                result: dict[str, object] = round_trip(path, Path(folder))
            except InputError as error:
                result = {"refused": f"{error.place}: {error.cause}"}
            measured[str(path.relative_to(root))] = result
            print(path.name, json.dumps(result))
    if arguments.results:
        known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
        known["round_trip"] = measured
        arguments.results.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
