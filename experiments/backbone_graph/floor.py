"""What the images can tell at best: a linear estimate that knows how the molecule moves.

Mean and covariance of the true frames are given (no fit knows them), poses, CTFs and contrast too;
the noise-free image is taken as linear in the principal components. Then the posterior of the
components is a Gaussian in closed form, and its spread is the least error that a linear estimate
can have. For motions too large to be linear (``adk_dims``, ``fab_elbow``) it means nothing.

    python experiments/backbone_graph/floor.py --data DATA --results expected_floor.json
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float64
from run import BOX, PIXEL_SIZES

from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.drawing import noise_free_renderer
from cryojax_graph.jobs.simulate.draws import draw_images, parameters_at, uniform_weights
from cryojax_graph.jobs.simulate.molecule import Molecule, read_molecule
from cryojax_graph.training.mesh import data_mesh

SETS = ("psi_domain", "barstar", "gs_b2ar", "spike_trimer")
SNRS = (1.0, 0.1, 0.01)
MOST_COMPONENTS = 60
# Of one standard deviation of a component: what the slope of an image is taken over.
STEP = 0.5


def components(
    molecule: Molecule,
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "components n 3"]]:
    """Mean of the frames, and what one standard deviation of each principal component adds."""
    frames = molecule.positions.astype(np.float64)
    mean = frames.mean(axis=0)
    spread = (frames - mean).reshape(len(frames), -1) / np.sqrt(len(frames))
    _, sizes, directions = np.linalg.svd(spread, full_matrices=False)
    kept = min(MOST_COMPONENTS, int(np.sum(sizes > 1e-3 * sizes[0])))
    return mean, (sizes[:kept, None] * directions[:kept]).reshape(kept, *mean.shape)


def floors(name: str, data: Path, views: int) -> dict[str, float | str]:
    """Root mean square error over the C-alpha atoms, in frame, Å, by SNR."""
    config = SimulateConfig(
        input=str(data / f"trajectories/{name}.npz"),
        template=str(data / f"trajectories/{name}_template.pdb"),
        images=views,
        box=BOX,
        pixel_size=PIXEL_SIZES[name],
    )
    molecule = read_molecule(config)
    mean, modes = components(molecule)
    moved = np.concatenate([mean[None], mean + STEP * modes, mean - STEP * modes])
    draw = noise_free_renderer(
        molecule._replace(positions=moved.astype(np.float32)), config, data_mesh()
    )
    parameters = draw_images(jax.random.key(0), config, uniform_weights(len(moved)))
    information, power = [], []
    for image in range(views):
        same = parameters_at(parameters, np.full(len(moved), image))
        drawn = draw(same._replace(frame_index=np.arange(len(moved)))).astype(np.float64)
        slopes = (drawn[1 : 1 + len(modes)] - drawn[1 + len(modes) :]).reshape(len(modes), -1)
        slopes /= 2 * STEP
        information.append(slopes @ slopes.T)
        power.append(drawn[0].var())
    alpha = modes[:, molecule.alpha].reshape(len(modes), -1)
    overlap = alpha @ alpha.T / len(molecule.alpha)
    noise = np.mean(power) / np.asarray(SNRS)
    errors = [
        np.mean([_error(gained / variance, overlap) for gained in information])
        for variance in noise
    ]
    return {"set": name, "constant": round(float(np.sqrt(np.trace(overlap))), 3)} | {
        f"snr_{snr:g}": round(float(error), 3) for snr, error in zip(SNRS, errors, strict=True)
    }


def _error(
    information: Float64[np.ndarray, "components components"],
    overlap: Float64[np.ndarray, "components components"],
) -> float:
    posterior = np.linalg.inv(np.eye(len(information)) + information)
    return float(np.sqrt(np.sum(posterior * overlap)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    rows = [floors(name, arguments.data, arguments.views) for name in arguments.sets]
    print(json.dumps(rows, indent=1))
    if arguments.results:
        arguments.results.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
