"""Makes the package's demo data, ``cryojax_graph/data/adk_transition.npz``, from MDAnalysisTests.

The DIMS trajectory of adenylate kinase (Beckstein et al. 2009), 98 frames from closed to open, is
superposed on its first frame by the C-alpha atoms and centred on the centroid of these. Kept are
all heavy atoms of the first frame and, for the motion, N, CA, C and O of every residue: they carry
the other atoms of their residue. Positions are multiples of 0.02 Å, so no coordinate is off by more
than 0.01 Å, and a step from one frame to the next fits into eight bits.

    python -m venv /tmp/mdanalysis && /tmp/mdanalysis/bin/pip install MDAnalysis MDAnalysisTests
    /tmp/mdanalysis/bin/python experiments/data/adk_demo.py
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

UNIT = 0.02
MOVING = ("N", "CA", "C", "O")
# CHARMM's names of a protonation state and of the two oxygens at the end of a chain.
RESIDUE_NAMES = {"HSD": "HIS"}
ATOM_NAMES = {"OT1": "O", "OT2": "OXT"}
LARGEST = 200_000


def heavy_atoms() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions (98, 1656, 3) in Å, and name, residue name and residue number of each atom."""
    import MDAnalysis
    from MDAnalysisTests.datafiles import DCD, PSF

    atoms = MDAnalysis.Universe(PSF, DCD).select_atoms("protein and not name H*")
    positions = np.stack([atoms.positions.astype(float) for _ in atoms.universe.trajectory])
    names = np.array([ATOM_NAMES.get(name, name) for name in atoms.names])
    residue_names = np.array([RESIDUE_NAMES.get(name, name) for name in atoms.resnames])
    return positions, names, residue_names, atoms.resids.astype(np.int16)


def superpose(frames: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Frames with the C-alpha atoms of each on those of the first (Kabsch 1976)."""
    frames = frames - frames[:, alpha].mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.einsum("fai,aj->fij", frames[:, alpha], frames[0, alpha]))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return frames @ (left @ right)


def main() -> None:
    folder = Path(__file__).parents[2] / "cryojax_graph" / "data"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=folder / "adk_transition.npz")
    output = parser.parse_args().output
    positions, names, residue_names, residue_numbers = heavy_atoms()
    grid = np.rint(superpose(positions, names == "CA") / UNIT).astype(np.int16)
    steps = np.diff(grid[:, np.isin(names, MOVING)], axis=0)
    assert np.abs(steps).max() <= np.iinfo(np.int8).max
    np.savez_compressed(
        output,
        unit_angstrom=np.float32(UNIT),
        first_frame=grid[0],
        backbone_steps=steps.astype(np.int8),
        atom_name=names,
        residue_name=residue_names,
        residue_number=residue_numbers,
        chain=np.full(len(names), "A"),
    )
    contents = output.read_bytes()
    assert len(contents) <= LARGEST, f"{len(contents)} bytes"
    print(f"{output}: {len(contents):,} bytes, SHA-256 {hashlib.sha256(contents).hexdigest()}")


if __name__ == "__main__":
    main()
