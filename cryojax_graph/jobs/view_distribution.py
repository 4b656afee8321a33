"""From where particles are seen, for viewers of maps."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import cell_directions, views_per_cell
from cryojax_graph.io import write_views_bild
from cryojax_graph.jobs.job import Job

VIEWS_FILE = "views.bild"
# HEALPix order of the rods: 768 directions, 7° apart.
_ORDER = 3


def write_views(
    rotation: Float[np.ndarray, "views 3 3"], *, box: int, voxel_size: float, job: Job
) -> None:
    """Write the distribution of viewing directions around the map of a job.

    Args:
        rotation: of all views, object to image coordinates.
        box: edge of the map in voxels; its first voxel lies at the origin.
        voxel_size: Å.
        job: in whose folder.
    """
    with job.output(VIEWS_FILE, "how often the particle was seen from each direction") as path:
        write_views_bild(
            path,
            cell_directions(_ORDER),
            views_per_cell(rotation[:, 2], _ORDER),
            centre=np.full(3, box // 2 * voxel_size),
            radius=0.5 * box * voxel_size,
        )
