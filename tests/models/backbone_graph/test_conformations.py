"""Conformations of many images, as ``flex`` decodes them."""

import jax
import numpy as np
import pytest

from cryojax_graph.jobs.flex import results
from cryojax_graph.jobs.flex.fitting import Fitted
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import small
from cryojax_graph.models.backbone_graph.predict import decode
from cryojax_graph.models.backbone_graph.template import build_template

IMAGES = 300


@pytest.fixture
def system(make_chain):
    """Parameters of an unfitted system, and its config and template."""
    config = small()
    template = build_template(make_chain(10), config, pixel_size=1.5)
    decoder = network.init(jax.random.key(0), config.decoder, template)
    latents = jax.random.normal(jax.random.key(1), (IMAGES, config.decoder.latent_size))
    params = {"decoder": decoder, "latents": {"mean": latents}}
    return params, {"config": config, "template": template}


@pytest.mark.parametrize("size", [2, 3, 64])
def test_images_are_decoded_part_by_part(system, monkeypatch, size):
    params, settings = system
    images = np.array([8, 0, 3, 5, 1])
    whole = decode(params["decoder"], params["latents"]["mean"], **settings)[images]
    monkeypatch.setattr(results, "_PART", size)
    parts = list(results.conformations(params, images, **settings))
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_a_sample_of_the_images_orders_the_latents_of_all(system, monkeypatch):
    params, settings = system
    fitted = Fitted(params, np.zeros((1, 4), np.float32))
    everything = results.motion_of(jax.random.key(2), fitted, **settings)
    assert everything.sample.tolist() == list(range(IMAGES))
    monkeypatch.setattr(results, "LARGEST_SAMPLE", 150)
    some = results.motion_of(jax.random.key(2), fitted, **settings)
    assert some.c_alpha.shape == (150, 10, 3)
    assert some.latents.shape == everything.latents.shape
    assert abs(np.corrcoef(some.latents[:, 0], everything.latents[:, 0])[0, 1]) > 0.95
    np.testing.assert_allclose(some.spread, everything.spread, rtol=0.1)


def test_images_of_a_mixture_keep_the_deviations_that_it_gives_them(system):
    params, settings = system
    given = np.linspace(0.1, 1.0, IMAGES)
    fitted = Fitted(params, np.zeros((1, 4), np.float32), np.ones(1), given)
    motion = results.motion_of(jax.random.key(2), fitted, **settings)
    np.testing.assert_array_equal(motion.deviation, given)
