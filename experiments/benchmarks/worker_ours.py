"""Cases of this project: forward model, its gradient, and slices of a map."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from serve import Case, arguments, mesh_of, place, serve

from cryojax_graph.forward.batched import map_images, sum_images
from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.grouping import plan_groups
from cryojax_graph.forward.image import gaussian_image, gaussian_spectrum, log_likelihood
from cryojax_graph.forward.slices import slice_spectrum, volume_spectrum

CHUNK = 16


def build(task: str, inputs: dict[str, np.ndarray], devices: int) -> dict[str, Case]:
    mesh = mesh_of(devices)
    box, pixel_size = int(inputs["box"]), float(inputs["pixel_size"])
    pose = place((inputs["rotations"], inputs["defoci"]), mesh)
    if task.startswith("slice"):
        return {
            f"padding {padding}".replace(" ", "_"): _slices(
                inputs, padding, box, pixel_size, pose, mesh
            )
            for padding in (1, 2)
        }
    masses, widths = jnp.asarray(inputs["masses"]), jnp.asarray(inputs["widths"])
    plan = plan_groups(inputs["positions"], inputs["widths"], pixel_size=pixel_size)
    modes = {"windows": plan, "dense": None}
    if task.startswith("forward"):
        return {
            name: _forward(inputs, masses, widths, chosen, box, pixel_size, pose, mesh)
            for name, chosen in modes.items()
        }
    return {
        name: _gradient(inputs, masses, widths, chosen, box, pixel_size, pose, mesh)
        for name, chosen in modes.items()
    }


def _slices(inputs, padding, box, pixel_size, pose, mesh) -> Case:
    volume = volume_spectrum(jnp.asarray(inputs["volume"]), padding=padding)

    def one(rotation, defocus):
        transfer = contrast_transfer(CTF(defocus, defocus), box=box, pixel_size=pixel_size)
        return slice_spectrum(volume, rotation, box=box) * transfer

    run = jax.jit(lambda pose: map_images(one, *pose, chunk=CHUNK, mesh=mesh))
    return lambda: run(pose)


def _forward(inputs, masses, widths, plan, box, pixel_size, pose, mesh) -> Case:
    positions = jnp.asarray(inputs["positions"])
    draw = partial(gaussian_image, box=box, pixel_size=pixel_size, plan=plan)

    def one(rotation, defocus):
        return draw(positions, masses, widths, rotation, jnp.zeros(2), CTF(defocus, defocus))

    run = jax.jit(lambda *images: map_images(one, *images, chunk=CHUNK, mesh=mesh))
    return lambda: run(*pose)


def _gradient(inputs, masses, widths, plan, box, pixel_size, pose, mesh) -> Case:
    # Phase origin at the box centre, as everywhere in this package.
    spectra = np.fft.rfft2(np.fft.ifftshift(inputs["observed"], axes=(1, 2))).astype(np.complex64)
    positions, spectra = place((inputs["moved"], spectra), mesh)
    draw = partial(gaussian_spectrum, box=box, pixel_size=pixel_size, plan=plan)

    def loss(shared, positions, data):
        rotation, defocus, spectrum = data
        ctf = CTF(defocus, defocus)
        predicted = draw(positions, masses, widths, rotation, jnp.zeros(2), ctf)
        return -log_likelihood(predicted, spectrum, 1.0, 1.0)

    def total(positions, data):
        return sum_images(loss, (), positions, data, chunk=CHUNK, mesh=mesh)

    run = jax.jit(jax.grad(total, has_aux=True))
    return lambda: run(positions, (*pose, spectra))[0]


if __name__ == "__main__":
    chosen = arguments()
    serve(partial(build, devices=chosen.devices), chosen.inputs)
