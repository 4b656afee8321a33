"""Slices of a map with recovar 1.0, in several modes of which the fastest counts."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from serve import Case, arguments, map_chunks, mesh_of, place, serve

CHUNKS = (8, 32)


def build(task: str, inputs: dict[str, np.ndarray], devices: int) -> dict[str, Case]:
    from recovar.core.configs import ForwardModelConfig
    from recovar.core.ctf import CTFEvaluator
    from recovar.core.forward import forward_model

    mesh = mesh_of(devices)
    box, pixel_size = int(inputs["box"]), float(inputs["pixel_size"])
    config = ForwardModelConfig(
        image_shape=(box, box),
        volume_shape=(box, box, box),
        grid_size=box,
        voxel_size=pixel_size,
        padding=0,
        disc_type="linear_interp",
        ctf=CTFEvaluator(),
    )
    defoci = inputs["defoci"]
    optics = [0.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0]
    table = np.column_stack([defoci, defoci, np.tile(optics, (len(defoci), 1))]).astype(np.float32)
    images = place((table, inputs["rotations"]), mesh)
    whole = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(inputs["volume"])))
    shifted = np.fft.fftshift(np.fft.rfftn(np.fft.ifftshift(inputs["volume"])), axes=(0, 1))
    volumes = {"whole": (whole, False), "half": (shifted, True)}

    def case(name: str, chunk: int) -> Case:
        spectrum, half = volumes[name]
        volume = jnp.asarray(spectrum.astype(np.complex64).ravel())

        def several(table, rotations):
            return forward_model(
                config, volume, table, rotations, half_image=True, half_volume=half
            )

        run = map_chunks(several, chunk, mesh)
        return lambda: run(*images)

    return {f"{name}_chunk{chunk}": case(name, chunk) for name in volumes for chunk in CHUNKS}


if __name__ == "__main__":
    chosen = arguments()
    serve(partial(build, devices=chosen.devices), chosen.inputs)
