"""A molecule that opens like a hinge, and settings of ``flex`` for images of it."""

from pathlib import Path

import numpy as np

from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.jobs.flex import FlexConfig, FlexOutputs

FRAMES = 9


def hinge() -> tuple[AtomTable, np.ndarray]:
    """Two helices of 16 residues joined at an angle that opens from 60 to 90 degrees."""
    step = np.arange(16)
    angle = np.deg2rad(100.0) * step
    rod = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * step + 3.3], axis=1)
    places = {"N": (-1.1, 0.7, -0.6), "CA": (0, 0, 0), "C": (0.9, 0.9, 0.8), "O": (1.6, 1.9, 0.5)}
    names, offsets = list(places), np.array(list(places.values()))

    def arm(tilt: float) -> np.ndarray:
        c, s = np.cos(tilt), np.sin(tilt)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return ((rod[:, None] + offsets).reshape(-1, 3)) @ turn.T

    frames = []
    for opening in np.deg2rad(np.linspace(60, 90, FRAMES)):
        frames.append(
            np.concatenate(
                [arm(-opening / 2).reshape(16, -1, 3)[::-1].reshape(-1, 3), arm(opening / 2)]
            )
        )
    positions = np.array(frames, np.float32)
    count = positions.shape[1]
    residue = np.repeat(np.arange(1, 33), len(names)).astype(np.int32)
    atoms = AtomTable(
        positions=positions[0],
        element=np.array([name[0] for name in names] * 32),
        name=np.array(names * 32),
        residue_name=np.full(count, "ALA"),
        residue_number=residue,
        insertion_code=np.full(count, "", "U1"),
        chain=np.full(count, "A"),
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )
    return atoms, positions


def settings(images: Path, **changes) -> FlexConfig:
    given = {
        "particles": str(images / "particles.star"),
        "template": str(images / "reference.cif"),
        "preset": "small",
        "epochs": 40,
        "outputs": FlexOutputs(points=5, subsets=3),
        "truth": str(images / "truth.npz"),
    }
    return FlexConfig(**(given | changes))
