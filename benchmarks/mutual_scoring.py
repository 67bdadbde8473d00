"""Mutual scoring, fast against published, in one run.

    python benchmarks/mutual_scoring.py

For each size: seconds for all patch scores of one layer by the published way (torch.cdist of one image against all
others, minimum, mean of the lowest 30 %), by `mutual_scores`, by a plain matrix product of the same pairs, which no
exact method can beat, and by `mutual_scores` with products in bfloat16. Methods take turns; the ratios are medians over
the rounds. Runs on two threads. On a processor without units for bfloat16 the last takes very long.
"""

import os
import platform
import re
import statistics
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from musc_lite import mutual_scores
from musc_lite.neighbors.brute_force import TILE_BYTES

SIZES = [(60, 256, 384), (30, 784, 384)]  # images N, patches M, channels C
ROUNDS = 5


def published_scores(tokens: Tensor) -> Tensor:
    """Score one image after the other against all others: (N, M)."""
    n_images, n_patches, n_channels = tokens.shape
    scores = []
    for i in range(n_images):
        others = torch.cat([tokens[:i], tokens[i + 1 :]]).reshape(-1, n_channels)
        nearest = torch.cdist(tokens[i], others).reshape(n_patches, n_images - 1, n_patches).amin(dim=-1)
        scores.append(nearest.topk(int(0.3 * (n_images - 1)), largest=False).values.mean(dim=1))
    return torch.stack(scores)


def plain_products(tokens: Tensor) -> None:
    """Multiply every pair of images once, in tiles of the same shape, and throw the products away."""
    n_images, n_patches, n_channels = tokens.shape
    step = max(1, TILE_BYTES // (n_patches**2 * tokens.element_size()))
    for i in range(n_images - 1):
        for start in range(i + 1, n_images, step):
            _ = tokens[start : start + step].reshape(-1, n_channels) @ tokens[i].T


def seconds(function, tokens: Tensor) -> float:
    """Time one call."""
    start = time.perf_counter()
    function(tokens)
    return time.perf_counter() - start


def machine() -> str:
    """Name the processor; Python does not know it on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(f"{machine()}, torch {torch.__version__}, 2 threads\n")
    print(
        "| N, M, C | published (s) | fast (s) | product (s) | bfloat16 (s) | published / fast | product / fast | "
        "published / bfloat16 | fast / bfloat16 | largest difference | of bfloat16 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    shortened = partial(mutual_scores, precision="bfloat16")
    for size in SIZES:
        tokens = F.normalize(torch.randn(size, generator=torch.Generator().manual_seed(0)), dim=-1)
        ways = (published_scores, mutual_scores, plain_products, shortened)
        published, exact, _, short = (way(tokens) for way in ways)
        differences = " | ".join(f"{(published - found).abs().max().item():.0e}" for found in (exact, short))
        rounds = [[seconds(way, tokens) for way in ways] for _ in range(ROUNDS)]
        times = " | ".join(f"{statistics.median(column):.2f}" for column in zip(*rounds, strict=True))
        pairs = [(0, 1), (2, 1), (0, 3), (1, 3)]
        ratios = " | ".join(f"{statistics.median(row[a] / row[b] for row in rounds):.2f}" for a, b in pairs)
        print(f"| {', '.join(map(str, size))} | {times} | {ratios} | {differences} |", flush=True)
