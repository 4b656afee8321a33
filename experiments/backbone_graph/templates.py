"""How images tell the right template from its parts, its mirror image and other proteins.

Images of adenylate kinase from the independent simulator (``--adk-images``); other proteins: single
chains of 200 to 230 residues of the structure corpus, their principal axes laid on those of the
right template in the one of four ways that agrees furthest, which flatters them. Given are the
resolution of agreement and the share of the signal that a template explains.

    python experiments/backbone_graph/templates.py --data DATA --adk-images DIR --work DIR
"""

import argparse
import csv
import gzip
import itertools
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryojax_graph.graphs import build_backbone_graph
from cryojax_graph.jobs.flex.inputs import TemplateModel, read_template, read_views
from cryojax_graph.jobs.noise import noise_of_spectra
from cryojax_graph.models.backbone_graph.agreement import shell_agreement
from cryojax_graph.models.backbone_graph.config import default
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.training.recipes.backbone_graph import SpectrumReader

PARTS = (190, 150, 100)
OTHERS, FEWEST, MOST = 8, 200, 230
IMAGES = 512


def others(data: Path, work: Path) -> dict[str, TemplateModel]:
    """The first proteins of the corpus that have the right size."""
    with (data / "structures/index.csv").open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["n_chains"] == "1" and FEWEST <= int(row["n_residues"]) <= MOST
        ]
    found = {}
    for row in rows[:OTHERS]:
        path = work / row["file"].removesuffix(".gz")
        with tarfile.open(data / "structures" / row["shard"]) as shard:
            packed = shard.extractfile(row["file"])
            assert packed is not None
            path.write_bytes(gzip.decompress(packed.read()))
        found[row["id"]] = read_template(path)
    return found


def turned(model: TemplateModel, turn: np.ndarray) -> TemplateModel:
    """A template turned, or mirrored, about its centre."""
    arrays, centre = model.arrays, model.arrays.c_alpha.mean(0)
    arrays = arrays._replace(
        c_alpha=(arrays.c_alpha - centre) @ turn, atoms=(arrays.atoms - centre) @ turn
    )
    return model._replace(arrays=arrays)


def beginning(model: TemplateModel, residues: int) -> TemplateModel:
    """The first residues of a template of one chain, as C-alpha atoms."""
    arrays = model.arrays
    c_alpha, chain = arrays.c_alpha[:residues], arrays.chain[:residues]
    arrays = arrays._replace(
        c_alpha=c_alpha,
        chain=chain,
        graph=build_backbone_graph(c_alpha, chain, np.arange(residues)),
        electrons=arrays.electrons[:residues],
        width=arrays.width[:residues],
    )
    return model._replace(arrays=arrays)


def principal_axes(model: TemplateModel) -> np.ndarray:
    """Right-handed axes of a template, the longest first, as columns."""
    centred = model.arrays.c_alpha - model.arrays.c_alpha.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2].T
    axes[:, 2] *= np.linalg.det(axes)
    return axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adk-images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    right = read_template(chosen.data / "trajectories/adk_dims_template.pdb")
    # Only Gaussians at C-alpha atoms are needed, and no modes.
    settings = default()
    settings = replace(settings, beads="residue", decoder=replace(settings.decoder, kind="mlp"))
    ways = [np.diag([a, b, a * b]) for a, b in itertools.product((1, -1), repeat=2)]
    cases = {"right": [right], "mirror": [turned(right, np.diag([1, 1, -1]))]}
    cases |= {f"first {count} residues": [beginning(right, count)] for count in PARTS}
    for name, model in others(chosen.data, chosen.work).items():
        own, wanted = principal_axes(model), principal_axes(right)
        cases[name] = [turned(model, own @ way @ wanted.T) for way in ways]
    limits, shares = {}, {}
    for snr in (1.0, 0.1, 0.01):
        particles = read_views(chosen.adk_images / f"snr{snr:g}.star", image_root=None)
        reader = SpectrumReader(
            particles.images.read,
            particles.views,
            pixel_size=particles.pixel_size,
            standardise=False,
        )
        images = reader.spectra(np.linspace(0, len(reader) - 1, IMAGES).astype(int))
        noise = noise_of_spectra(images["spectrum"])
        for name, models in cases.items():
            found = []
            for model in models:
                template = build_template(model.arrays, settings, pixel_size=particles.pixel_size)
                agreement = shell_agreement(
                    template.c_alpha[None],
                    images,
                    template=template,
                    pixel_size=particles.pixel_size,
                    extra_variance=4.0,
                )
                found.append((agreement.limit(), agreement.explained(noise)))
            limit, share = min(found)
            limits.setdefault(name, {})[f"{snr:g}"] = round(limit, 1)
            shares.setdefault(name, {})[f"{snr:g}"] = round(100 * share)
        print(snr, {name: of_case[f"{snr:g}"] for name, of_case in shares.items()}, flush=True)
        print(snr, {name: of_case[f"{snr:g}"] for name, of_case in limits.items()}, flush=True)
    figures = {
        "images": IMAGES,
        "agreement_limit_angstrom": limits,
        "explained_percent": shares,
    }
    text = json.dumps(figures, indent=1)
    (chosen.out / "expected_templates.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
