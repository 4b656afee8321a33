"""The page of the maps of the states of a motion."""

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, heat_map_figure, histogram_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.jobs.reconstruct.states_outputs import StateInShort, States
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.thumbnails import image_grid

_BINS = 60
# Widths on the page, CSS pixels: of a row, of the gap between pictures, of the largest picture.
_PAGE, _GAP, _LARGEST = 930, 16, 240
_CITATIONS = (
    "Weights: Dempster, Laird & Rubin (1977) J. R. Stat. Soc. B 39, 1–38.",
    "Regularisation: Scheres (2012) J. Struct. Biol. 180, 519–530.",
    "Maps along a latent: Gilles & Singer (2025) Proc. Natl. Acad. Sci. 122, e2419140122.",
)


def states_report(
    shown: list[StateInShort],
    states: States,
    latent: Float[np.ndarray, " images"],
    halves: Halves,
    again: str,
    job: Job,
) -> str:
    """The page.

    Args:
        shown: what came of each state.
        states: along the motion.
        latent: most probable place of every image on the leading axis.
        halves: of every row.
        again: command that makes the map of the first state anew.
        job: whose page it is.

    Returns:
        HTML.
    """
    worst = max(state.resolution[0] for state in shown)
    best = min(state.resolution[0] for state in shown)
    return job_page(
        job.manifest,
        title="Maps of the states of a motion",
        summary=f"{len(latent):,} images, each in every state with its probability.",
        sections=[
            Section("States", (_list(shown, states), *_pictures(shown))),
            Section("Fourier shell correlation", (_curves(shown), paragraph(_halves(halves)))),
            Section("Images", _images(states, latent)),
        ],
        highlights=[
            Highlight(str(len(shown)), "states"),
            Highlight(f"{best:.1f} to {worst:.1f} Å", "at FSC = 0.143"),
            Highlight(f"{states.told_apart:.1f}", "states told apart by an image"),
        ],
        citations=_CITATIONS,
        commands={
            "state_1/map.mrc": "chimerax state_*/map.mrc",
            "state_1/particles.star": again,
        },
    )


def _list(shown: list[StateInShort], states: States) -> str:
    bounds = [-np.inf, *states.edges, np.inf]
    rows = [
        [
            f"{state.number}",
            f"{low:.2f} to {high:.2f}",
            float(place),
            f"{model}",
            round(state.effective),
            *state.resolution,
        ]
        for state, low, high, place, model in zip(
            shown, bounds, bounds[1:], states.place, states.model, strict=False
        )
    ]
    header = ["state", "leading latent", "mean", "nearest model of motion.cif"]
    return table(
        [*header, "effective images", "FSC 0.143, Å", "FSC 0.5, Å"],
        rows,
        caption="All states hold equally many images, counted by their probabilities. An effective "
        "image averages noise as one of weight 1 does.",
    )


def _pictures(shown: list[StateInShort]) -> list[str]:
    """One row of all states for each direction, and one of what each has more than their mean."""
    names = [f"state {state.number}" for state in shown]
    width = min(_LARGEST, _PAGE // len(shown) - _GAP)
    blocks = []
    for number, axis in enumerate("zyx"):
        slices = np.stack([state.slices[number] for state in shown])
        inside = np.stack([_edge(state.inside[number]) for state in shown])
        captions = (
            f"Central slices across {axis} of map_unsharpened.mrc; the line is where the mask is a "
            "half.",
            "The same less the mean of all states: white is what the state has more of.",
        )
        for values, caption in zip((slices, slices - slices.mean(axis=0)), captions, strict=True):
            blocks.append(
                image_grid(values, captions=names, caption=caption, width=width, outlines=inside)
            )
    return blocks


def _edge(inside: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return inside & np.logical_not(scipy.ndimage.binary_erosion(inside))


def _curves(shown: list[StateInShort]) -> str:
    return curves_figure(
        [Curve(f"state {s.number}", s.frequency, s.fsc) for s in shown],
        Axis("spatial frequency, 1/Å"),
        Axis("FSC", range=(max(-1.0, min(-0.1, *(float(s.fsc.min()) for s in shown))), 1.02)),
        levels={"0.143": 0.143, "0.5": 0.5},
        caption="Of the halves of each state, masked and corrected.",
    )


def _halves(halves: Halves) -> str:
    origin = "are those of the table" if halves.given else "were drawn at random"
    shared = "" if halves.given else ", and their poses may come from one map"
    return (
        f"The halves {origin} and share no image, but one model of the motion told the states of "
        f"both{shared}. Their agreement says how well each map is determined, not whether the "
        "motion is real: that is what flex --half-sets and its held-out images are for."
    )


def _images(states: States, latent: Float[np.ndarray, " images"]) -> tuple[str, ...]:
    probability = states.probability
    best = probability.argmax(axis=1)
    confusion = np.stack(
        [
            probability[best == state].mean(axis=0)
            if (best == state).any()
            else np.zeros(len(states.place))
            for state in range(len(states.place))
        ]
    )
    ends = 0.5, len(states.place) + 0.5
    return (
        paragraph(
            f"One image tells {states.told_apart:.1f} of {len(states.place)} states apart. It "
            "enters every map with the probability of the state, which multiplies data and weights "
            "alike: what it tells of each state is used, and no noise decides where it belongs. "
            "Images sorted by their best state bring the noise along that took them there."
        ),
        histogram_figure(
            {"images": latent},
            Axis("leading latent"),
            bins=_BINS,
            marks={f"{k} | {k + 1}": float(edge) for k, edge in enumerate(states.edges, start=1)},
            caption="Most probable place of each image; lines part the states.",
        ),
        heat_map_figure(
            confusion,
            Axis("state"),
            Axis("most probable state"),
            extent=(*ends, *ends),
            value_title="probability",
            caption="How sure images are: mean probability of each state, by the most probable.",
        ),
    )
