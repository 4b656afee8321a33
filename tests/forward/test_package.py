"""What a user needs of the forward model is at hand in its package."""

import importlib
import inspect
import pkgutil
import textwrap

import jax
import jax.numpy as jnp

from cryojax_graph import forward

INTERNAL = {"profiles"}


def test_every_public_function_is_exported():
    modules = [
        importlib.import_module(f"{forward.__name__}.{found.name}")
        for found in pkgutil.iter_modules(forward.__path__)
        if found.name not in INTERNAL
    ]
    public = {
        name
        for module in modules
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }
    assert public == set(forward.__all__)


def test_the_package_tells_what_each_export_is_for():
    assert forward.__doc__ is not None
    assert not {name for name in forward.__all__ if f"``{name}``" not in forward.__doc__}


def test_the_example_of_the_package_runs():
    names = vars(forward) | {
        "positions": jnp.zeros((1, 3)),
        "masses": jnp.ones(1),
        "widths": jnp.full(1, 2.0),
        "rotation": jnp.eye(3),
        "shift": jnp.zeros(2),
        "ctf": forward.CTF(10_000.0, 10_000.0),
        "key": jax.random.key(0),
    }
    assert forward.__doc__ is not None
    exec(textwrap.dedent(forward.__doc__.rpartition(":\n\n")[2]), names)
    # Half the noise's squared deviations, one per pixel.
    assert abs(float(names["score"]) / (-0.5 * 64**2) - 1.0) < 0.1
