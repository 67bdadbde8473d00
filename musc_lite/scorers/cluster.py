"""Mutual scoring on several machines: blocks of image pairs as tasks of a Dask cluster.

Install it with `pip install 'musc-lite[cluster]'`. Every worker reads the features file (`Features.save`) itself, from
a folder that all of them see, so no tokens travel between machines, and a task that was lost with its worker is done
again by another one.
"""

import json
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from musc_lite.search.nearest import images_at_once, nearest_of_pairs, squared_distances
from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.mutual_scoring import interval_average
from musc_lite.support.errors import DataNotFoundError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["mutual_scores_on_cluster"]


def mutual_scores_on_cluster(
    path: str | Path,
    client: "Client",
    *,
    s: int,
    r: int,
    interval: tuple[float, float] = (0.0, 0.3),
    block: int = 64,
) -> Tensor:
    """Score every patch by all other images, as `mutual_scores` does, on a Dask cluster.

    Parameters
    ----------
    path : str or Path
        Features file of N images, where every worker can read it.
    client : distributed.Client
        Of the cluster.
    s : int
        Index of the layer in the file.
    r : int
        Aggregation degree.
    interval : (float, float)
        See `interval_average`.
    block : int
        Images in a block: a task compares two blocks, keeps 8 block^2 M bytes.

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; they differ from `mutual_scores` by rounding only.

    Raises
    ------
    DataNotFoundError
        If there is no such features file.
    """
    path = str(Path(path).absolute())
    n_images = _n_images(path)
    if n_images < 2:
        raise ValueError(f"mutual scoring compares images with each other: give at least 2, got {n_images}")
    blocks = [range(start, min(start + block, n_images)) for start in range(0, n_images, block)]
    pairs = combinations_with_replacement(range(len(blocks)), 2)
    compared = {(a, b): client.submit(_compare, path, s, r, blocks[a], blocks[b]) for a, b in pairs}
    rows = []
    for a in range(len(blocks)):
        before, after = [compared[b, a] for b in range(a)], [compared[a, b] for b in range(a, len(blocks))]
        rows.append(client.submit(_score, before, after, blocks[a], interval))
    return torch.cat([torch.from_numpy(row) for row in client.gather(rows)])


def _n_images(path: str) -> int:
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_slice("patch_tokens").get_shape()[0]
    except (OSError, SafetensorError) as error:
        raise DataNotFoundError(f"{path} is not a complete features file ({error}); save the features again") from error


def _tokens(path: str, s: int, r: int, images: range) -> Tensor:
    """Read a block of images and aggregate it, (J, M, C)."""
    with safe_open(path, framework="pt") as file:
        grid = json.loads(file.metadata()["features"])["grid"]
        return aggregate(file.get_slice("patch_tokens")[images.start : images.stop, s], tuple(grid), r)


def _compare(path: str, s: int, r: int, first: range, second: range) -> tuple[np.ndarray, np.ndarray]:
    """Give the nearest distances from the first block to the second, (I, J, M), and back, (J, I, M)."""
    tokens = _tokens(path, s, r, first)
    if first == second:
        nearest = nearest_of_pairs(tokens).numpy()  # one product serves both directions
        return nearest, nearest
    others = _tokens(path, s, r, second)
    there = torch.empty(len(first), len(second), tokens.shape[1])
    back = torch.empty(len(second), len(first), tokens.shape[1])
    step = images_at_once(tokens.shape[1] ** 2, tokens.device)
    for start in range(0, len(second), step):
        some = slice(start, start + step)
        for i, image in enumerate(tokens):
            squared = squared_distances(image, others[some])  # (J, M, M)
            there[i, some], back[some, i] = squared.amin(dim=1), squared.amin(dim=2)
    return there.clamp_(min=0).sqrt_().numpy(), back.clamp_(min=0).sqrt_().numpy()


def _score(before: Sequence, after: Sequence, images: range, interval: tuple[float, float]) -> np.ndarray:
    """Score a block of images (I, M) by its distances to the blocks before it, to itself and to those after it."""
    nearest = np.concatenate([back for _, back in before] + [there for there, _ in after], axis=1)  # (I, N, M)
    nearest = torch.from_numpy(nearest)
    others = [torch.cat([row[:i], row[i + 1 :]]) for i, row in zip(images, nearest, strict=True)]  # not itself
    return torch.stack([interval_average(row.T, interval) for row in others]).numpy()
