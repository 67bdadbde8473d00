"""Stage 3, MSM (mutual scoring mechanism): the unlabeled images score each other, patch by patch.

A patch p of image i looks for its nearest patch in every *other* image j (paper, section "Mutual Scoring Mechanism"):

    a_i^m(j) = min over n of || p_i^m - p_j^n ||        `nearest_distances`
    a_i^m = mean of a_i^m(j) over the closest images j  `interval_average`

Normal patches find a close one almost everywhere, defects almost nowhere, so the mean over the closest 30 % of the
images is high for defects only. Cost: N (N - 1) / 2 products of (M x C) by (C x M).

The equation reads as `_nearest_distances_of_image` has it; how it is evaluated fast is in `nearest`.
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from musc_lite.search.nearest import (
    TILE_BYTES,
    far_apart,
    for_each_pair,
    free_memory,
    nearest_of_pairs,
    nearest_to_references,
    precise,
    principal_axes,
    project,
    squared_distances,
)
from musc_lite.stages.aggregation import as_tokens
from musc_lite.support.parameters import check_interval, parse_bytes
from musc_lite.support.threads import on_all_cores

__all__ = [
    "interval_average",
    "mutual_scores",
    "nearest_distances",
    "nearest_patches",
    "patch_distances",
    "similar_patch_counts",
    "similarity_counts",
]


def nearest_distances(tokens: Tensor | np.ndarray, method: str = "fast") -> Tensor:
    """Give each patch its distance to the nearest patch of every other image.

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
    Distances come from products, |a|^2 + |b|^2 - 2ab, which loses digits near zero: two identical patches come
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
    tokens = _at_least_two_images(as_tokens(tokens))
    if method == "loop":
        return torch.stack([_nearest_distances_of_image(tokens, i, range(len(tokens))) for i in range(len(tokens))])
    if method == "fast":
        nearest = nearest_of_pairs(tokens)
        return torch.stack([_drop_image(nearest[i], i).T for i in range(len(tokens))])
    raise ValueError(f"method must be 'fast' or 'loop', got {method!r}")


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
    """Say which of n_others sorted distances an interval holds: [first, last), at least one of them."""
    check_interval(interval)
    if n_others == 0:
        raise ValueError("the distances lead to no other image: mutual scoring needs at least 2 images")
    first = int(n_others * interval[0])
    return first, max(int(n_others * interval[1]), first + 1)


def mutual_scores(
    tokens: Tensor | np.ndarray,
    *,
    interval: tuple[float, float] = (0.0, 0.3),
    method: str = "fast",
    references: int | Sequence[int] | None = None,
    n_components: int | None = None,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
    max_memory: int | str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Score every patch by the other images: `nearest_distances` and `interval_average` in one.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens. On a CPU half precision halves their memory; products are float32 all the same. On an
        NVIDIA GPU products are made in half precision and added up in float32: scores stay within 0.002.
    interval : (float, float)
        See `interval_average`.
    method : {"fast", "loop"}
        See `nearest_distances`; both give the same scores.
    references : int or sequence of int, optional
        Score every image by these images only, or by so many drawn at random (always the same ones for the same N):
        cost grows with N, not N^2. None: by all.
    n_components : int, optional
        Search among the first so many principal components of the (reference) tokens instead of all C channels.
    window : int, optional
        Look for the nearest patch only up to so many rows and columns away, for parts that lie alike in all images.
        None: everywhere.
    grid : (h, w), optional
        Rows and columns of patches, which a window needs to know; None: a square.
    max_memory : int or str, optional
        Bytes, or a text such as "2GB", that scoring may take beside the tokens. None: what is fastest, 4 N^2 M bytes
        for the distances of all pairs; on a GPU what is free there. Where that is too much, images are scored one
        after the other, for twice the products.
    progress : callable, optional
        Called from time to time with the number of pairs of images compared since the last call (`count_pairs`).

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; higher is more anomalous.

    Raises
    ------
    ValueError
        If a parameter does not fit the tokens, or max_memory is too small: the message says the smallest that works.

    Examples
    --------
    >>> mutual_scores(np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]], dtype=torch.float64)
    """
    tokens = _at_least_two_images(as_tokens(tokens, keep_half=True))
    n_images, n_patches, _ = tokens.shape
    chosen = choose_references(n_images, references)
    near = _near(window, grid, n_patches)
    if n_components is not None:
        tokens = project(tokens, principal_axes(tokens if references is None else tokens[chosen], n_components))
    if max_memory is None and tokens.is_cuda:
        max_memory = free_memory(tokens.device)
    if method not in ("loop", "fast"):
        raise ValueError(f"method must be 'fast' or 'loop', got {method!r}")
    scores = tokens.new_empty(n_images, n_patches, dtype=precise(tokens))
    if method == "loop":
        tokens = tokens.to(precise(tokens))
        for i in range(n_images):
            scores[i] = interval_average(_nearest_distances_of_image(tokens, i, chosen, **near), interval)
    elif shares_products(tokens.shape, references, window, max_memory):
        nearest = nearest_of_pairs(tokens, progress)

        def average(i: int) -> None:
            scores[i] = interval_average(_drop_image(nearest[i], i).T, interval)

        for _ in on_all_cores(average, range(n_images), tokens.device):
            pass
    else:

        def keep_average(i: int, nearest: Tensor) -> None:
            scores[i] = interval_average(nearest[:, chosen != i], interval)  # from (M, J), perhaps i among them

        compared = tokens if references is None else tokens[chosen]
        nearest_to_references(tokens, compared, keep_average, **near, progress=progress)
    return scores


def choose_references(n_images: int, references: int | Sequence[int] | None) -> Tensor:
    """Say which images the others are scored by: J indices in order, at least 2 of them.

    Examples
    --------
    >>> choose_references(5, None), choose_references(5, [4, 0]), len(choose_references(100, 10))
    (tensor([0, 1, 2, 3, 4]), tensor([0, 4]), 10)
    """
    if references is None:
        return torch.arange(n_images)
    if np.ndim(references) == 0:
        if not isinstance(references, Integral) or not 2 <= references <= n_images:
            raise ValueError(f"references must be 2 to {n_images} of the {n_images} images, got {references!r}")
        drawn = torch.randperm(n_images, generator=torch.Generator().manual_seed(0))
        return drawn[: int(references)].sort().values
    chosen = torch.unique(torch.as_tensor(references))
    if len(chosen) < 2 or chosen.is_floating_point() or chosen[0] < 0 or chosen[-1] >= n_images:
        raise ValueError(f"references must name at least 2 of the images 0 to {n_images - 1}, got {references}")
    return chosen


def shares_products(
    shape: tuple[int, int, int],
    references: int | Sequence[int] | None = None,
    window: int | None = None,
    max_memory: int | str | None = None,
) -> bool:
    """Tell whether one product can serve both directions of a pair: for all pairs, if their distances fit.

    Raises
    ------
    ValueError
        If max_memory is too small for any way.
    """
    n_images, n_patches, _ = shape
    if max_memory is not None:
        least = least_memory(shape, references)
        if parse_bytes(max_memory) < least:
            raise ValueError(
                f"scoring {n_images} images of {n_patches} patches takes at least {least} bytes beside the tokens; "
                f"max_memory={max_memory!r} is less. Give more, or fewer references"
            )
        if parse_bytes(max_memory) < 4 * n_images**2 * n_patches + least:
            return False
    return references is None and window is None


def least_memory(shape: tuple[int, int, int], references: int | Sequence[int] | None = None) -> int:
    """Count the bytes that scoring one image after the other holds beside the tokens (N, M, C): tiles and minima."""
    n_images, n_patches, n_channels = shape
    n_references = len(choose_references(n_images, references))
    compared = 0 if references is None else 4 * n_references * n_patches * n_channels  # a copy of their tokens
    return (
        4 * n_images * n_patches + torch.get_num_threads() * (3 * TILE_BYTES + 16 * n_references * n_patches) + compared
    )


def count_pairs(
    shape: tuple[int, int, int],
    references: int | Sequence[int] | None = None,
    window: int | None = None,
    max_memory: int | str | None = None,
) -> int:
    """Count the products of two images' tokens that `mutual_scores` makes.

    Examples
    --------
    >>> count_pairs((100, 256, 384)), count_pairs((100, 256, 384), references=10)
    (4950, 1000)
    """
    n_images = shape[0]
    if shares_products(shape, references, window, max_memory):
        return n_images * (n_images - 1) // 2
    return n_images * len(choose_references(n_images, references))


def reference_distances(
    tokens: Tensor | np.ndarray,
    references: Tensor | np.ndarray,
    *,
    n_components: int | None = None,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Give each patch of new images its distance to the nearest patch of every reference image.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens of the new images.
    references : (J, M, C)
        Aggregated patch tokens of the reference images, none of them among the new ones.
    n_components, window, grid
        See `mutual_scores`; the components are those of the references.

    Returns
    -------
    Tensor (N, M, J)

    Examples
    --------
    >>> reference_distances(np.array([[[0.0], [2.0]]]), np.array([[[0.0], [1.0]], [[3.0], [4.0]]]))
    tensor([[[0., 3.],
             [1., 1.]]], dtype=torch.float64)
    """
    tokens, references = as_tokens(tokens, keep_half=True), as_tokens(references, keep_half=True)
    near = _near(window, grid, tokens.shape[1])
    if n_components is not None:
        axes = principal_axes(references, n_components)
        tokens, references = project(tokens, axes), project(references, axes)
    distances = tokens.new_empty(*tokens.shape[:2], len(references), dtype=precise(tokens))
    nearest_to_references(tokens, references, lambda i, nearest: distances[i].copy_(nearest), **near)
    return distances


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
    tokens = _at_least_two_images(as_tokens(tokens))
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
    tokens = _at_least_two_images(as_tokens(tokens))
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


def _nearest_distances_of_image(
    tokens: Tensor,
    i: int,
    references: Sequence[int] | Tensor,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Evaluate the equation as it reads: distances of image i to each other image, (M, J)."""
    nearest = []
    for j in references:
        if j != i:
            distances = torch.cdist(tokens[i], tokens[j])  # (M, M)
            if window is not None:
                distances[far_apart(grid, window)] = torch.inf
            nearest.append(distances.amin(dim=1))
    return torch.stack(nearest, dim=-1)


def _at_least_two_images(tokens: Tensor) -> Tensor:
    if len(tokens) < 2:
        raise ValueError(f"mutual scoring compares images with each other: give at least 2, got {len(tokens)}")
    return tokens


def _drop_image(nearest: Tensor, i: int) -> Tensor:
    """Leave out row i of (N, M): an image does not score itself."""
    return torch.cat([nearest[:i], nearest[i + 1 :]])


def _checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    thresholds = [float(t) for t in thresholds]
    if not thresholds or not all(t >= 0 for t in thresholds):  # NaN fails too
        raise ValueError(f"thresholds are distances: give at least one, none below 0, got {thresholds}")
    return thresholds


def _near(window: int | None, grid: tuple[int, int] | None, n_patches: int) -> dict:
    """Check a window and the grid (h, w) that it moves over, a square where nothing else is said."""
    if window is None:
        return {}
    if not isinstance(window, Integral) or window < 0:
        raise ValueError(f"window must be a whole number of patches, 0 or more, got {window!r}")
    side = round(n_patches**0.5)
    h, w = (side, side) if grid is None else grid
    if h * w != n_patches:
        raise ValueError(f"a window needs to know the grid of the {n_patches} patches, got grid={grid}")
    return {"window": int(window), "grid": (h, w)}
