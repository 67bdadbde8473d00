"""The distance of a patch to the subspace in which most of the batch's patches lie.

Normal patches repeat each other, so a few directions hold most of their variance; a defect points elsewhere. With the
mean mu of all patches of the batch and V, the eigenvectors of their covariance that hold a given share of the variance,
a patch x scores what they do not explain of it:

    s(x) = |(I - V V^T) (x - mu)|

One pass for the covariance and one for the residuals: the work grows with N, not with N^2. What many images share is
in the subspace, be it a defect; a rare normal patch is not. (The idea of SubspaceAD, CVPR 2026, arXiv 2602.23013, which
fits the subspace to a few normal images or to the batch, and takes the squared residual of averaged blocks.)
"""

from numbers import Integral, Real

import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import compute_dtype
from musc_lite.neighbors.covariance import mean_and_covariance
from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer, ScorerCost, ScoringContext
from musc_lite.scorers.reference_images import References, name_references, select_references
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.utils.threads import for_each, single_thread


class SubspaceScorer(PatchScorer):
    """Score a patch by its distance to the principal subspace of all patches of the batch.

    An image of the batch sees itself: it is one of those that the subspace is fitted to. Kept after a fit: the mean and
    the axes.

    Parameters
    ----------
    variance : float
        Share of the variance that the subspace holds, above 0 and below 1.
    n_components : int, optional
        So many directions instead.
    references : sequence of int or str, optional
        The images that are trusted to be normal, by index or name: it is fitted to them alone. Or a number of images
        drawn at random, see `MutualScorer`. None: all.

    Examples
    --------
    >>> batch = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [3.0, 0.1]]])
    >>> SubspaceScorer(n_components=1).fit_score(batch).round(decimals=2)
    tensor([[0.0200, 0.0100],
            [0.0400, 0.0300]])
    """

    summary = (
        "A few directions hold most of what the batch's patches, or those of trusted images, have in common: a patch "
        "is anomalous as far as it points out of them."
    )

    saved = ("mean", "axes")
    _mean: Tensor | None = None  # (C,), after a fit
    _axes: Tensor | None = None  # (n, C), orthonormal

    def __init__(self, variance: float = 0.95, n_components: int | None = None, references: References = None):
        self.variance = variance
        self.n_components = n_components
        self.references = references

    def check(self) -> None:
        """Raise an error for a value that is no share and no number of directions."""
        if not isinstance(self.variance, Real) or not 0 < self.variance < 1:
            raise ValueError(f"variance is the share that the subspace holds, between 0 and 1, got {self.variance!r}")
        if self.n_components is not None and (not isinstance(self.n_components, Integral) or self.n_components < 1):
            raise ValueError(f"n_components must be a whole number, 1 or more, got {self.n_components!r}")

    def provenance(self) -> dict[str, str]:
        """Name the size of the subspace."""
        size = (
            f"{self.variance:.0%} of the variance" if self.n_components is None else f"{self.n_components} directions"
        )
        whose = name_references(self.references, "the batch")
        return {"scorer": f"distance to the principal subspace of {whose}, {size}"}

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Fit the subspace to a batch and score its patches, (N, M, C) -> (N, M)."""
        batch = at_least_two_images(as_tokens(batch, keep_half=True))
        self.cost((batch.shape[0], batch.shape[1], batch.shape[2]))
        mean, covariance = mean_and_covariance(select_references(batch, self.references))
        with single_thread():
            values, axes = torch.linalg.eigh(covariance)  # the smallest first
        shares = values.flip(0).clamp(min=0).cumsum(0)
        n_kept = self.n_components or int((shares < self.variance * shares[-1]).sum()) + 1
        self._mean, self._axes = mean.to(compute_dtype(batch)), axes.flip(1)[:, :n_kept].to(compute_dtype(batch)).T
        return self._residuals(batch, context)

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images by the subspace of the batch, (Q, M, C) -> (Q, M)."""
        if self._axes is None:
            self.fit_score(batch)
        return self._residuals(as_tokens(new, keep_half=True), context)

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch: two products with a square of channels for each image."""
        n_images, n_patches, n_channels = shape
        self.check()
        if self.n_components is not None and self.n_components > n_channels:
            raise ValueError(f"n_components={self.n_components}: the patches have only {n_channels} channels")
        threads = torch.get_num_threads()
        return ScorerCost(
            n_images,
            3 * n_images * n_channels / n_patches,
            n_channels,
            8 * (threads + 3) * n_channels**2 + 12 * threads * n_patches * n_channels,
        )

    def _residuals(self, images: Tensor, context: ScoringContext) -> Tensor:
        """(Q, M, C) -> (Q, M)."""
        assert self._mean is not None
        assert self._axes is not None
        mean, axes = self._mean.to(images.device), self._axes.to(images.device).T
        scores = images.new_empty(images.shape[:2], dtype=compute_dtype(images))

        def score_image(i: int) -> int:
            centered = images[i].to(scores.dtype) - mean
            scores[i] = (centered - centered @ axes @ axes.T).norm(dim=-1)
            return 1

        for_each(score_image, range(len(images)), images.device, context.progress)
        return scores
