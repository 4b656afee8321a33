"""Adam for what all images share, and for the latents."""

from collections.abc import Hashable

import optax

from cryojax_graph.models.backbone_graph.config import FittingConfig, PoseConfig
from cryojax_graph.training.recipes.backbone_graph.schedule import scale_by_run
from cryojax_graph.training.state import RowOptimizers


def optimizers(
    fitting: FittingConfig, poses: PoseConfig, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, RowOptimizers]:
    """Adam for what all images share, and for the latents.

    Args:
        fitting: rates and schedule.
        poses: their rate, and whether they are fitted.
        steps_per_epoch: of the batches.

    Returns:
        the optimiser of the shared parameters and those of the tables.
    """

    def adam(
        rate: float, per_epoch: int, b1: float = 0.9, b2: float = 0.999
    ) -> optax.GradientTransformation:
        warm_up = max(1, round(fitting.warm_up_epochs * per_epoch))
        rest = max(1, fitting.epochs * per_epoch - warm_up)
        over_the_run = scale_by_run(rate, warm_up=warm_up, rest=rest, decay=fitting.decay)
        return optax.chain(optax.scale_by_adam(b1, b2), over_the_run)

    groups: dict[Hashable, optax.GradientTransformation] = {
        "decoder": adam(fitting.decoder_rate, steps_per_epoch),
        "imaging": adam(fitting.imaging_rate, steps_per_epoch),
        "pose_error": adam(fitting.imaging_rate, steps_per_epoch)
        if poses.error_fitted
        else optax.set_to_zero(),
        "latents": adam(fitting.latent_rate, steps_per_epoch),
    }
    shared = optax.multi_transform(groups, lambda params: {name: name for name in params})
    if not fitting.latent_rows:
        return shared, {}
    # A row sees its image once per epoch: short memories.
    latents = adam(fitting.latent_rate, 1, b1=0.5, b2=0.9)
    rows: dict[str, optax.GradientTransformation] = {"latents": latents}
    return shared, rows | ({"poses": optax.sgd(poses.rate)} if poses.fitted else {})
