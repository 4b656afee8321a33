"""Steps of the published network on one box in PyTorch, one for each line of standard input."""

import argparse
import json
import math
import resource
import sys
import time
from itertools import pairwise

import numpy as np
import torch
from torch import nn

OMEGA = 30.0


class Siren(nn.Module):
    """Five sine layers of 256 and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [3, *[256] * 5, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for number, layer in enumerate(self.layers):
            reach = 1 / 3 if number == 0 else math.sqrt(6 / layer.in_features) / OMEGA
            nn.init.uniform_(layer.weight, -reach, reach)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        for layer in list(self.layers)[:-1]:
            points = torch.sin(OMEGA * layer(points))
        return self.layers[-1](points)[:, 0]


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("volume")
    parser.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    volume = torch.from_numpy(np.load(chosen.volume))
    sides = [torch.linspace(-1, 1, n) for n in volume.shape]
    points = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3).flip(1)
    values, network = volume.reshape(-1), Siren()
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        adam.zero_grad()
        loss = torch.mean((network(points) - values) ** 2)
        loss.backward()
        adam.step()
        loss.item()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([*spent, peak]), flush=True)


main()
