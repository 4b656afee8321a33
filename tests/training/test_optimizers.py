"""Which parameters of the backbone-graph system the optimisers move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.models.backbone_graph.config import FittingConfig, PoseConfig
from cryojax_graph.training.recipes.backbone_graph.optimizers import optimizers


@pytest.mark.parametrize("error_fitted", [True, False])
def test_the_expected_pose_error_moves_only_where_it_is_fitted(error_fitted):
    params = {name: jnp.ones(2) for name in ("decoder", "imaging", "pose_error", "latents")}
    shared, rows = optimizers(
        FittingConfig(), PoseConfig(fitted=True, error_fitted=error_fitted), steps_per_epoch=10
    )
    updates, _ = shared.update(jax.tree.map(jnp.ones_like, params), shared.init(params), params)
    assert np.all(np.asarray(updates["decoder"]) < 0)
    assert np.all(np.asarray(updates["pose_error"]) < 0) == error_fitted
    assert np.all(np.asarray(updates["pose_error"]) == 0) != error_fitted
    assert set(rows) == {"latents", "poses"}
