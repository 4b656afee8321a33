"""The pictures: noise-free images of a molecule, and noise."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int, Key

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import filter_image
from cryojax_graph.forward.grids import spectrum_multiplicity
from cryojax_graph.forward.grouping import GroupPlan, plan_groups
from cryojax_graph.forward.image import view
from cryojax_graph.forward.noise import noise_power, sample_noise
from cryojax_graph.forward.windows import project_groups
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.draws import ImageParameters
from cryojax_graph.jobs.simulate.molecule import Molecule

# Coloured noise: this much above the floor at frequency 0, half of it left at 1/20 Å, as images of
# vitreous ice have it.
_EXCESS, _HALF_AT = 4.0, 1.0 / 20.0
_GAUSSIANS_PER_GROUP = 32

Draw = Callable[[ImageParameters], Float32[np.ndarray, "images box box"]]


class _Scene(NamedTuple):
    """The molecule on the device."""

    frames: Float[Array, "frames n 3"]
    masses: Float[Array, " gaussians"]
    widths: Float[Array, " gaussians"]
    plan: GroupPlan


class _View(NamedTuple):
    """How one image shows it, or many."""

    frame: Int[Array, "*images"]
    rotation: Float[Array, "*images 3 3"]
    shift: Float[Array, "*images 2"]
    ctf: CTF
    contrast: Float[Array, "*images"]


def noise_free_renderer(molecule: Molecule, config: SimulateConfig, mesh: Mesh) -> Draw:
    """A function that draws images without noise.

    Args:
        molecule: all its frames.
        config: of the verb.
        mesh: devices that share the images of a call; the number of images must be a multiple of
            theirs.

    Returns:
        from parameters of images to images in scattering length per Å², with contrast and CTF.
    """
    scene = _Scene(
        jnp.asarray(molecule.positions),
        jnp.asarray(molecule.masses.ravel()),
        jnp.asarray(molecule.widths.ravel()),
        _plan(molecule, config.pixel_size),
    )
    render = partial(
        _render,
        scene,
        box=config.box,
        field=config.box * config.microscope.padding,
        pixel_size=config.pixel_size,
        mesh=mesh,
    )

    def draw(parameters: ImageParameters) -> Float32[np.ndarray, "images box box"]:
        rotation = rotation_from_euler(parameters.euler_degrees)
        as_array = partial(jnp.asarray, dtype=jnp.float32)
        views = _View(
            jnp.asarray(parameters.frame_index, jnp.int32),
            as_array(rotation),
            as_array(parameters.shift_angstrom),
            _ctf(parameters, config),
            as_array(parameters.contrast),
        )
        return np.asarray(render(views))

    return draw


@partial(jax.jit, static_argnames=("box", "field", "pixel_size", "mesh"))
def _render(
    scene: _Scene, views: _View, *, box: int, field: int, pixel_size: float, mesh: Mesh
) -> Float[Array, "images box box"]:
    raster = {"box": field, "pixel_size": pixel_size}
    # The centre of the box falls on that of the field.
    start = field // 2 - box // 2
    middle = slice(start, start + box)
    per_atom = len(scene.masses) // scene.frames.shape[1]

    def one(shown: _View) -> Float[Array, "box box"]:
        centres = view(scene.frames[shown.frame], shown.rotation, shown.shift)
        density = project_groups(
            jnp.repeat(centres, per_atom, axis=0),
            scene.masses,
            scene.widths,
            scene.plan,
            integrate=True,
            **raster,
        )
        image = filter_image(density, contrast_transfer(shown.ctf, **raster))
        return shown.contrast * image[middle, middle]

    return map_images(one, views, mesh=mesh)


def noise_power_of(config: SimulateConfig) -> Float32[np.ndarray, " shells"]:
    """Power of the noise, scaled to variance 1 per pixel.

    Args:
        config: of the verb.

    Returns:
        power in shells 0 … box // 2.
    """
    if config.noise != "coloured":
        return np.full(config.box // 2 + 1, float(config.noise == "white"), np.float32)
    shells = np.arange(config.box // 2 + 1) / (config.box * config.pixel_size)
    power = 1.0 + _EXCESS / (1.0 + (shells / _HALF_AT) ** 2)
    everywhere = noise_power(jnp.asarray(power, jnp.float32), box=config.box)
    weight = jnp.broadcast_to(spectrum_multiplicity(config.box), everywhere.shape)
    return (power / float(jnp.sum(weight * everywhere) / jnp.sum(weight))).astype(np.float32)


def noise_sampler(
    key: Key[Array, ""], config: SimulateConfig, mesh: Mesh
) -> Callable[[Int[np.ndarray, " images"]], Float32[np.ndarray, "images box box"]]:
    """A function that draws the noise of images, given their numbers.

    Args:
        key: random key.
        config: of the verb.
        mesh: devices that share the images of a call.

    Returns:
        from numbers of images to noise of variance 1.
    """
    power = 1.0
    if config.noise == "coloured":
        power = noise_power(jnp.asarray(noise_power_of(config)), box=config.box)
    sample = partial(_sample, key, jnp.asarray(power), box=config.box, mesh=mesh)
    return lambda numbers: np.asarray(sample(jnp.asarray(numbers, jnp.int32)))


@partial(jax.jit, static_argnames=("box", "mesh"))
def _sample(
    key: Key[Array, ""],
    power: Float[Array, "..."],
    numbers: Int[Array, " images"],
    *,
    box: int,
    mesh: Mesh,
) -> Float[Array, "images box box"]:
    def one(number: Int[Array, ""]) -> Float[Array, "box box"]:
        return sample_noise(jax.random.fold_in(key, number), power, box=box)

    return map_images(one, numbers, mesh=mesh)


def _ctf(parameters: ImageParameters, config: SimulateConfig) -> CTF:
    images, microscope = len(parameters.contrast), config.microscope

    def same(value: float) -> Float[Array, " images"]:
        return jnp.full(images, value, jnp.float32)

    return CTF(
        defocus_u=jnp.asarray(parameters.defocus_u, jnp.float32),
        defocus_v=jnp.asarray(parameters.defocus_v, jnp.float32),
        defocus_angle=jnp.asarray(np.deg2rad(parameters.defocus_angle_degrees), jnp.float32),
        voltage=same(microscope.voltage),
        spherical_aberration=same(microscope.cs),
        amplitude_contrast=same(microscope.amplitude_contrast),
        phase_shift=same(0.0),
        b_factor=same(config.b_factor),
    )


def _plan(molecule: Molecule, pixel_size: float) -> GroupPlan:
    """Groups of neighbouring atoms, in windows that hold them in every frame.

    The Gaussians of an atom stay together, so groups are made of atoms and then filled.
    """
    count = molecule.masses.shape[1]
    widest = molecule.widths.max(axis=1)
    atoms = partial(
        plan_groups,
        molecule.positions[0],
        widest,
        pixel_size=pixel_size,
        size=max(1, _GAUSSIANS_PER_GROUP // count),
    )
    members = np.asarray(atoms().members)
    largest = [_largest_diameter(frame[members]) for frame in molecule.positions]
    plan = atoms(slack=max(largest) - largest[0])
    each = jnp.arange(count)
    return GroupPlan(
        members=(plan.members[..., None] * count + each).reshape(len(plan.members), -1),
        occupied=jnp.repeat(plan.occupied, count, axis=1),
        places=(plan.places[:, None] * count + each).ravel(),
        window=plan.window,
    )


def _largest_diameter(groups: Float32[np.ndarray, "groups size 3"]) -> float:
    apart = groups[:, :, None] - groups[:, None]
    return float(np.sqrt((apart**2).sum(axis=-1).max()))
