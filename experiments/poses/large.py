"""Poses of large particles from images without shifts, beside the floor and as signal grows.

The spike trimer (91 px of 3 Å, with the CTF of the published run of ellipsoidal support lifting:
200 kV, 1.5 µm) and the large subunit of a ribosome (128 px of 2.5 Å, 300 kV, 1.5 µm): every heavy
atom a Gaussian of 1.5 Å (a B-factor of 178 Å²) with its atomic number as mass, white noise. Errors
are angles to the true rotation in the frame of the map, no alignment before. E is SNR times pixels.
What is done is not done again.

    python experiments/poses/large.py --data DATA --work WORK --results expected.json
"""

import argparse
import json
from pathlib import Path

import gemmi
import jax.numpy as jnp
import numpy as np
from known_shifts import Scene, measure
from molecules import LARGE_SUBUNIT, SPIKE, read_files, record

from cryojax_graph.forward import CTF
from cryojax_graph.poses.search import plan_search

WIDTH = 1.5
ENERGIES = (30, 60, 120, 250, 1000, 3000)
BAR = 1 / 16
MOLECULES = {
    "spike": (SPIKE, 91, 3.0, CTF(15_000.0, 15_000.0, voltage=200.0)),
    "large_subunit": (LARGE_SUBUNIT, 128, 2.5, CTF(15_000.0, 15_000.0)),
}


def scene_of(data: Path, name: str) -> Scene:
    """The molecule as Gaussians."""
    files, box, pixel, ctf = MOLECULES[name]
    atoms = read_files(data, files)
    elements, kind = np.unique(atoms.element.astype(str), return_inverse=True)
    numbers = np.array([gemmi.Element(element).atomic_number for element in elements])
    masses = jnp.asarray(numbers[kind], jnp.float32)
    positions = jnp.asarray(atoms.positions, jnp.float32)
    return Scene((positions, masses, jnp.full(len(masses), WIDTH)), box, pixel, ctf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--molecules", nargs="*", default=list(MOLECULES))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--images-of-bar", type=int, default=1000)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in arguments.molecules:
        scene = scene_of(arguments.data, name)
        pixels, field = scene.box**2, scene.box * scene.pixel_size
        gyration = float(jnp.sqrt(jnp.mean(jnp.sum(scene.gaussians[0] ** 2, axis=1))))
        config = plan_search(field=field, radius=np.sqrt(5 / 3) * gyration, finest=scene.box // 2)
        plan = [(BAR, arguments.images_of_bar)]
        plan += [(energy / pixels, arguments.images) for energy in ENERGIES]
        for snr, images in plan:
            done = arguments.work / f"{name}_{snr:.5f}_{images}.json"
            if not done.exists():
                figures = measure(scene, snr, images, config)
                about = {"molecule": name, "atoms": len(scene.gaussians[0]), "order": config.order}
                done.write_text(json.dumps({**about, **figures}))
            rows.append(json.loads(done.read_text()))
            print(json.dumps(rows[-1]), flush=True)
    record(arguments.results, "large", rows)


if __name__ == "__main__":
    main()
