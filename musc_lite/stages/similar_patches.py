"""How many patches of the other images are similar to each patch, at every threshold at once: for a slider.

`mutual_scoring.similar_patch_counts` says what is counted, and compares every distance with every threshold. Here each
distance falls into its bin once.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from musc_lite.search.nearest import for_each_pair
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images

__all__ = ["similar_patch_counts_in_steps"]

NEAR_AN_EDGE = 1e-3  # of a bin: there the root's rounding could choose the other side, and the edge itself is asked


def similar_patch_counts_in_steps(
    tokens: Tensor | np.ndarray,
    n_per_unit: int = 100,
    largest: int = 2,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Give `similar_patch_counts` at the thresholds 0, 1 / n, 2 / n, ... in one pass that does not grow with them.

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
    """Give the first of the edges that each squared distance does not exceed; one past the last where there is none."""
    places = squared.clamp(min=0).sqrt_().mul_(n_per_unit)
    bins = places.ceil().clamp_(max=len(edges)).int()
    unsure = (places - places.round()).abs_() < NEAR_AN_EDGE
    bins[unsure] = torch.bucketize(squared[unsure], edges, out_int32=True)
    return bins
