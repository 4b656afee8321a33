import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import small
from cryojax_graph.models.backbone_graph.predict import decode, order_latents, position_deviation
from cryojax_graph.models.backbone_graph.template import build_template


def test_ordered_latents_find_the_direction_that_moves_most():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(400, 4))
    direction = np.array([0.6, -0.8, 0.0, 0.0])
    large, little = rng.normal(size=(2, 10, 3))
    structure = 5.0 * (latents @ direction)[:, None, None] * large
    structure += 0.3 * latents[:, 2, None, None] * little
    ordered, matrix = order_latents(latents, structure)
    correlation = np.corrcoef(ordered[:, 0], latents @ direction)[0, 1]
    assert abs(correlation) > 0.999
    assert abs(np.corrcoef(ordered[:, 1], latents[:, 2])[0, 1]) > 0.98
    np.testing.assert_allclose(ordered.std(0), 1.0, rtol=1e-6)
    np.testing.assert_allclose((latents - latents.mean(0)) @ matrix, ordered, atol=1e-9)


def test_a_dead_latent_axis_stays_dead():
    latents = np.random.default_rng(1).normal(size=(50, 3))
    latents[:, 1] = 2.0
    ordered, _ = order_latents(latents, latents[:, :1, None] * np.ones((1, 5, 3)))
    assert np.isfinite(ordered).all()
    assert (ordered.std(0) > 1e-3).sum() == 2


def test_no_motion_at_all_is_no_error():
    ordered, matrix = order_latents(np.zeros((10, 2)), np.zeros((10, 4, 3)))
    assert not ordered.any()
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("images", [1, 2, 3])
def test_fewer_images_than_latents_have_axes_all_the_same(images):
    rng = np.random.default_rng(4)
    latents, structure = rng.normal(size=(images, 4)), rng.normal(size=(images, 6, 3))
    ordered, matrix = order_latents(latents, structure)
    assert ordered.shape == latents.shape
    assert matrix.shape == (4, 4)
    centred = latents - latents.mean(0)
    np.testing.assert_allclose(ordered, centred @ matrix, atol=1e-12)
    # As many axes as the images span hold unit variance, the others nothing.
    expected = np.r_[np.ones(images - 1), np.zeros(5 - images)]
    np.testing.assert_allclose(np.sort(ordered.var(0))[::-1], expected, atol=1e-9)


def test_decoding_in_batches_is_decoding_one_by_one(make_chain):
    config = small()
    template = build_template(make_chain(10), config, pixel_size=1.5)
    params = network.init(jax.random.key(0), config.decoder, template)
    latents = jax.random.normal(jax.random.key(1), (7, config.decoder.latent_size))
    together = decode(params, latents, config=config, template=template, batch_size=3)
    alone = [network.apply(params, z, config=config.decoder, template=template) for z in latents]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)


def test_uncertainty_grows_with_the_posterior(make_chain):
    config = small()
    template = build_template(make_chain(10), config, pixel_size=1.5)
    params = network.init(jax.random.key(0), config.decoder, template)
    mean = jnp.zeros((3, config.decoder.latent_size))
    widths = jnp.log(jnp.asarray([1e-6, 0.1, 0.5]))[:, None] + mean
    sure, less, least = position_deviation(
        jax.random.key(2), params, mean, widths, config=config, template=template, draws=64
    )
    assert sure < 1e-4
    assert 0 < less < least
