"""Settings of ``query``."""

from dataclasses import dataclass

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.locate.config import RecipeKind


@dataclass(frozen=True)
class QueryConfig:
    """Settings of the verb.

    Args:
        source: A field.npz, the folder of a finished locate job, or a map.
        points: Where to ask, x, y, z in Å: .csv with columns x, y and z, .npy, .npz with an array
            points or position, or the atoms of a PDB or mmCIF model. Without it a map is written.
        hessian: Tell second derivatives too.
        like: Map whose grid the written map shall have.
        voxel: Edge of the voxels of the written map, Å; that of the source when not given.
        field: How density between voxels is known, in place of what is stored; positive for a map.
            Stored networks are asked as they are.
    """

    source: tyro.conf.Positional[str]
    points: str | None = None
    hessian: bool = False
    like: str | None = None
    voxel: float | None = None
    field: RecipeKind | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself or means nothing."""
        if self.voxel is not None and not 0 < self.voxel < float("inf"):
            cause = f"{self.voxel} is not above 0"
            raise InputError("command line", "--voxel", cause, "choose another value")
        given = [name for name in ("points", "like", "voxel") if getattr(self, name) is not None]
        if len(given) > 1:
            cause = f"it is given beside --{given[0]}"
            raise InputError("command line", f"--{given[1]}", cause, "give one of the two")
        if self.hessian and self.points is None:
            cause = "it is given without --points"
            raise InputError("command line", "--hessian", cause, "name a file of points")
