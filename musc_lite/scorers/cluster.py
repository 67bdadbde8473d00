"""Mutual scoring on several machines: blocks of image pairs as tasks of a Dask cluster.

Install it with `pip install 'musc-lite[cluster]'`. Every worker reads the features file (`Features.save`) itself, from
a folder that all of them see, so no tokens travel between machines, and a task that was lost with its worker is done
again by another one. A task reads two blocks of images, one layer of each, and compares all that is to be compared in
them: everything, or, `aligned`, each tile with the same tile.
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
from musc_lite.stages.features import framing_from_json
from musc_lite.stages.mutual_scoring import interval_average
from musc_lite.support.errors import DataNotFoundError
from musc_lite.views import Framing, cells_of_grid

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
    aligned: bool = False,
) -> Tensor:
    """Score every patch by all other images, as `MutualScorer` does, on a Dask cluster.

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
    aligned : bool
        Look only in the same tile of the other images, of the tiles that the features were made of (`View`): of T tiles
        1/T of the products, and as much reading.

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; they differ from those of `MutualScorer` by rounding only.

    Raises
    ------
    DataNotFoundError
        If there is no such features file.
    """
    path = str(Path(path).absolute())
    n_images, framing = _n_images_and_framing(path)
    if n_images < 2:
        raise ValueError(f"mutual scoring compares images with each other: give at least 2, got {n_images}")
    blocks = [range(start, min(start + block, n_images)) for start in range(0, n_images, block)]
    pairs = combinations_with_replacement(range(len(blocks)), 2)
    tiles = framing.tiles if aligned else (1, 1)
    compared = {(a, b): client.submit(_compare, path, s, r, blocks[a], blocks[b], tiles) for a, b in pairs}
    rows = []
    for a in range(len(blocks)):
        before, after = [compared[b, a] for b in range(a)], [compared[a, b] for b in range(a, len(blocks))]
        rows.append(client.submit(_score, before, after, blocks[a], interval))
    return torch.cat([torch.from_numpy(row) for row in client.gather(rows)])


def _n_images_and_framing(path: str) -> tuple[int, Framing]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_slice("patch_tokens").get_shape()[0], _framing(file)
    except (OSError, SafetensorError) as error:
        raise DataNotFoundError(f"{path} is not a complete features file ({error}); save the features again") from error


def _framing(file: safe_open) -> Framing:
    return framing_from_json(json.loads(file.metadata()["features"]))


def _tokens(path: str, s: int, r: int, images: range) -> tuple[Tensor, tuple[int, int]]:
    """Read a block of images and aggregate it, (J, M, C), on a grid (h, w)."""
    with safe_open(path, framework="pt") as file:
        grid = _framing(file).grid
        return aggregate(file.get_slice("patch_tokens")[images.start : images.stop, s], grid, r), grid


def _compare(
    path: str, s: int, r: int, first: range, second: range, tiles: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Give the nearest distances from the first block to the second, (I, J, M), and back, (J, I, M)."""
    tokens, grid = _tokens(path, s, r, first)
    cells = [patches for patches, _ in cells_of_grid(grid, tiles)]
    there = torch.empty(len(first), len(second), tokens.shape[1])
    if first == second:
        for patches in cells:
            there[..., patches] = nearest_of_pairs(tokens[:, patches])  # one product serves both directions
        nearest = there.numpy()
        return nearest, nearest
    others = _tokens(path, s, r, second)[0]
    back = torch.empty(len(second), len(first), tokens.shape[1])
    for patches in cells:
        there[..., patches], back[..., patches] = _nearest(tokens[:, patches], others[:, patches])
    return there.numpy(), back.numpy()


def _nearest(tokens: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Give the nearest distances from images (I, m, C) to others (J, m, C): (I, J, m), and back, (J, I, m)."""
    there = torch.empty(len(tokens), len(others), tokens.shape[1])
    back = torch.empty(len(others), len(tokens), tokens.shape[1])
    step = images_at_once(tokens.shape[1] ** 2, tokens.device)
    for start in range(0, len(others), step):
        some = slice(start, start + step)
        for i, image in enumerate(tokens):
            squared = squared_distances(image, others[some])  # (J, m, m)
            there[i, some], back[some, i] = squared.amin(dim=1), squared.amin(dim=2)
    return there.clamp_(min=0).sqrt_(), back.clamp_(min=0).sqrt_()


def _score(before: Sequence, after: Sequence, images: range, interval: tuple[float, float]) -> np.ndarray:
    """Score a block of images (I, M) by its distances to the blocks before it, to itself and to those after it."""
    nearest = np.concatenate([back for _, back in before] + [there for there, _ in after], axis=1)  # (I, N, M)
    nearest = torch.from_numpy(nearest)
    others = [torch.cat([row[:i], row[i + 1 :]]) for i, row in zip(images, nearest, strict=True)]  # not itself
    return torch.stack([interval_average(row.T, interval) for row in others]).numpy()
