"""Every differentiable argument of the forward model against central differences, in float64."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import shift_image
from cryojax_graph.forward.grouping import plan_groups
from cryojax_graph.forward.image import (
    gaussian_spectrum,
    log_likelihood,
    map_spectrum,
    optimal_scale,
)
from cryojax_graph.forward.noise import noise_power, radial_noise_power, whitening_filter
from cryojax_graph.forward.slices import volume_spectrum

BOX, PIXEL, ATOMS = 16, 2.0, 9
STEP = 1e-5


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def check(function: Callable[[dict[str, Any]], jax.Array], arguments: dict[str, Any]) -> None:
    """The derivative along a random direction of each argument, one argument at a time."""
    # One compilation serves both: compiling costs far more than a gradient too many.
    value_and_grad = jax.jit(jax.value_and_grad(function))
    _, gradients = value_and_grad(arguments)
    rng = np.random.default_rng(0)
    for name, argument in arguments.items():
        direction = jax.tree.map(
            lambda a: jnp.asarray(rng.normal(size=jnp.shape(a))) * jnp.abs(a).max(), argument
        )

        def along(step: float, name: str = name, direction: Any = direction) -> float:
            moved = jax.tree.map(lambda a, d: a + step * d, arguments[name], direction)
            return float(value_and_grad({**arguments, name: moved})[0])

        expected = (along(STEP) - along(-STEP)) / (2 * STEP)
        parts = jax.tree.map(lambda g, d: jnp.sum(g * d), gradients[name], direction)
        computed = float(sum(jax.tree.leaves(parts)))
        assert abs(expected) > 1e-9, f"{name} does not matter"
        assert computed == pytest.approx(expected, rel=2e-5), name


def observed(seed: int = 0) -> jax.Array:
    real, imaginary = np.random.default_rng(seed).normal(size=(2, BOX, BOX // 2 + 1))
    return jnp.asarray(real + 1j * imaginary)


def pose_and_optics() -> dict[str, Any]:
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return {
        "rotation": jnp.asarray(rotation),
        "shift": jnp.array([1.3, -0.7]),
        "ctf": CTF(*map(jnp.asarray, (11000.0, 10000.0, 0.4, 300.0, 2.7, 0.1, 0.3, 20.0))),
        "scale": jnp.asarray(1.3),
    }


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("integrate", [False, True])
def test_gaussian_image(windowed, integrate):
    rng = np.random.default_rng(1)
    positions, widths = rng.normal(size=(ATOMS, 3)) * 4, rng.uniform(1.5, 2.0, ATOMS)
    plan = None
    if windowed:
        plan = plan_groups(positions, widths, pixel_size=PIXEL, size=3, reach=7.0)
    arguments = {
        "positions": jnp.asarray(positions),
        "masses": jnp.asarray(rng.uniform(1, 5, ATOMS)),
        "widths": jnp.asarray(widths),
        "pixel_size": jnp.asarray(PIXEL),
        **pose_and_optics(),
    }

    def likelihood(a: dict[str, Any]) -> jax.Array:
        spectrum = gaussian_spectrum(**a, box=BOX, integrate=integrate, plan=plan)
        return log_likelihood(spectrum, observed(), 1.5, 1.0)

    check(likelihood, arguments)


def test_map_image():
    volume = np.random.default_rng(2).normal(size=(BOX, BOX, BOX))
    arguments = {"volume": jnp.asarray(volume), **pose_and_optics()}

    def likelihood(a: dict[str, Any]) -> jax.Array:
        pose = {name: value for name, value in a.items() if name != "volume"}
        spectrum = map_spectrum(volume_spectrum(a["volume"]), **pose, box=BOX, pixel_size=PIXEL)
        return log_likelihood(spectrum, observed(), 1.5, 1.0)

    check(likelihood, arguments)


def test_likelihood():
    arguments = {
        "predicted": observed(1),
        "observed": observed(2),
        "noise": jnp.asarray(np.random.default_rng(4).uniform(1, 2, BOX // 2 + 1)),
        "scale": jnp.asarray(0.8),
    }

    def split(a: jax.Array) -> dict[str, jax.Array]:
        return {"real": a.real, "imaginary": a.imag}

    def join(a: dict[str, jax.Array]) -> jax.Array:
        return a["real"] + 1j * a["imaginary"]

    arguments["predicted"], arguments["observed"] = map(
        split, (arguments["predicted"], arguments["observed"])
    )

    def given_scale(a: dict[str, Any]) -> jax.Array:
        power = noise_power(a["noise"], box=BOX)
        return log_likelihood(join(a["predicted"]), join(a["observed"]), power, a["scale"])

    def optimal(a: dict[str, Any]) -> jax.Array:
        power = noise_power(a["noise"], box=BOX)
        spectra = join(a["predicted"]), join(a["observed"])
        return log_likelihood(*spectra, power) + optimal_scale(*spectra, power)

    check(given_scale, arguments)
    check(optimal, {name: value for name, value in arguments.items() if name != "scale"})


def test_shift_and_noise():
    rng = np.random.default_rng(5)
    weights = jnp.asarray(rng.normal(size=(BOX, BOX)))
    arguments = {
        "image": jnp.asarray(rng.normal(size=(BOX, BOX))),
        "shift": jnp.array([0.6, -1.1]),
        "power": jnp.asarray(rng.uniform(1, 3, (BOX, BOX // 2 + 1))),
    }

    def total(a: dict[str, Any]) -> jax.Array:
        moved = shift_image(a["image"], a["shift"], pixel_size=PIXEL)
        shells = radial_noise_power(a["image"], jnp.abs(weights))
        return jnp.sum(weights * moved) + jnp.sum(shells) + jnp.sum(whitening_filter(a["power"]))

    check(total, arguments)
