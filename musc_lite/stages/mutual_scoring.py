"""Stage 3, MSM (mutual scoring mechanism): the unlabeled images score each other, patch by patch.

A patch p of image i looks for its nearest patch in every *other* image j (paper, section "Mutual Scoring Mechanism"):

    a_i^m(j) = min over n of || p_i^m - p_j^n ||        `nearest_distances_of_image`
    a_i^m = mean of a_i^m(j) over the closest images j  `interval_average`

Normal patches find a close one almost everywhere, defects almost nowhere, so the mean over the closest 30 % of the
images is high for defects only. Cost: N (N - 1) / 2 products of (M x C) by (C x M).

Here the equations stand as they read; `scorers.mutual` scores a whole batch by them, and how nearest patches are found
fast is in `search.nearest`.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import for_each_pair, pairwise_min_distances, squared_distances
from musc_lite.neighbors.windows import grid_of_window, outside_window
from musc_lite.stages.aggregation import as_tokens
from musc_lite.utils.validation import check_interval


def nearest_distances_of_image(
    tokens: Tensor,
    i: int,
    references: Sequence[int] | Tensor,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Evaluate the equation as it reads: each patch of image i looks for its nearest in every other image.

    Parameters
    ----------
    tokens : Tensor (N, M, C)
        Aggregated patch tokens.
    i : int
        The image whose patches look.
    references : sequence of int
        The images j; i itself is left out, an image does not score itself.
    window, grid
        Look only so many rows and columns away on the grid (h, w).

    Returns
    -------
    Tensor (M, J)
        ``a_i^m(j)``: entry [m, k] leads from patch m to the k-th of the other images.

    Examples
    --------
    >>> tokens = torch.tensor([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]])  # 3 images, 2 patches, 1 channel
    >>> nearest_distances_of_image(tokens, 1, range(3))
    tensor([[0., 0.],
            [4., 4.]])
    """
    nearest = []
    for j in references:
        if j != i:
            distances = torch.cdist(tokens[i], tokens[j])  # (M, M)
            if window is not None:
                distances[outside_window(grid_of_window(grid), window)] = torch.inf
            nearest.append(distances.amin(dim=1))
    return torch.stack(nearest, dim=-1)


def interval_average(distances: Tensor | np.ndarray, interval: tuple[float, float] = (0.0, 0.3)) -> Tensor:
    """Average the distances within an interval of their sorted order: the paper's interval average.

    Parameters
    ----------
    distances : (..., J)
        Distances to J images, such as `nearest_distances` returns.
    interval : (float, float)
        Begin and end as shares of J, 0 <= begin < end <= 1; (0, 0.3) is the closest 30 % of the images.

    Returns
    -------
    Tensor (...)
        The anomaly score of each patch; higher is more anomalous.

    Notes
    -----
    Differs from the reference: the interval holds at least one image (published code: NaN with fewer than 5
    images), and an end of 1.0 means all images (published code: one image).

    Examples
    --------
    >>> interval_average(np.array([0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.4, 0.5, 1.0]))  # the mean of .1, .2, .3
    tensor(0.2000, dtype=torch.float64)
    """
    distances = torch.as_tensor(distances)
    first, last = interval_bounds(distances.shape[-1], interval)
    return distances.topk(last, dim=-1, largest=False).values[..., first:].mean(dim=-1)


def interval_bounds(n_others: int, interval: tuple[float, float]) -> tuple[int, int]:
    """Return which of n_others sorted distances an interval holds: [first, last), at least one of them."""
    check_interval(interval)
    if n_others == 0:
        raise ValueError("the distances lead to no other image: mutual scoring needs at least 2 images")
    first = int(n_others * interval[0])
    return first, max(int(n_others * interval[1]), first + 1)


def nearest_distances(tokens: Tensor | np.ndarray, method: str = "fast") -> Tensor:
    """Return each patch its distance to the nearest patch of every other image.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens; unit length is usual, any length is allowed.
    method : {"fast", "loop"}
        "loop" is the equation as it reads; "fast" gives the same distances from one matrix product for both
        directions of a pair of images.

    Returns
    -------
    Tensor (N, M, N - 1)
        Euclidean distances; the last axis runs over the other images in their order.

    Raises
    ------
    ValueError
        If there are fewer than 2 images or the method is unknown.

    Notes
    -----
    Distances come from products, ``|a|^2 + |b|^2 - 2ab``, which loses digits near zero: two identical patches come
    out near 1e-3, not 0 (the published code likewise).

    Examples
    --------
    >>> tokens = np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]])  # 3 images, 2 patches, 1 channel
    >>> nearest_distances(tokens)
    tensor([[[0., 0.],
             [1., 0.]],
            [[0., 0.],
             [4., 4.]],
            [[0., 0.],
             [0., 1.]]], dtype=torch.float64)
    """
    tokens = at_least_two_images(as_tokens(tokens))
    if method == "loop":
        return torch.stack([nearest_distances_of_image(tokens, i, range(len(tokens))) for i in range(len(tokens))])
    if method == "fast":
        nearest = pairwise_min_distances(tokens)
        return torch.stack([drop_image(nearest[i], i).T for i in range(len(tokens))])
    raise ValueError(f"method must be 'fast' or 'loop', got {method!r}")


def patch_distances(tokens: Tensor | np.ndarray, i: int, m: int) -> Tensor:
    """Measure the distance from one patch to every patch of the batch.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens.
    i, m : int
        The query image and its query patch.

    Returns
    -------
    Tensor (N, M)
        The patches of image i, m itself among them, are there too.

    Raises
    ------
    ValueError
        If there is no such patch, or only one image.

    Examples
    --------
    >>> patch_distances(np.array([[[0.0], [1.0]], [[3.0], [5.0]]]), i=1, m=0)
    tensor([[3., 2.],
            [0., 2.]], dtype=torch.float64)
    """
    tokens = at_least_two_images(as_tokens(tokens))
    n_images, n_patches, _ = tokens.shape
    if not (0 <= i < n_images and 0 <= m < n_patches):
        raise ValueError(f"there is no patch (image {i}, patch {m}): {n_images} images of {n_patches} patches")
    return squared_distances(tokens[i, m : m + 1], tokens)[..., 0].clamp(min=0).sqrt()


def nearest_patches(tokens: Tensor | np.ndarray, i: int, m: int) -> tuple[Tensor, Tensor]:
    """Find the patch nearest to one patch in every other image.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens.
    i, m : int
        The query image and its query patch.

    Returns
    -------
    distances : Tensor (N,)
        Distance to the nearest patch of each image; infinite at i, an image does not score itself.
    patches : Tensor (N,)
        Which patch that is; -1 at i.

    Examples
    --------
    >>> nearest_patches(np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]), i=1, m=1)
    (tensor([4., inf, 4.], dtype=torch.float64), tensor([ 1, -1,  1]))
    """
    distances, patches = patch_distances(tokens, i, m).min(dim=1)  # (N,), (N,)
    distances[i], patches[i] = torch.inf, -1
    return distances, patches


def similarity_counts(distances: Tensor | np.ndarray, threshold: float) -> Tensor:
    """Count the other images that hold a patch within a distance: the paper's key observation in a number.

    Parameters
    ----------
    distances : (N, M, N - 1)
        What `nearest_distances` returns.
    threshold : float
        Largest distance that counts as similar.

    Returns
    -------
    Tensor (N, M) of integers, 0 to N - 1

    Examples
    --------
    >>> similarity_counts(np.array([[[0.1, 0.4, 0.3]]]), threshold=0.3)
    tensor([[2]])
    """
    return (torch.as_tensor(distances) <= _checked_thresholds([threshold])[0]).sum(dim=-1)


def similar_patch_counts(tokens: Tensor | np.ndarray, thresholds: Sequence[float]) -> Tensor:
    """Count the patches of all other images that lie within each distance, in one pass for all thresholds.

    `similar_patches.similar_patch_counts_in_steps` counts the same at many equally spaced thresholds faster.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens.
    thresholds : T floats
        Largest distances that count as similar, in any order.

    Returns
    -------
    Tensor (N, M, T) of integers, 0 to (N - 1) M

    Examples
    --------
    >>> tokens = np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]])
    >>> similar_patch_counts(tokens, thresholds=[0.5, 1.0])[0]
    tensor([[2, 3],
            [1, 3]])
    """
    tokens = at_least_two_images(as_tokens(tokens))
    squared_thresholds = [t**2 for t in _checked_thresholds(thresholds)]
    counts = tokens.new_zeros((*tokens.shape[:2], len(squared_thresholds)), dtype=torch.int64)
    one_at_a_time = Lock()  # two threads may add to the same image

    def count(i: int, others: slice, squared: Tensor) -> None:
        for t, limit in enumerate(squared_thresholds):
            similar = squared <= limit  # (J, M, M)
            of_image, of_others = similar.sum(dim=(0, 1)), similar.sum(dim=2)
            with one_at_a_time:
                counts[i, :, t] += of_image
                counts[others, :, t] += of_others

    for_each_pair(tokens, count)
    return counts


def at_least_two_images(tokens: Tensor) -> Tensor:
    """Raise an error for a single image: it has nothing to be compared with."""
    if len(tokens) < 2:
        raise ValueError(f"mutual scoring compares images with each other: give at least 2, got {len(tokens)}")
    return tokens


def drop_image(nearest: Tensor, i: int) -> Tensor:
    """Leave out row i of (N, M): an image does not score itself."""
    return torch.cat([nearest[:i], nearest[i + 1 :]])


def _checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    thresholds = [float(t) for t in thresholds]
    if not thresholds or not all(t >= 0 for t in thresholds):  # NaN fails too
        raise ValueError(f"thresholds are distances: give at least one, none below 0, got {thresholds}")
    return thresholds
