"""Patch vectors in a few bytes: principal components of 8 bits each, and one byte for what lies outside of them."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from musc_lite.neighbors.brute_force import squared_distances
from musc_lite.neighbors.covariance import mean_and_covariance
from musc_lite.stages.mutual_scoring import interval_average

HIGHEST = 255  # of a byte


@dataclass(frozen=True)
class Quantized:
    """Patch vectors of one layer at one degree r, K + 1 bytes each.

    Only differences of vectors count, so where a component begins is left out. What two vectors have outside of the K
    components is taken to be at right angles, each squared length a byte:

        |a - b|^2 = sum over k of (step_k (code_ak - code_bk))^2 + outside_a + outside_b

    Attributes
    ----------
    codes : ndarray (N, M, K) of uint8
    steps : ndarray (K,)
        What one level of each component is worth; the component with the largest variance comes first.
    outside : ndarray (N, M) of uint8
    outside_step : float
        What one level of `outside` is worth, as a squared length.
    """

    codes: np.ndarray
    steps: np.ndarray
    outside: np.ndarray
    outside_step: float

    @property
    def vectors(self) -> Tensor:
        """The components, (N, M, K)."""
        return torch.from_numpy(self.codes * self.steps.astype(np.float32))

    @property
    def squared_outside(self) -> Tensor:
        """The squared length of each vector outside of the components, (N, M)."""
        return torch.from_numpy(self.outside * np.float32(self.outside_step))

    def distances_of(self, i: int) -> Tensor:
        """Return the distances from each patch of image i to each patch of all images, (M, N, M)."""
        vectors, outside = self.vectors, self.squared_outside
        squared = torch.cdist(vectors[i], vectors.flatten(0, 1)) ** 2
        squared += outside[i][:, None] + outside.flatten()
        return squared.sqrt().unflatten(1, outside.shape)


def quantize(tokens: Tensor, n_components: int = 64) -> Quantized:
    """Bring patch vectors (N, M, C) to principal components of 8 bits, at most as many as there are channels.

    Examples
    --------
    >>> tokens = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    >>> far = quantize(tokens).distances_of(0)[:, 1:] - torch.cdist(tokens[0], tokens[1:]).permute(1, 0, 2)
    >>> bool(far.abs().max() < 0.02)
    True
    """
    mean, covariance = mean_and_covariance(tokens)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :n_components].float()  # (C, K)
    centered = tokens.float() - mean.float()
    components = centered @ axes  # (N, M, K)
    outside = (centered.square().sum(dim=-1) - components.square().sum(dim=-1)).clamp(min=0)
    codes, steps = _levels(components - components.amin(dim=(0, 1)), components.shape[-1:])
    outside_codes, outside_step = _levels(outside, ())
    return Quantized(codes, steps, outside_codes, float(outside_step))


def _levels(values: Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Round values from 0 on to 256 levels: the levels, and what one is worth for each of the last axis."""
    highest = values.reshape(-1, *shape).amax(dim=0)
    steps = (highest / HIGHEST).clamp(min=torch.finfo(torch.float32).tiny)
    return (values / steps).round().byte().numpy(), steps.numpy()


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
