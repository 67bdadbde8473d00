"""Where do images are flagged? Regions of anomalous patches, each with its size, its scores and a vector.

One threshold for a whole batch cuts faint defects away and lets strong ones grow into their surroundings, so each image
gets its own, half way between what is usual in it and its highest score:

    t_i = (median_m s_im + max_m s_im) / 2

That an image should choose the threshold of its main element is the idea of main element binarization (AnomalyNCD,
Huang et al., CVPR 2025, arXiv 2410.14379), which looks for the threshold at which the number of regions stays the same
for longest. Half way is simpler, and met the true defects about as well (`benchmarks/classes.py`).

A region's border is half surroundings. Its vector is therefore the mean over its core, the patches that lie at least
0.8 of the way from what is usual in the image to the region's own highest score.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import find_objects, label

from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.features import Features

HALF = 0.5  # of the way from an image's median score to its highest: there a region ends
CORE = 0.8  # of the way to the region's highest score: there its core ends
TOUCHING = np.ones((3, 3))  # patches that meet at a corner belong together: a scratch runs aslant


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of anomalous patches, K of them, by image.

    Attributes
    ----------
    grid : (int, int)
        Rows and columns (h, w) of patches.
    images : ndarray (K,)
        The image that each lies in.
    patches : tuple of K arrays of int
        The patches of each, row by row of the grid.
    cores : tuple of K arrays of int
        Those of them that make its vector.
    boxes : ndarray (K, 4)
        The first row and column of each, and those past its last ones: top, left, bottom, right, in patches.
    means, peaks : ndarray (K,)
        Mean and highest score of each.
    """

    grid: tuple[int, int]
    images: np.ndarray
    patches: tuple[np.ndarray, ...]
    cores: tuple[np.ndarray, ...]
    boxes: np.ndarray
    means: np.ndarray
    peaks: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Regions({len(self)} in {len(np.unique(self.images))} images)"

    @property
    def areas(self) -> np.ndarray:
        """How many patches each has, (K,)."""
        return np.array([len(patches) for patches in self.patches], dtype=int)

    @property
    def strongest(self) -> np.ndarray:
        """Of each image that has regions, the one with the highest score: indices, in the order of the images."""
        by_peak = np.lexsort((-self.peaks, self.images))
        return by_peak[np.unique(self.images[by_peak], return_index=True)[1]]

    def mask(self, k: int) -> np.ndarray:
        """Return a region on the grid: (h, w) bool."""
        mask = np.zeros(self.grid, dtype=bool)
        mask.ravel()[self.patches[k]] = True
        return mask


def find_regions(patch_scores: ArrayLike, grid: tuple[int, int], which: Iterable[int] | None = None) -> Regions:
    """Find where images are flagged from themselves: connected patches that score above the image's own threshold.

    Every image has a highest patch, so every image has a region, unless all its patches score the same: choose
    flagged images.

    Parameters
    ----------
    patch_scores : (N, M) or (..., N, M)
        Of each patch, row by row of the grid; more axes in front, such as layers, are averaged.
    grid : (int, int)
        Rows and columns (h, w) of patches.
    which : iterable of int, optional
        Images to look at; None: all.

    Returns
    -------
    Regions
        In the order of the images.

    Raises
    ------
    ValueError
        If the scores are not those of the grid's patches.

    Examples
    --------
    >>> found = find_regions([[0, 0, 0, 0, 8, 9, 0, 0, 0, 0, 0, 5]], grid=(3, 4))
    >>> found.peaks, found.areas, found.boxes.tolist()
    (array([9., 5.]), array([2, 1]), [[1, 0, 2, 2], [2, 3, 3, 4]])
    """
    scores = mean_patch_scores(patch_scores, grid)
    found: list[tuple] = []
    for i in range(len(scores)) if which is None else sorted(which):
        usual = np.median(scores[i])
        threshold = usual + HALF * (scores[i].max() - usual)
        marked, _ = label((scores[i] > threshold).reshape(grid), TOUCHING)
        for k, (rows, columns) in enumerate(find_objects(marked), start=1):
            patches = np.flatnonzero(marked == k)
            inside = scores[i][patches]
            box = rows.start, columns.start, rows.stop, columns.stop
            core = patches[inside - usual >= CORE * (inside.max() - usual)]
            found.append((i, patches, core, box, inside.mean(), inside.max()))
    images, patches, cores, boxes, means, peaks = zip(*found, strict=True) if found else [()] * 6
    return Regions(
        grid,
        np.array(images, dtype=int),
        tuple(patches),
        tuple(cores),
        np.array(boxes, dtype=int).reshape(-1, 4),
        np.array(means, dtype=float),
        np.array(peaks, dtype=float),
    )


def region_vectors(regions: Regions, features: Features, *, r: int = 1) -> tuple[np.ndarray, float]:
    """Describe each region by the mean of its core's aggregated patch tokens, at unit length, the layers side by side.

    Parameters
    ----------
    regions : Regions
        At least one.
    features : Features
        Of the same images.
    r : int
        Aggregation degree. 1: the region alone speaks, not its surroundings.

    Returns
    -------
    vectors : ndarray (K, S * C)
    spread : float
        How far all patches of these images lie from their mean, root mean square: a unit for distances of vectors,
        which depend on the backbone and the layers.

    Raises
    ------
    ValueError
        If the features have another grid, or fewer images.
    """
    check_fit(regions, features)
    used = np.unique(regions.images)
    place = {int(i): k for k, i in enumerate(used)}
    layers, variances = [], []
    for s in range(len(features.layers)):
        tokens = aggregate(features.patch_tokens[used, s], features.grid, r)  # (used images, M, C), unit vectors
        means = [tokens[place[int(i)], core].mean(dim=0) for i, core in zip(regions.images, regions.cores, strict=True)]
        layers.append(torch.nn.functional.normalize(torch.stack(means), dim=-1))
        variances.append(1 - tokens.mean(dim=(0, 1)).square().sum().item())
    vectors = torch.cat(layers, dim=1) / np.sqrt(len(layers))
    return vectors.numpy(), float(np.sqrt(np.mean(variances)))


def mean_patch_scores(patch_scores: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Average scores (..., N, M) to (N, M), or say that they are not those of the grid's patches."""
    scores = np.asarray(patch_scores, dtype=float)
    if scores.ndim < 2 or scores.shape[-1] != grid[0] * grid[1]:
        raise ValueError(
            f"patch scores need the shape (..., images, {grid[0] * grid[1]}) for a grid of {grid[0]} x {grid[1]} "
            f"patches, got {scores.shape}: such as detector.patch_scores_"
        )
    return scores.reshape(-1, *scores.shape[-2:]).mean(axis=0)


def check_fit(regions: Regions, features: Features) -> None:
    """Raise an error for features of other images, as far as that shows."""
    if regions.grid != features.grid or regions.images.max(initial=-1) >= len(features):
        raise ValueError(
            f"the regions lie on a grid of {regions.grid[0]} x {regions.grid[1]} patches in images up to number "
            f"{regions.images.max(initial=-1)}; these are {features!r}: give the features that were scored"
        )
