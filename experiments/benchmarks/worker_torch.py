"""The published autodecoder in PyTorch, written again from its description, for timing only.

Graph decoder (latent 8, ten features, ten Kipf-Welling layers) or the baseline of equal size, one
Gaussian per residue, one CTF, squared error per pixel, Adam 1e-3 on decoder and latents, batches of
128 (Krook et al. 2026). The graph convolution is a product with the sparse normalised adjacency,
the fastest of the forms tried.
"""

import argparse
import itertools
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn


class GraphDecoder(nn.Module):
    def __init__(self, template: torch.Tensor, adjacency: torch.Tensor) -> None:
        super().__init__()
        self.template, self.adjacency = template, adjacency
        self.embed = nn.Linear(8, 8)
        self.nodes = nn.Linear(8, len(template) * 10)
        self.weights = nn.ParameterList(
            [nn.init.xavier_uniform_(torch.empty(10, 10)) for _ in range(10)]
        )
        self.biases = nn.ParameterList([torch.zeros(10) for _ in range(10)])
        self.displace = nn.Linear(10, 3)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        batch, n = len(latent), len(self.template)
        h = self.nodes(torch.relu(self.embed(latent))).reshape(batch, n, 10)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            mixed = (h @ weight).permute(1, 0, 2).reshape(n, -1)
            spread = torch.sparse.mm(self.adjacency, mixed).reshape(n, batch, 10).permute(1, 0, 2)
            update = torch.relu(spread + bias)
            h = update + h if number else update
        return self.template + self.displace(h)


class Baseline(nn.Module):
    def __init__(self, template: torch.Tensor) -> None:
        super().__init__()
        self.template = template
        sizes = [8, 26, 26, 26, 26, 26, 3 * len(template)]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            latent = torch.relu(layer(latent))
        return self.template + self.layers[-1](latent).reshape(len(latent), -1, 3)


def project(points: torch.Tensor, inputs: dict[str, torch.Tensor], box: int) -> torch.Tensor:
    grid = (torch.arange(box) - box // 2) * inputs["pixel_size"]
    width = inputs["width"][:, None]
    profile = torch.exp(-((grid - points[..., None]) ** 2) / (2 * width**2).unsqueeze(1))
    height = inputs["mass"] / (2 * math.pi * inputs["width"] ** 2)
    return torch.einsum("bny,bnx->byx", profile[:, :, 1] * height[:, None], profile[:, :, 0])


def epochs(model: str, inputs: dict[str, torch.Tensor], batch: int):
    """A function that does one epoch."""
    template = inputs["template"]
    if model == "mlp":
        decoder = Baseline(template)
    else:
        decoder = GraphDecoder(template, inputs["adjacency"].to_sparse_csr())
    images, rotations = inputs["images"], inputs["rotations"]
    box = images.shape[-1]
    latents = nn.Embedding(len(images), 8)
    scale, bias = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-0.1))
    parameters = [*decoder.parameters(), *latents.parameters(), scale, bias]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    known = torch.linalg.norm(template[1:] - template[:-1], dim=-1)

    def one() -> None:
        order = torch.randperm(len(images))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            c_alpha = decoder(latents(chosen))
            points = torch.einsum("bij,bnj->bni", rotations[chosen][:, :2], c_alpha)
            spectrum = torch.fft.rfft2(project(points, inputs, box)) * inputs["ctf"]
            predicted = (torch.fft.irfft2(spectrum, s=(box, box)) - bias) / scale
            steps = torch.linalg.norm(c_alpha[:, 1:] - c_alpha[:, :-1], dim=-1)
            centroid = ((c_alpha - template).mean(1) ** 2).sum(-1).mean()
            bonds = ((steps - known) ** 2).mean()
            loss = ((predicted - images[chosen]) ** 2).mean() + 0.01 * centroid + 5e-4 * bonds
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return one


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    inputs = {name: torch.as_tensor(values) for name, values in np.load(chosen.inputs).items()}
    models = {name: epochs(name, inputs, 128) for name in ("paper", "mlp")}
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        models[line.strip()]()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


if __name__ == "__main__":
    main()
