"""How far the answers of a page are from those of the exact patch vectors, measured on its own batch."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from musc_lite.neighbors.brute_force import squared_distances
from musc_lite.stages.mutual_scoring import interval_average
from musc_lite.static_page.quantization import Quantized

__all__ = ["Agreement", "measure_agreement"]


@dataclass(frozen=True)
class Agreement:
    """Answers from quantized vectors beside those from exact ones, over all patches of a batch.

    Attributes
    ----------
    same_nearest : float
        Share of (patch, other image) where both find the same nearest patch.
    distance_error, score_error : (float, float)
        Mean and largest difference of the distance to the nearest patch, and of a patch's score.
    image_rank, patch_rank : float
        Rank correlation (Spearman) of the images' scores, and of the patches'.
    n_components, n_channels : int
    """

    same_nearest: float
    distance_error: tuple[float, float]
    score_error: tuple[float, float]
    image_rank: float
    patch_rank: float
    n_components: int
    n_channels: int

    def in_words(self) -> str:
        """Say it for the reader of the page."""
        (distance, farthest), (score, worst) = self.distance_error, self.score_error
        return (
            f"Distances on this page are computed from {self.n_components} components of 8 bits instead of "
            f"{self.n_channels} numbers a patch. Measured on all patches of this page: the nearest patch in another "
            f"image is the same in {100 * self.same_nearest:.0f} of 100 cases; its distance differs by {distance:.3f} "
            f"in the mean and {farthest:.3f} at most, the score of a patch by {score:.3f} and {worst:.3f}; rank "
            f"correlation of the images' scores {self.image_rank:.3f}, of the patches' {self.patch_rank:.3f}."
        )


def measure_agreement(
    tokens: Tensor, quantized: Quantized, references: np.ndarray, interval: tuple[float, float]
) -> Agreement:
    """Compare nearest patches and scores from quantized vectors with those from exact ones (N, M, C).

    Parameters
    ----------
    tokens : Tensor (N, M, C)
        What was quantized.
    quantized : Quantized
    references : ndarray of int
        The images that score the others.
    interval : (float, float)
    """
    same, errors, scores = [], [], []
    for i in range(len(tokens)):
        others = references[references != i]
        exact = squared_distances(tokens[i].float(), tokens[others].float()).clamp(min=0).sqrt().transpose(1, 2)
        (near, where), (near_here, where_here) = exact.min(dim=2), quantized.distances_of(i)[:, others].min(dim=2)
        near, where = near.T, where.T  # (M, J)
        same.append((where == where_here).float().mean())
        errors.append((near - near_here).abs())
        scores.append(torch.stack([interval_average(each, interval) for each in (near, near_here)]))
    both = torch.stack(scores, dim=1).numpy()  # (2, N, M)
    distance, score = torch.cat([each.flatten() for each in errors]).numpy(), np.abs(both[0] - both[1])
    return Agreement(
        float(np.mean(same)),
        (float(distance.mean()), float(distance.max())),
        (float(score.mean()), float(score.max())),
        float(spearmanr(*both.max(axis=2)).statistic),
        float(spearmanr(*both.reshape(2, -1)).statistic),
        len(quantized.steps),
        tokens.shape[-1],
    )
