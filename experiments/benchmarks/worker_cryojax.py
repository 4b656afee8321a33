"""The same cases with cryojax 0.6, in several modes of which the fastest counts."""

from functools import partial

import cryojax.simulator as cxs
import jax
import jax.numpy as jnp
import numpy as np
from serve import Case, arguments, map_chunks, mesh_of, place, serve

CHUNKS = (8, 32)


def build(task: str, inputs: dict[str, np.ndarray], devices: int) -> dict[str, Case]:
    mesh = mesh_of(devices)
    box, pixel_size = int(inputs["box"]), float(inputs["pixel_size"])
    config = cxs.BasicImageConfig((box, box), pixel_size, 300.0, precompute_mode="all")
    pose = place((inputs["quaternions"], inputs["defoci"]), mesh)
    if task.startswith("slice"):
        return {
            f"linear_pad{padding}_chunk{chunk}": _slices(inputs, padding, chunk, config, pose, mesh)
            for padding in (1, 2)
            for chunk in CHUNKS
        }
    modes = {"dense": None, "spread11": 11}
    if task.startswith("forward"):
        return {
            f"{name}_chunk{chunk}": _forward(inputs, spread, chunk, config, pose, mesh)
            for name, spread in modes.items()
            for chunk in CHUNKS
        }
    return {
        f"{name}_{space}_chunk{chunk}": _gradient(inputs, spread, space, chunk, config, pose, mesh)
        for name, spread in modes.items()
        for space in ("real", "fourier")
        for chunk in CHUNKS
    }


def _model(volume, integrator, config, quaternion, defocus):
    theory = cxs.ContrastTransferTheory(cxs.AstigmaticCTF(defocus), amplitude_contrast_ratio=0.1)
    pose = cxs.QuaternionPose(wxyz=quaternion)
    return cxs.make_image_model(volume, config, pose, theory, integrator, translate_mode="none")


def _volume(positions, inputs):
    variances = jnp.asarray(inputs["widths"]) ** 2
    return cxs.GaussianMixtureVolume(positions, jnp.asarray(inputs["masses"]), variances)


def _slices(inputs, padding, chunk, config, pose, mesh) -> Case:
    volume = cxs.FourierVoxelGridVolume.from_real_voxel_grid(
        inputs["volume"], interp="linear", pad_scale=float(padding)
    )

    def one(quaternion, defocus):
        model = _model(volume, cxs.FourierSliceExtraction(), config, quaternion, defocus)
        return model.simulate(outputs_real_space=False)

    run = map_chunks(jax.vmap(one), chunk, mesh)
    return lambda: run(*pose)


def _forward(inputs, spread, chunk, config, pose, mesh) -> Case:
    volume = _volume(jnp.asarray(inputs["positions"]), inputs)
    integrator = cxs.GaussianMixtureProjection(sampling_mode="point", n_spread=spread)

    def one(quaternion, defocus):
        return _model(volume, integrator, config, quaternion, defocus).simulate()

    run = map_chunks(jax.vmap(one), chunk, mesh)
    return lambda: run(*pose)


def _gradient(inputs, spread, space, chunk, config, pose, mesh) -> Case:
    """Loss and gradient of one chunk together: nothing is stored or computed twice."""
    # Its contrast has the other sign (protein black).
    observed = -inputs["observed"]
    if space == "fourier":
        observed = np.fft.rfft2(observed).astype(np.complex64)
    positions, observed = place((inputs["moved"], observed), mesh)
    integrator = cxs.GaussianMixtureProjection(sampling_mode="point", n_spread=spread)
    box = int(inputs["box"])
    weight = np.full(box // 2 + 1, 2.0)
    weight[[0, -1]] = 1.0

    def loss(positions, quaternion, defocus, observed):
        model = _model(_volume(positions, inputs), integrator, config, quaternion, defocus)
        residual = model.simulate(outputs_real_space=space == "real") - observed
        if space == "real":
            return 0.5 * jnp.sum(residual**2)
        power = residual.real**2 + residual.imag**2
        return 0.5 * jnp.sum(weight / box**2 * power)

    run = map_chunks(jax.vmap(jax.value_and_grad(loss)), chunk, mesh)
    return lambda: run(positions, *pose, observed)[1]


if __name__ == "__main__":
    chosen = arguments()
    serve(partial(build, devices=chosen.devices), chosen.inputs)
