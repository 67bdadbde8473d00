"""What recurs in a few images: a defect, or a rare normal part, that they share.

Each image is linked to those that share a rare patch with it (`stages.recurring`); images that hang together by such
links share one thing. (CoDeGraph, arXiv 2510.10456, looks for communities in a graph of such links.)
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from musc_lite.neighbors.brute_force import nearest_of_pairs
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.stages.recurring import find_recurring, jumps

__all__ = ["Recurring", "recurring_patches"]


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
        By how much, see `stages.recurring`; 2 is needed, and rare among normal patches.
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
    if not jump > 0:
        raise ValueError(f"jump must be above 0, of normal patches it is below 2; got {jump!r}")
    return things_shared(nearest_of_pairs(at_least_two_images(as_tokens(tokens))).transpose(1, 2), jump)


def things_shared(distances: Tensor, jump: float) -> list[Recurring]:
    """Find the same from the distances (N, M, N) of each patch to the nearest patch of each image."""
    shared = find_recurring(distances, jump)
    size = jumps(distances)[0].masked_fill(~shared.any(dim=-1), -torch.inf)  # (N, M)
    linked = shared.any(dim=1)
    linked = (linked & linked.T).cpu().numpy()
    n_things, thing = connected_components(linked, directed=False)
    each = [np.flatnonzero(thing == k) for k in range(n_things)]
    largest, patches = (found.cpu().numpy() for found in size.max(dim=1))
    found = [Recurring(images, patches[images], largest[images]) for images in each if len(images) > 1]
    return sorted(found, key=len, reverse=True)
