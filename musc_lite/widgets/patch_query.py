"""What a patch finds in the other images: the numbers behind `PatchExplorer`."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from musc_lite.stages.mutual_scoring import interval_average, interval_bounds

__all__ = ["Answer", "answer"]


@dataclass(frozen=True)
class Answer:
    """What one patch finds in the other images, or a region: of its patches the one that is nearest counts.

    Attributes
    ----------
    to_all : ndarray (N, M)
        The distance to every patch of every image, its own image among them; infinite where the scorer does not look.
    others : ndarray (J,)
        The images that score it, nearest first; without references all others.
    distances, patches : ndarray (J,)
        The distance to the nearest patch of each of them, and which patch that is.
    similar_patches : ndarray (J,)
        How many patches of each lie within the threshold.
    interval : (int, int)
        Which of the others the interval holds: [first, last).
    interval_mean : float
        The mean distance over the interval.
    rank : int
        Place of the patch among all patches of the batch by the detector's score, 1 is the most anomalous; of a region
        that of its most anomalous patch.
    """

    to_all: np.ndarray
    others: np.ndarray
    distances: np.ndarray
    patches: np.ndarray
    similar_patches: np.ndarray
    interval: tuple[int, int]
    interval_mean: float
    rank: int

    def at(self, threshold: float) -> "Answer":
        """Count again at another threshold."""
        return replace(self, similar_patches=(self.to_all[self.others] <= threshold).sum(axis=1))


def answer(to_all: Tensor, images: Tensor, threshold: float, interval: tuple[float, float], rank: int) -> Answer:
    """Sort what was found.

    Parameters
    ----------
    to_all : Tensor (N, M)
        Distances to every patch.
    images : Tensor (J,)
        The images that count.
    threshold : float
        Largest distance that counts as similar.
    interval : (float, float)
        See `interval_average`.
    rank : int

    Returns
    -------
    Answer
    """
    nearest, patches = to_all.min(dim=1)
    others = images[nearest[images].argsort(stable=True)]
    found = Answer(
        to_all=to_all.numpy(),
        others=others.numpy(),
        distances=nearest[others].numpy(),
        patches=patches[others].numpy(),
        similar_patches=torch.zeros_like(others).numpy(),
        interval=interval_bounds(len(others), interval),
        interval_mean=float(interval_average(nearest[others], interval)),
        rank=rank,
    )
    return found.at(threshold)
