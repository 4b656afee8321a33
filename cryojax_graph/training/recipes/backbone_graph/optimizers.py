"""Adam for what all images share, and for the latents."""

from collections.abc import Hashable

import optax

from cryojax_graph.models.backbone_graph.config import FittingConfig, PoseConfig
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

    def schedule(rate: float, per_epoch: int) -> optax.Schedule:
        warm_up = max(1, round(fitting.warm_up_epochs * per_epoch))
        rest = max(1, fitting.epochs * per_epoch - warm_up)
        rise = optax.linear_schedule(0.1 * rate, rate, warm_up)
        fall = optax.cosine_decay_schedule(rate, rest, 0.02)
        after = fall if fitting.decay else optax.constant_schedule(rate)
        return optax.join_schedules([rise, after], [warm_up])

    groups: dict[Hashable, optax.GradientTransformation] = {
        "decoder": optax.adam(schedule(fitting.decoder_rate, steps_per_epoch)),
        "imaging": optax.adam(schedule(fitting.imaging_rate, steps_per_epoch)),
        "pose_error": optax.adam(schedule(fitting.imaging_rate, steps_per_epoch)),
        "latents": optax.adam(schedule(fitting.latent_rate, steps_per_epoch)),
    }
    shared = optax.multi_transform(groups, lambda params: {name: name for name in params})
    if not fitting.latent_rows:
        return shared, {}
    # A row sees its image once per epoch: short memories.
    latents = optax.adam(schedule(fitting.latent_rate, 1), b1=0.5, b2=0.9)
    rows: dict[str, optax.GradientTransformation] = {"latents": latents}
    return shared, rows | ({"poses": optax.sgd(poses.rate)} if poses.fitted else {})
