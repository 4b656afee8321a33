"""Backbone motion: images + template + objective → fit, and new images with the decoder frozen."""

from cryojax_graph.training.recipes.backbone_graph.candidates import (
    IMAGES_SCORED_AT_ONCE,
    score_candidates,
    start_at_candidates,
)
from cryojax_graph.training.recipes.backbone_graph.fit import Run, init_latents, prepare_fit
from cryojax_graph.training.recipes.backbone_graph.reader import SpectrumReader, Views

__all__ = [
    "IMAGES_SCORED_AT_ONCE",
    "Run",
    "SpectrumReader",
    "Views",
    "init_latents",
    "prepare_fit",
    "score_candidates",
    "start_at_candidates",
]
