"""Stage 3, MSM (mutual scoring mechanism): the unlabeled images score each other, patch by patch.

A patch p of image i looks for its nearest patch in every *other* image j (paper, section "Mutual Scoring Mechanism"):

    a_i^m(j) = min over n of || p_i^m - p_j^n ||        `nearest_distances`
    a_i^m = mean of a_i^m(j) over the closest images j  `interval_average`

Normal patches find a close one almost everywhere, defects almost nowhere, so the mean over the closest 30 % of the
images is high for defects only. Cost: N (N - 1) / 2 products of (M x C) by (C x M).
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from musc_lite.aggregation import as_tokens

__all__ = [
    "interval_average",
    "mutual_scores",
    "nearest_distances",
    "nearest_patches",
    "patch_distances",
    "similar_patch_counts",
    "similarity_counts",
]

TILE_BYTES = 2**21  # distances held at once: a tile that stays in the processor's cache is read back quickly


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
        return torch.stack([_nearest_distances_of_image(tokens, i) for i in range(len(tokens))])
    if method == "fast":
        nearest = _all_nearest_distances(tokens)
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
    if np.shape(interval) != (2,) or not 0 <= interval[0] < interval[1] <= 1:
        raise ValueError(f"the interval needs two shares, 0 <= begin < end <= 1, got {interval}")
    if n_others == 0:
        raise ValueError("the distances lead to no other image: mutual scoring needs at least 2 images")
    first = int(n_others * interval[0])
    return first, max(int(n_others * interval[1]), first + 1)


def mutual_scores(
    tokens: Tensor | np.ndarray, *, interval: tuple[float, float] = (0.0, 0.3), method: str = "fast"
) -> Tensor:
    """Score every patch by the other images: `nearest_distances` and `interval_average` in one.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens.
    interval : (float, float)
        See `interval_average`.
    method : {"fast", "loop"}
        See `nearest_distances`. "fast" holds the N * N * M nearest distances, "loop" those of one image.

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; higher is more anomalous.

    Examples
    --------
    >>> mutual_scores(np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]], dtype=torch.float64)
    """
    tokens = _at_least_two_images(as_tokens(tokens))
    n_images = len(tokens)
    if method == "loop":
        others = (_nearest_distances_of_image(tokens, i) for i in range(n_images))
    elif method == "fast":
        nearest = _all_nearest_distances(tokens)
        others = (_drop_image(nearest[i], i).T for i in range(n_images))
    else:
        raise ValueError(f"method must be 'fast' or 'loop', got {method!r}")
    return torch.stack([interval_average(distances, interval) for distances in others])


def reference_distances(tokens: Tensor | np.ndarray, references: Tensor | np.ndarray) -> Tensor:
    """Give each patch of new images its distance to the nearest patch of every reference image.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens of the new images.
    references : (J, M, C)
        Aggregated patch tokens of the reference images, none of them among the new ones.

    Returns
    -------
    Tensor (N, M, J)

    Examples
    --------
    >>> reference_distances(np.array([[[0.0], [2.0]]]), np.array([[[0.0], [1.0]], [[3.0], [4.0]]]))
    tensor([[[0., 3.],
             [1., 1.]]], dtype=torch.float64)
    """
    tokens, references = as_tokens(tokens), as_tokens(references)
    step = max(1, TILE_BYTES // (tokens.shape[1] * references.shape[1] * tokens.element_size()))
    nearest = [
        torch.cat([_squared_distances(image, some).amin(dim=1) for some in references.split(step)])  # (J, M)
        for image in tokens
    ]
    return torch.stack(nearest).mT.clamp(min=0).sqrt()


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
    return _squared_distances(tokens[i, m : m + 1], tokens)[..., 0].clamp(min=0).sqrt()


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

    _for_each_pair(tokens, count)
    return counts


def _nearest_distances_of_image(tokens: Tensor, i: int) -> Tensor:
    """Evaluate the equation as it reads: distances of image i to each other image, (M, N - 1)."""
    others = [torch.cdist(tokens[i], tokens[j]).amin(dim=1) for j in range(len(tokens)) if j != i]
    return torch.stack(others, dim=-1)


def _all_nearest_distances(tokens: Tensor) -> Tensor:
    """All pairs at once, (N, N, M): entry [i, j, m] from patch m of image i to image j; [i, i] is infinite."""
    n_images, n_patches, _ = tokens.shape
    nearest = tokens.new_full((n_images, n_images, n_patches), torch.inf)

    def keep_nearest(i: int, others: slice, squared: Tensor) -> None:
        nearest[i, others] = squared.amin(dim=1)  # from image i to the others ...
        nearest[others, i] = squared.amin(dim=2)  # ... and from the others back, out of the same product

    _for_each_pair(tokens, keep_nearest)
    return nearest.clamp_(min=0).sqrt_()


def _for_each_pair(tokens: Tensor, use: Callable[[int, slice, Tensor], None]) -> None:
    """Visit every pair of images once: use(image i, slice of J images after it, squared distances (J, M, M)).

    Each thread works on tiles of its own. Threads that share a tile wait for each other after every operation,
    which takes several times as long as soon as another program wants the processor too.
    """
    n_images, n_patches, _ = tokens.shape
    step = max(1, TILE_BYTES // (n_patches**2 * tokens.element_size()))

    def visit(i: int) -> None:
        for start in range(i + 1, n_images, step):
            others = slice(start, min(start + step, n_images))
            use(i, others, _squared_distances(tokens[i], tokens[others]))

    n_threads = torch.get_num_threads()
    workers = n_threads if tokens.device.type == "cpu" else 1
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            deque(pool.map(visit, range(n_images - 1)), maxlen=0)  # raises what a thread raised
    finally:
        torch.set_num_threads(n_threads)


def _squared_distances(patches: Tensor, images: Tensor) -> Tensor:
    """|a|^2 + |b|^2 - 2ab for the patches (Q, C) and every patch of the images (J, M, C): (J, M, Q)."""
    n_images, n_patches, n_channels = images.shape
    references = images.reshape(-1, n_channels)  # (J M, C)
    squared = torch.addmm(patches.square().sum(dim=-1), references, patches.T, alpha=-2)  # (J M, Q)
    squared += torch.linalg.vector_norm(references, dim=-1, keepdim=True).square_()  # no copy of all references
    return squared.reshape(n_images, n_patches, len(patches))


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
