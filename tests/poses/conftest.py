"""Particles whose projections are known exactly, and images of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cryojax_graph as package
from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.image import gaussian_image
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.poses.band import Band
from cryojax_graph.poses.reference import Reference, reference_of


class Particle(NamedTuple):
    """Gaussians of mass 1 in a box."""

    positions: np.ndarray
    width: float
    box: int
    pixel_size: float

    @property
    def field(self) -> float:
        return self.box * self.pixel_size

    def project(self, band: Band) -> Callable:
        """The Fourier transform of the Gaussians themselves, without any grid."""
        waves = np.stack([band.kx, band.ky]) / self.field
        fading = np.exp(-2 * (np.pi * self.width) ** 2 * (waves**2).sum(axis=0))
        waves = jnp.asarray(waves, jnp.float32)
        fading = jnp.asarray(fading / self.pixel_size**2, jnp.float32)
        positions = jnp.asarray(self.positions, jnp.float32)

        def projection(rotation):
            phase = (2 * jnp.pi) * (positions @ rotation[:2].T) @ waves
            return fading * jax.lax.complex(jnp.cos(phase).sum(0), -jnp.sin(phase).sum(0))

        return projection

    def image(self, rotation, shift, ctf: CTF) -> jax.Array:
        """By way of pixels: the other route to a projection."""
        positions = jnp.asarray(self.positions, jnp.float32)
        return _render(
            positions, self.width, rotation, shift, ctf, box=self.box, pixel_size=self.pixel_size
        )

    def reference(self) -> Reference:
        """The particle as images are compared with it."""
        size = self.pixel_size
        return reference_of(self.volume(), voxel_size=size, field=self.field, pixel_size=size)

    def volume(self) -> jax.Array:
        """Density on voxels, [z, y, x]: slabs of Gaussians."""
        z = (np.arange(self.box) - self.box // 2) * self.pixel_size
        across = np.exp(-0.5 * ((z[:, None] - self.positions[:, 2]) / self.width) ** 2)
        across = jnp.asarray(across / (np.sqrt(2 * np.pi) * self.width), jnp.float32)
        centres = jnp.asarray(self.positions[:, :2], jnp.float32)
        widths = jnp.full(len(centres), self.width)
        return jax.jit(
            jax.vmap(
                lambda masses: project_gaussians(
                    centres, masses, widths, box=self.box, pixel_size=self.pixel_size
                )
            )
        )(across)


@partial(jax.jit, static_argnames="box")
def _render(positions, width, rotation, shift, ctf, *, box, pixel_size):
    n = len(positions)
    return gaussian_image(
        positions,
        jnp.ones(n),
        jnp.full(n, width),
        rotation,
        shift,
        ctf,
        box=box,
        pixel_size=pixel_size,
    )


@pytest.fixture(scope="session")
def particle() -> Particle:
    """Twelve Gaussians without symmetry; nothing of them is left beyond 12 periods per box."""
    positions = np.random.default_rng(0).normal(size=(12, 3)) * (9.0, 7.0, 5.0)
    return Particle(positions - positions.mean(axis=0), 3.0, 32, 2.0)


@pytest.fixture(scope="session")
def adenylate_kinase() -> Particle:
    """The C-alpha atoms of a molecule of 214 residues, in the small box that it was tried in."""
    with np.load(Path(package.__file__).with_name("data") / "adk_transition.npz") as data:
        positions = data["first_frame"] * float(data["unit_angstrom"])
        positions = positions[data["atom_name"] == "CA"]
    return Particle(positions - positions.mean(axis=0), 1.9, 64, 1.5)


@pytest.fixture(scope="session")
def ctf() -> CTF:
    """Astigmatic, so that a mirrored axis shows."""
    return CTF(*map(jnp.asarray, (12000.0, 9000.0, 0.5)))
