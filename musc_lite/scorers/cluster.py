"""Mutual scoring on several machines: blocks of image pairs as tasks of a Dask cluster.

Install it with `pip install 'musc-lite[cluster]'`. Every worker reads the features file (`Features.save`) itself, from
a folder that all of them see, so no tokens travel between machines, and a task that was lost with its worker is done
again by another one. A task compares two blocks of images of one layer; a worker keeps the last blocks that it has read
and aggregated.

It is meant for tokens that exceed one machine's memory, not for speed on one machine; neither that nor several
machines were tried. Two worker processes limited to 1 GB scored 512 images (0.2 GB of tokens) bit for bit as one
process did, and held 0.90 GB at most (`python benchmarks/cluster.py --only-memory`). The other scorers' cost does
not grow with the square of N, so that one machine will do.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from musc_lite.data.view import ResolvedView, split_grid_into_tiles
from musc_lite.neighbors.brute_force import (
    axes_of_moment,
    empty_tile,
    images_at_once,
    min_distances_to_references,
    pairwise_min_distances,
    project,
    second_moment,
    squared_distances,
)
from musc_lite.scorers.mutual import MutualScorer
from musc_lite.scorers.reference_images import choose_references
from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.features import framing_from_json
from musc_lite.stages.mutual_scoring import at_least_two_images, interval_average
from musc_lite.utils.errors import DataNotFoundError

if TYPE_CHECKING:
    from distributed import Client

KEPT_BLOCKS = 2  # aggregated blocks that a worker keeps: the two of a task, of which the next one often needs one

Images = tuple[int, ...]


@dataclass(frozen=True)
class _Search:
    """What a task must know beside its images; one search is not taken for another by what a worker keeps."""

    path: str  # of the features file
    stamp: tuple[int, int]  # which file of this name: when it was written and its inode, as clocks tick in milliseconds
    s: int
    r: int
    window: int | None
    tiles: tuple[int, int]
    axes: bytes | None = None


def mutual_scores_on_cluster(
    path: str | Path, client: "Client", *, s: int, r: int, scorer: MutualScorer | None = None, block: int = 64
) -> Tensor:
    """Score every patch as ``scorer.fit_score`` does, on a Dask cluster, in float32.

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
    scorer : MutualScorer, optional
        With its interval, references (a number of them or places in the file), n_components, search_window, aligned;
        None: one with the defaults.
    block : int
        Images in a block: a task compares two blocks, keeps 8 block^2 M bytes.

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; they differ from the scorer's own by rounding only.

    Raises
    ------
    DataNotFoundError
        If there is no such features file.
    TypeError
        If the scorer is another one.

    Examples
    --------
    .. code-block:: python

        client = distributed.Client("scheduler.local:8786")
        mutual_scores_on_cluster("features.safetensors", client, s=0, r=3, scorer=MutualScorer(references=200))
    """
    scorer = MutualScorer() if scorer is None else scorer
    if not isinstance(scorer, MutualScorer):
        raise TypeError(f"a cluster runs MutualScorer only, got {type(scorer).__name__}: one machine will do for it")
    path = Path(path).absolute()
    shape, resolved_view = _shape_and_framing(path)
    n_images = len(at_least_two_images(torch.empty(shape[0])))
    tiles = resolved_view.tiles if scorer.aligned else (1, 1)
    scorer.cost(shape, tiles=tiles)  # says what does not fit
    stamp = path.stat().st_mtime_ns, path.stat().st_ino
    search = _Search(str(path), stamp, s, r, scorer.search_window, tiles)
    blocks, chosen = _blocks(range(n_images), block), choose_references(n_images, scorer.references)
    compared = blocks if scorer.references is None else _blocks(chosen.tolist(), block)
    if scorer.n_components is not None:
        moments = client.gather([client.submit(_moment, search, images) for images in compared])
        axes = axes_of_moment(torch.from_numpy(sum(moments)), scorer.n_components)
        search = replace(search, axes=axes.float().numpy().tobytes())
    if scorer.references is None:
        pairs = combinations_with_replacement(range(len(blocks)), 2)
        both = {(a, b): client.submit(_compare, search, blocks[a], blocks[b]) for a, b in pairs}
        distances: list[tuple[list, list]] = [
            ([both[b, a] for b in range(a)], [both[a, b] for b in range(a, len(blocks))]) for a in range(len(blocks))
        ]
    else:
        distances = [([], [client.submit(_look, search, images, others) for others in compared]) for images in blocks]
    rows = [
        client.submit(_score, *distances[a], images, chosen.numpy(), scorer.interval) for a, images in enumerate(blocks)
    ]
    return torch.cat([torch.from_numpy(row) for row in client.gather(rows)])


def _blocks(images: range | list[int], block: int) -> list[Images]:
    return [tuple(images[start : start + block]) for start in range(0, len(images), block)]


def _shape_and_framing(path: Path) -> tuple[tuple[int, int, int], ResolvedView]:
    """Read the shape (N, M, C) of a layer, and how the images were looked at."""
    try:
        with safe_open(path, framework="pt") as file:
            n_images, _, n_patches, n_channels = file.get_slice("patch_tokens").get_shape()
            return (n_images, n_patches, n_channels), _framing(file)
    except (OSError, SafetensorError) as error:
        raise DataNotFoundError(f"{path} is not a complete features file ({error}); save the features again") from error


def _framing(file: safe_open) -> ResolvedView:
    return framing_from_json(json.loads(file.metadata()["features"]))


@lru_cache(maxsize=KEPT_BLOCKS)
def _tokens(search: _Search, images: Images) -> tuple[Tensor, list]:
    """Read a block of images, aggregate and project it: (J, M, C), and its `split_grid_into_tiles`."""
    with safe_open(search.path, framework="pt") as file:
        grid, stored = _framing(file).grid, file.get_slice("patch_tokens")
        tokens = aggregate(torch.cat([stored[i : i + 1, search.s] for i in images]), grid, search.r)
    if search.axes is not None:
        axes = torch.frombuffer(bytearray(search.axes), dtype=torch.float32)
        tokens = project(tokens, axes.view(tokens.shape[-1], -1))
    return tokens, split_grid_into_tiles(grid, search.tiles)


def _moment(search: _Search, images: Images) -> np.ndarray:
    return second_moment(_tokens(search, images)[0]).numpy()


def _compare(search: _Search, first: Images, second: Images) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest distances from the first block to the second, (I, J, M), and back, (J, I, M)."""
    (tokens, cells), (others, _) = _tokens(search, first), _tokens(search, second)
    there = torch.empty(len(first), len(second), tokens.shape[1])
    back = there if first == second else torch.empty(len(second), len(first), tokens.shape[1])
    for patches, grid in cells:
        some, other = tokens[:, patches], others[:, patches]
        if search.window is not None:
            there[..., patches] = _one_way(some, other, search.window, grid)
            if first != second:
                back[..., patches] = _one_way(other, some, search.window, grid)
        elif first == second:
            there[..., patches] = pairwise_min_distances(some)  # one product serves both directions
        else:
            there[..., patches], back[..., patches] = _nearest(some, other)
    return there.numpy(), back.numpy()


def _look(search: _Search, images: Images, references: Images) -> tuple[np.ndarray, None]:
    """Return the nearest distances from images to references, (I, J, M)."""
    (tokens, cells), (others, _) = _tokens(search, images), _tokens(search, references)
    there = torch.empty(len(images), len(references), tokens.shape[1])
    for patches, grid in cells:
        there[..., patches] = _one_way(tokens[:, patches], others[:, patches], search.window, grid)
    return there.numpy(), None


def _one_way(tokens: Tensor, others: Tensor, window: int | None, grid: tuple[int, int]) -> Tensor:
    """Return the nearest distances from images (I, m, C) to others (J, m, C): (I, J, m)."""
    there = torch.empty(len(tokens), len(others), tokens.shape[1])

    def keep(i: int, nearest: Tensor) -> None:
        there[i] = nearest.T

    min_distances_to_references(tokens, others, keep, window, grid)
    return there


def _nearest(tokens: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest distances from images (I, m, C) to others (J, m, C): (I, J, m), and back, (J, I, m)."""
    there = torch.empty(len(tokens), len(others), tokens.shape[1])
    back = torch.empty(len(others), len(tokens), tokens.shape[1])
    step = images_at_once(tokens.shape[1] ** 2, tokens.device)
    tile = empty_tile(tokens, step)
    for start in range(0, len(others), step):
        some = slice(start, start + step)
        for i, image in enumerate(tokens):
            squared = squared_distances(image, others[some], tile)  # (J, m, m)
            there[i, some], back[some, i] = squared.amin(dim=1), squared.amin(dim=2)
    return there.clamp_(min=0).sqrt_(), back.clamp_(min=0).sqrt_()


def _score(
    before: Sequence, after: Sequence, images: Images, compared: np.ndarray, interval: tuple[float, float]
) -> np.ndarray:
    """Score a block of images (I, M) by its distances to the blocks before it, to itself and to those after it."""
    parts = [back for _, back in before] + [there for there, _ in after]
    nearest = torch.from_numpy(np.concatenate(parts, axis=1))  # (I, J, M)
    others = [row[torch.from_numpy(compared != i)] for i, row in zip(images, nearest, strict=True)]  # not itself
    return torch.stack([interval_average(row.T, interval) for row in others]).numpy()
