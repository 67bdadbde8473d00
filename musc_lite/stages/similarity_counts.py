"""How near a similar patch is, and how many each patch has at every threshold at once: for a slider.

`mutual_scoring.similar_patch_counts` says what is counted, and compares every distance with every threshold. Here each
distance falls into its bin once.
"""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from musc_lite.neighbors.brute_force import for_each_pair
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images

NEAR_AN_EDGE = 1e-3  # of a bin: there the root's rounding could choose the other side, and the edge itself is asked


def default_features(n_layers: int, degrees: Sequence[int]) -> tuple[int, int]:
    """Return the features that similar patches are counted in by default: the middle layer's index, and r.

    Examples
    --------
    >>> default_features(6, [1, 3]), default_features(1, [1])
    ((3, 3), (0, 1))
    """
    return n_layers // 2, 3 if 3 in degrees else max(degrees)


def default_threshold(scores: ArrayLike) -> float:
    """Return the largest distance at which patches count as similar by default.

    The score of a patch is its mean distance to the nearest patches of the closest images. In each image the patch with
    the highest score is rare. Half of the images have only patches below this threshold, so an ordinary patch finds a
    similar one in most images, and a defect in few.

    Parameters
    ----------
    scores : (N, M)
        Patch scores from the same distances that are compared with the threshold: of one layer and degree r.

    Returns
    -------
    float
        The median over images of the highest score, in hundredths, 0.01 to 2.

    Examples
    --------
    >>> default_threshold([[0.1, 0.32], [0.2, 0.3], [0.1, 0.9]])
    0.32
    """
    highest = np.asarray(scores).max(axis=1)
    return min(max(round(float(np.median(highest)), 2), 0.01), 2.0)


def similar_patch_counts_in_steps(
    tokens: Tensor | np.ndarray,
    n_per_unit: int = 100,
    largest: int = 2,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Return `similar_patch_counts` at the thresholds 0, 1 / n, 2 / n, ... in one pass that does not grow with them.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens of unit length.
    n_per_unit : int
        Thresholds to a distance of 1.
    largest : int
        The last threshold; unit vectors lie at most 2 apart.
    progress : callable, optional
        Called with the number of pairs of images compared since the last call; what it raises ends the work.

    Returns
    -------
    Tensor (N, M, T) of int32
        T = n_per_unit * largest + 1; entry [i, m, t] counts what lies within t / n_per_unit.

    Examples
    --------
    >>> tokens = np.array([[[0.0], [1.0]], [[0.0], [1.5]], [[0.0], [1.0]]])
    >>> similar_patch_counts_in_steps(tokens, n_per_unit=2)[0]  # within 0, 0.5, 1, 1.5 and 2
    tensor([[2, 2, 3, 4, 4],
            [1, 2, 4, 4, 4]], dtype=torch.int32)
    """
    tokens = at_least_two_images(as_tokens(tokens))
    n_images, n_patches, _ = tokens.shape
    n_bins = n_per_unit * largest + 2  # the last one holds what lies farther
    edges = torch.tensor([(k / n_per_unit) ** 2 for k in range(n_bins - 1)], dtype=tokens.dtype, device=tokens.device)
    counts = torch.zeros(n_images, n_patches, n_bins, dtype=torch.int32, device=tokens.device)
    of_patch = torch.arange(n_patches, dtype=torch.int32, device=tokens.device) * n_bins
    one_at_a_time = Lock()  # two threads may add to the same image

    def count(i: int, others: slice, squared: Tensor) -> None:
        bins = _bins(squared, edges, n_per_unit)  # (J, M, M)
        of_image = torch.bincount((bins + of_patch).ravel(), minlength=n_patches * n_bins)
        bins = bins.mT + of_patch  # patches of the others last: (J, M of i, M of j)
        of_others = [torch.bincount(image.ravel(), minlength=n_patches * n_bins) for image in bins]
        with one_at_a_time:
            counts[i] += of_image.view(n_patches, n_bins)
            counts[others] += torch.stack(of_others).view(-1, n_patches, n_bins)

    for_each_pair(tokens, count, progress)
    return counts.cumsum(dim=-1, dtype=torch.int32)[..., :-1]


def _bins(squared: Tensor, edges: Tensor, n_per_unit: int) -> Tensor:
    """Return the first edge that each squared distance does not exceed; one past the last if there is none."""
    places = squared.clamp(min=0).sqrt_().mul_(n_per_unit)
    bins = places.ceil().clamp_(max=len(edges)).int()
    unsure = (places - places.round()).abs_() < NEAR_AN_EDGE
    bins[unsure] = torch.bucketize(squared[unsure], edges, out_int32=True)
    return bins
