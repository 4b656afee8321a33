"""What figures against the truth allow to be said of a recovered motion."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["better", "no better", "worse"]
SENTENCES: dict[Verdict, str] = {
    "better": "better than any single structure could be",
    "no better": "no better than the best single structure",
    "worse": "worse than the best single structure",
}


def beside_one_structure(figures: Mapping[str, int | float]) -> Verdict:
    """Compare the errors of recovered conformations with those of the best single structure.

    Args:
        figures: metrics of ``validate motion``.

    Returns:
        ``better`` or ``worse`` where the whole 95 % interval of the mean error is, else
        ``no better``.
    """
    constant = figures["constant_structure_rmsd_superposed_mean_angstrom"]
    if figures["rmsd_superposed_mean_high_angstrom"] < constant:
        return "better"
    return "worse" if figures["rmsd_superposed_mean_low_angstrom"] > constant else "no better"


def order_caption(correlation: float) -> str:
    """Say of a scatter of latents over true frames how well they are in order.

    Args:
        correlation: Spearman's, of either sign.

    Returns:
        the caption.
    """
    return (
        f"Rank correlation {abs(correlation):.2f}, sign apart: at 1 the points follow one line, up "
        "or down, at 0 they know nothing of the true frame."
    )
