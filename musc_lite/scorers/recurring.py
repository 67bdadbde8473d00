"""Mutual scoring that is not misled by a defect that recurs: images that share it do not score each other there.

Where eight of 24 images show the same coin, the closest 30 % of the images of a patch on the coin all have one, so that
it passes for normal. Such a patch has a few very close images and then a jump; it is scored by the images behind the
jump, by the same interval average.

The distances d(1) <= d(2) <= ... from a normal patch to the other images grow slowly: the log-growth ln d(k + 1) / d(k)
is about exponential with mean 1 / (alpha k). A patch of a defect that q images share has q - 1 very close images, and
then a jump ("neighbor burn-out", CoDeGraph, arXiv 2510.10456). The jump of a patch is

    jump = max over k of k ln d(k + 1) / d(k),    2 <= k < N / 2

and the k images before it are linked to it. A patch recurs where the jump is large and its links are returned: at least
half of the linked images have a patch that is linked to its image. (CoDeGraph finds communities in the graph of these
links; here two images that return each other's links are one.)

A rare normal part that some images share, such as a screw, has the same distances: nothing here tells it from a defect.
What recurs in more than half of the images belongs to the product.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from musc_lite.neighbors.brute_force import (
    TILE_BYTES,
    compute_dtype,
    min_distances_to_references,
    pairwise_min_distances,
)
from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer, ScorerCost, ScoringContext, check_budget
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images, interval_bounds
from musc_lite.utils.validation import check_interval

AGREE = 0.5  # share of the linked images that must link back
LEAST = 0.01  # of the median distance: smaller ones are rounding, their ratios mean nothing


def distance_gaps(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Find where the sorted distances of each patch jump.

    Parameters
    ----------
    distances : Tensor (..., J)
        To the nearest patch of each of J images; infinite where a patch does not look.

    Returns
    -------
    jump : Tensor (...)
        The largest k ln d(k + 1) / d(k); 0 where J is below 6.
    k : Tensor (...)
        How many images lie before it.

    Examples
    --------
    >>> jump, k = distance_gaps(torch.tensor([0.1, 0.1, 0.1, 1.0, 1.1, 1.2, 1.2, 1.3]))
    >>> round(float(jump), 2), int(k)
    (6.91, 3)
    """
    ordered, most = distances.sort(dim=-1).values, distances.shape[-1] // 2 - 1
    if most < 2:
        return torch.zeros_like(ordered[..., 0]), torch.zeros_like(ordered[..., 0], dtype=torch.long)
    ordered = ordered[..., : most + 1].clamp(min=LEAST * float(ordered[ordered.isfinite()].median()))
    counts = torch.arange(2, most + 1, device=distances.device)
    growth = counts * (ordered[..., 2:] / ordered[..., 1:-1]).log()
    jump, place = growth.nan_to_num(nan=0.0, posinf=0.0).max(dim=-1)
    return jump, place + 2


def find_recurring(distances: Tensor, jump: float = 2.0) -> Tensor:
    """Find the patches that recur in a few images, and these images.

    Parameters
    ----------
    distances : Tensor (N, M, N)
        From each patch to the nearest patch of each image; infinite to its own image.
    jump : float
        The least jump, see above. Of normal patches it is below 2 nearly always.

    Returns
    -------
    Tensor (N, M, N) bool
        True at [i, m, j] where patch m of image i recurs in image j.

    Examples
    --------
    >>> distances = torch.full((8, 1, 8), 1.0)
    >>> distances[:3, 0, :3] = 0.1  # three images share something
    >>> distances[range(8), 0, range(8)] = torch.inf
    >>> find_recurring(distances)[:, 0].sum(dim=1)
    tensor([2, 2, 2, 0, 0, 0, 0, 0])
    """
    size, k = distance_gaps(distances)
    places = distances.argsort(dim=-1).argsort(dim=-1)  # 0: the closest image
    linked = (places < k[..., None]) & (size >= jump)[..., None]
    returned = linked.any(dim=1) & linked.any(dim=1).T  # (N, N)
    share = (linked & returned[:, None]).sum(dim=-1) / k.clamp(min=1)
    return linked & (share >= AGREE)[..., None]


def interval_average_excluding(
    distances: Tensor, left_out: Tensor, interval: tuple[float, float] = (0.0, 0.3)
) -> Tensor:
    """Average as `interval_average` does, for each patch over the images that are left.

    Parameters
    ----------
    distances : Tensor (..., J)
        Infinite where a patch does not look.
    left_out : Tensor (..., J) bool
    interval : (float, float)
        Shares of the images that are left.

    Returns
    -------
    Tensor (...)

    Examples
    --------
    >>> excluded = torch.tensor([True, True, False, False])
    >>> interval_average_excluding(torch.tensor([0.1, 0.2, 0.6, 0.8]), excluded, (0.0, 1.0))
    tensor(0.7000)
    """
    ordered = distances.masked_fill(left_out, torch.inf).sort(dim=-1).values
    counts = ordered.isfinite().sum(dim=-1)
    scores = torch.empty_like(ordered[..., 0])
    for count in counts.unique().tolist():  # patches with as many images left are averaged at once
        first, last = interval_bounds(count, interval)
        scores[counts == count] = ordered[counts == count][:, first:last].mean(dim=-1)
    return scores


@dataclass(frozen=True)
class Recurring:
    """Something that some images share and the others lack.

    Attributes
    ----------
    images : ndarray (K,)
        The images that share it.
    patches : ndarray (K,)
        Of each of them the patch that recurs most: whose distances jump most.
    jumps : ndarray (K,)
        By how much, see `distance_gaps`; 2 is needed, and rare among normal patches.
    """

    images: np.ndarray
    patches: np.ndarray
    jumps: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def recurring_patches(tokens: Tensor | np.ndarray, jump: float = 2.0) -> list[Recurring]:
    """Find what recurs in some images of a batch, and only there.

    A defect that the images share looks like this, but so does a rare normal part: look at it. What recurs in half of
    the images or more belongs to the product, and nothing is found in fewer than 6 images. All distances are held at
    once, 4 N^2 M bytes and three times as much while they are sorted.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens of one layer (`aggregate`). Middle blocks and r = 3 did well.
    jump : float
        See `find_recurring`.

    Returns
    -------
    list of Recurring
        What most images share first; empty where nothing recurs.

    Raises
    ------
    ValueError
        If there are fewer than two images, or the jump is not above 0.

    Examples
    --------
    >>> places = torch.arange(8.0)[:, None, None] / 100
    >>> places[:3] += 5  # three of eight images share what the others lack
    >>> [found.images.tolist() for found in recurring_patches(places)]
    [[0, 1, 2]]
    """
    RecurringScorer(jump=jump).check()
    return recurring_clusters(pairwise_min_distances(at_least_two_images(as_tokens(tokens))).transpose(1, 2), jump)


def recurring_clusters(distances: Tensor, jump: float) -> list[Recurring]:
    """Find the same from the distances (N, M, N) of each patch to the nearest patch of each image."""
    shared = find_recurring(distances, jump)
    size = distance_gaps(distances)[0].masked_fill(~shared.any(dim=-1), -torch.inf)  # (N, M)
    linked = shared.any(dim=1)
    linked = (linked & linked.T).cpu().numpy()
    n_things, thing = connected_components(linked, directed=False)
    each = [np.flatnonzero(thing == k) for k in range(n_things)]
    largest, patches = (found.cpu().numpy() for found in size.max(dim=1))
    found = [Recurring(images, patches[images], largest[images]) for images in each if len(images) > 1]
    return sorted(found, key=len, reverse=True)


class RecurringScorer(PatchScorer):
    """Score every patch by its nearest patches in the images that do not share a rare patch with it.

    An image of the batch does not see itself. Kept after a fit: which images share something. A rare normal part that
    some images share stands out too. (The idea of CoDeGraph, arXiv 2510.10456.)

    Parameters
    ----------
    interval : (float, float)
        Share of the closest images that are left, see `interval_average`.
    jump : float
        Patches recur whose sorted distances jump by so much, see `find_recurring`; infinite: none, mutual scoring.

    Examples
    --------
    >>> places = torch.arange(8.0)[:, None, None] / 100
    >>> places[:3] += 5  # three of eight images share what the others lack
    >>> RecurringScorer().fit_score(places)[:, 0] > 1
    tensor([ True,  True,  True, False, False, False, False, False])
    """

    summary = (
        "A patch is anomalous that lies far from the nearest patches of most other images; images that share a rare "
        "patch are left out of its score, so that a defect that recurs does not pass for normal."
    )
    saved = ("shared",)
    _shared: Tensor | None = None  # (N,) 1 for images that share something, else 0; after a fit

    def __init__(self, interval: tuple[float, float] = (0.0, 0.3), jump: float = 2.0):
        self.interval = interval
        self.jump = jump

    def check(self) -> None:
        """Raise an error for an interval that holds no image, and a jump that all distances make."""
        check_interval(self.interval)
        if not self.jump > 0:
            raise ValueError(f"jump must be above 0, of normal patches it is below 2; got {self.jump!r}")

    def provenance(self) -> dict[str, str]:
        """Name it, the jump and the interval."""
        return {
            "scorer": f"mutual scoring without the images that share a rare patch (jump of {self.jump:g})",
            "interval": f"{self.interval[0]:g} to {self.interval[1]:g} of the images that are left",
        }

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score a batch by itself, (N, M, C) -> (N, M)."""
        self.check()
        tokens = at_least_two_images(as_tokens(batch, keep_half=True))
        distances = pairwise_min_distances(tokens, context.progress, context.precision).transpose(1, 2)  # (N, M, N)
        left_out = find_recurring(distances, self.jump)
        self._shared = left_out.any(dim=1).any(dim=1).float().cpu()
        return torch.stack(
            [interval_average_excluding(d, out, self.interval) for d, out in zip(distances, left_out, strict=True)]
        )

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images against the batch, (Q, M, C) -> (Q, M); what the batch shares is left out there too."""
        batch = as_tokens(batch, keep_half=True)
        new = as_tokens(new, keep_half=True).to(batch)
        scores = new.new_empty(new.shape[:2], dtype=compute_dtype(new))
        shared = torch.zeros(len(batch)) if self._shared is None else self._shared

        def keep(i: int, nearest: Tensor) -> None:
            size, k = distance_gaps(nearest)
            linked = (nearest.argsort(dim=-1).argsort(dim=-1) < k[:, None]) & (size >= self.jump)[:, None]
            known = (linked * shared.to(nearest.device)).sum(dim=-1) / k.clamp(min=1) >= AGREE
            scores[i] = interval_average_excluding(nearest, linked & known[:, None], self.interval)

        min_distances_to_references(new, batch, keep, progress=context.progress, precision=context.precision)
        return scores

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch, in pairs of images; all distances and their order are held at once."""
        n_images, n_patches, n_channels = shape
        self.check()
        least = 40 * n_images**2 * n_patches + torch.get_num_threads() * 3 * TILE_BYTES
        check_budget(least, max_memory, shape, ". Give more, or divide the batch", "finding what recurs in")
        n_pairs = n_images * (n_images - 1) // 2
        return ScorerCost(n_pairs, n_pairs, n_channels, least)
