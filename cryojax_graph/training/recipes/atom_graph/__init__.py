"""Neural maps: a map + settings → networks for its boxes, trained together."""

from cryojax_graph.training.recipes.atom_graph.neural_map import (
    NeuralMapRun,
    prepare_neural_map,
    trained_field,
)

__all__ = ["NeuralMapRun", "prepare_neural_map", "trained_field"]
