import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import PRESETS, default, mlp, paper
from cryojax_graph.models.backbone_graph.template import build_template

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(("preset", "published"), [(paper, 20_465), (mlp, 20_376)])
def test_published_sizes(make_chain, preset, published):
    config = preset()
    template = build_template(make_chain(214), config, pixel_size=1.5)
    params = network.init(jax.random.key(0), config.decoder, template)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == published


def dense(layer, x):
    return x @ np.asarray(layer["weight"], float) + np.asarray(layer["bias"], float)


def test_graph_decoder_follows_its_definition(make_chain):
    config, atoms = paper(), make_chain(20)
    template = build_template(atoms, config, pixel_size=1.5)
    params = network.init(jax.random.key(1), config.decoder, template)
    latent = np.random.default_rng(0).normal(size=8)

    # Kipf-Welling with self-loops of weight 2, node by node.
    edges = {(i, i + 1) for i in range(19)} | {(0, 4), (2, 6)}
    neighbours = {i: [] for i in range(20)}
    for i, j in edges:
        neighbours[i].append(j)
        neighbours[j].append(i)
    degree = {i: 2 + len(neighbours[i]) for i in neighbours}
    h = dense(params["nodes"], np.maximum(dense(params["embed"], latent), 0)).reshape(20, 10)
    for number in range(10):
        layer = jax.tree.map(lambda a, n=number: np.asarray(a[n], float), params["layers"])
        x = h @ layer["weight"]
        new = np.stack(
            [
                2 * x[i] / degree[i]
                + sum(x[j] / np.sqrt(degree[i] * degree[j]) for j in neighbours[i])
                for i in range(20)
            ]
        )
        new = np.maximum(new + layer["bias"], 0)
        h = new + h if number else new
    expected = atoms.c_alpha + dense(params["displace"], h)
    found = network.apply(
        params, jnp.asarray(latent, jnp.float32), config=config.decoder, template=template
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_baseline_follows_its_definition(make_chain):
    config, atoms = mlp(), make_chain(12)
    template = build_template(atoms, config, pixel_size=1.5)
    params = network.init(jax.random.key(2), config.decoder, template)
    latent = np.random.default_rng(1).normal(size=8)
    x = latent
    for number in range(5):
        x = np.maximum(dense(params[f"layer_{number}"], x), 0)
    expected = atoms.c_alpha + dense(params["layer_5"], x).reshape(-1, 3)
    found = network.apply(
        params, jnp.asarray(latent, jnp.float32), config=config.decoder, template=template
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_elastic_decoder_moves_softly_and_never_as_a_rigid_body(make_chain):
    config = default()
    atoms = make_chain(16)
    template = build_template(atoms, config, pixel_size=1.5)
    params = network.init(jax.random.key(3), config.decoder, template)
    latents = jax.random.normal(jax.random.key(4), (20, 8))
    moved = np.stack(
        [
            network.apply(params, z, config=config.decoder, template=template) - template.c_alpha
            for z in latents
        ]
    )
    np.testing.assert_allclose(moved.sum(1), 0.0, atol=1e-3)
    turning = np.cross(np.asarray(template.c_alpha) - np.asarray(template.c_alpha).mean(0), moved)
    np.testing.assert_allclose(turning.sum(1), 0.0, atol=1e-2)
    assert 0 < np.sqrt((moved**2).mean()) < 1.0


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_finite_gradients_at_the_origin(make_chain, preset):
    config = PRESETS[preset]()
    template = build_template(make_chain(10), config, pixel_size=1.5)
    params = network.init(jax.random.key(0), config.decoder, template)

    def size(params, latent):
        c_alpha = network.apply(params, latent, config=config.decoder, template=template)
        return jnp.sum(c_alpha**2)

    gradients = jax.grad(size, argnums=(0, 1))(params, jnp.zeros(config.decoder.latent_size))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_presets_survive_json():
    from cryojax_graph.configs import from_dict, to_dict
    from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig

    for preset in PRESETS.values():
        assert from_dict(BackboneGraphConfig, to_dict(preset())) == preset()
    changed = to_dict(default())
    changed["decoder"]["depth"] = 3
    with pytest.raises(ValueError, match=r"decoder\.depth"):
        from_dict(BackboneGraphConfig, changed)
    assert dataclasses.replace(default(), atoms_per_bead=2) != default()
