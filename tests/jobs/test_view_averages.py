"""Averages of images of one view."""

from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward import CTF, gaussian_image
from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.geometry.orientations import cell_directions
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.view_averages import ViewAverages, in_plane_angle, view_averages
from cryojax_graph.poses.reference import Reference, reference_of
from cryojax_graph.poses.refine import Pose

BOX, PIXEL, WIDTH = 32, 3.0, 4.0
POSITIONS = np.array([[20.0, 5, -3], [-12, 14, 8], [0, -17, 15], [-9, -4, -20], [6, 9, 17]])
MASSES = np.array([3.0, 2, 1.5, 1, 2.5])
# Images of the first, the second and the third of some directions.
SHOWN = np.repeat([5, 17, 30], (40, 25, 9))


class Stack:
    """Images in memory, read as those of a file are."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return self._images[numbers]


@pytest.fixture(scope="module")
def poses() -> Pose:
    """Some degrees about three directions, in any in-plane angle, off the middle."""
    random = np.random.default_rng(1)
    x, y, z = cell_directions(1)[SHOWN].T
    view = rotation_from_euler(
        np.degrees([np.arctan2(y, x), np.arccos(z), random.uniform(0, 2 * np.pi, len(x))]).T
    )
    near = Rotation.from_rotvec(random.normal(size=(len(x), 3)) * 0.03).as_matrix()
    shift = random.uniform(-12, 12, (len(x), 2))
    return Pose(jnp.asarray(near @ view), jnp.asarray(shift), jnp.ones(len(x)))


@pytest.fixture(scope="module")
def reference() -> Reference:
    density = density_of_gaussians(
        jnp.asarray(POSITIONS), jnp.asarray(MASSES), jnp.full(5, WIDTH), box=BOX, voxel_size=PIXEL
    )
    return reference_of(density, voxel_size=PIXEL, field=BOX * PIXEL, pixel_size=PIXEL)


@pytest.fixture(scope="module")
def particles(poses) -> ParticleSet:
    defocus = jnp.linspace(8e3, 2e4, len(SHOWN))
    constant = (jnp.full(len(SHOWN), value) for value in (0.6, 300.0, 2.7, 0.1, 0.0, 0.0))
    ctf = CTF(defocus, defocus * 0.97, *constant)
    atoms = jnp.asarray(POSITIONS), jnp.asarray(MASSES), jnp.full(5, WIDTH)

    @jax.jit
    @jax.vmap
    def images(pose, ctf):
        return gaussian_image(
            *atoms, pose.rotation, pose.shift, ctf, box=BOX, pixel_size=PIXEL
        )  # fmt: skip

    stack = Stack(np.asarray(images(poses, ctf), np.float32))
    host = CTF(*map(np.asarray, ctf))
    return ParticleSet(cast("Any", None), cast("Any", stack), host, PIXEL, BOX, Path())


def likeness(averages: ViewAverages) -> np.ndarray:
    pairs = zip(averages.images, averages.projections, strict=True)
    return np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])


def test_averages_are_what_the_reference_looks_like(particles, poses, reference):
    averages = view_averages(particles, poses, reference, radius=12)
    assert averages.counts.tolist() == [40, 25, 9]
    assert likeness(averages).min() > 0.99
    # Turned alike and centred, the images of a view add up: their mean is as strong as one of them.
    single = view_averages(
        particles._replace(images=cast("Any", Stack(particles.images.read(np.zeros(74, int))))),
        Pose(*(values[np.zeros(74, int)] for values in poses)),
        reference,
        radius=12,
    )
    assert averages.images[0].std() > 0.6 * single.images[0].std()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda pose: pose._replace(shift=-pose.shift),
        lambda pose: pose._replace(rotation=jnp.swapaxes(pose.rotation, 1, 2)),
    ],
)
def test_wrong_poses_show(particles, poses, reference, wrong):
    assert likeness(view_averages(particles, wrong(poses), reference, radius=12)).max() < 0.8


def test_frequencies_beyond_the_limit_are_not_shown(particles, poses, reference):
    power = np.abs(np.fft.rfft2(view_averages(particles, poses, reference, radius=4).projections))
    radius = np.hypot(np.fft.fftfreq(BOX, 1 / BOX)[:, None], np.arange(BOX // 2 + 1))
    assert power[:, radius > 7].max() < 0.05 * power.max()


def test_the_in_plane_angle_is_that_of_the_image():
    direction = cell_directions(1)[[3, 20, 41]]
    x, y, z = direction.T
    angle = np.array([0.4, -2.0, 3.0])
    euler = np.degrees([np.arctan2(y, x), np.arccos(z), np.zeros(3)]).T
    about_z = Rotation.from_rotvec(angle[:, None] * [0, 0, 1]).as_matrix()
    np.testing.assert_allclose(
        in_plane_angle(about_z @ rotation_from_euler(euler), direction), angle, atol=1e-9
    )
