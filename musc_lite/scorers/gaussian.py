"""The Mahalanobis distance of a patch to a normal distribution of patches.

A plain model of what is usual: patch vectors x scatter around a mean mu with a covariance Sigma, and a patch is as odd
as it lies far out, in units of the scatter in its own direction:

    s(x) = sqrt((x - mu)^T Sigma^-1 (x - mu))

One distribution for all places suits textures; one for each place of the grid (PaDiM, Defard et al., 2020, arXiv
2011.08785) suits parts that lie alike in all photos. A place has fewer vectors than those have channels, so the
covariance is shrunk toward a multiple of the identity, by the amount of OAS (Chen, Wiesel, Eldar and Hero, "Shrinkage
algorithms for MMSE covariance estimation", IEEE Transactions on Signal Processing 58, 2010). (The idea for pre-trained
features: Rippel, Mertens and Merhof, ICPR 2020, arXiv 2005.14140; for whole images: Lee et al., NeurIPS 2018.)
"""

import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import compute_dtype
from musc_lite.neighbors.covariance import mean_and_covariance
from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer, ScorerCost, ScoringContext
from musc_lite.scorers.reference_images import References, name_references, select_references
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.utils.deprecation import renamed_parameters
from musc_lite.utils.threads import for_each, single_thread


@renamed_parameters(each_place="per_position")
class GaussianScorer(PatchScorer):
    """Score a patch by its Mahalanobis distance to the batch's patches, all of them or those at its own place.

    An image of the batch sees itself: it is one of those that the distribution is fitted to, and at a place of its own
    in a small batch it pulls that toward itself. Kept after a fit: the mean and what makes vectors white, for all
    places; nothing where each place has its own, which is fitted again for new images.

    Parameters
    ----------
    per_position : bool
        Whether each place of the grid has a distribution of its own, for parts that lie alike.
    references : sequence of int or str, optional
        The images that are trusted to be normal, by index or name: it is fitted to them alone. Or a number of images
        drawn at random, see `MutualScorer`. None: all.

    Examples
    --------
    >>> batch = torch.tensor([[[0.0, 1.0], [4.0, -1.0]], [[-4.0, -1.0], [0.0, 1.0]]])
    >>> GaussianScorer().fit_score(batch).round(decimals=2)
    tensor([[0.4700, 1.9400],
            [1.9400, 0.4700]])
    """

    summary = (
        "A normal distribution describes how the batch's patches, or those of trusted images, scatter: a patch that "
        "lies far out in it is anomalous."
    )

    saved = ("mean", "whitening")
    _mean: Tensor | None = None  # (C,), after a fit for all places
    _whitening: Tensor | None = None  # (C, C): x - mu times it has the identity as covariance

    def __init__(self, per_position: bool = False, references: References = None):
        self.per_position = per_position
        self.references = references

    def provenance(self) -> dict[str, str]:
        """Name what has a distribution of its own."""
        whose = name_references(self.references, "" if self.per_position else "the batch")
        where = " of ".join(filter(None, ("each place" * self.per_position, whose)))
        return {"scorer": f"Mahalanobis distance to the patches of {where}"}

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Fit to a batch and score its patches, (N, M, C) -> (N, M)."""
        batch = at_least_two_images(as_tokens(batch, keep_half=True))
        if not self.per_position:
            fitted = select_references(batch, self.references)
            mean, covariance = mean_and_covariance(fitted)
            white = whitening(covariance, fitted.shape[0] * fitted.shape[1])
            self._mean, self._whitening = mean.to(compute_dtype(batch)), white.to(compute_dtype(batch))
        return self.score(batch, batch, context)

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images by the distribution of the batch, (Q, M, C) -> (Q, M)."""
        new, batch = as_tokens(new, keep_half=True), as_tokens(batch, keep_half=True)
        scores = new.new_empty(new.shape[:2], dtype=compute_dtype(new))
        if self.per_position:
            fitted = select_references(batch, self.references)

            def score_place(m: int) -> int:
                mean, covariance = mean_and_covariance(fitted[:, m : m + 1])
                white = whitening(covariance, len(fitted)).to(scores)
                scores[:, m] = ((new[:, m].to(scores.dtype) - mean.to(scores)) @ white).norm(dim=-1)
                return 1

            for_each(score_place, range(new.shape[1]), new.device, context.progress)
            return scores
        if self._mean is None or self._whitening is None:
            self.fit_score(batch)
        assert self._mean is not None
        assert self._whitening is not None
        mean, white = self._mean.to(new.device), self._whitening.to(new.device)

        def score_image(i: int) -> int:
            scores[i] = ((new[i].to(scores.dtype) - mean) @ white).norm(dim=-1)
            return 1

        for_each(score_image, range(len(new)), new.device, context.progress)
        return scores

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch: each vector times a square of channels, twice; inverses, one or M."""
        n_images, n_patches, n_channels = shape
        self.check()
        inversions = n_patches if self.per_position else 1
        products = (2 * n_images * n_patches + inversions * n_channels) * n_channels / n_patches**2
        threads = torch.get_num_threads()
        least = 8 * (threads + 3) * n_channels**2 + 8 * threads * max(n_patches, n_images) * n_channels
        return ScorerCost(n_patches if self.per_position else n_images, products, n_channels, least)


def whitening(covariance: Tensor, n_samples: int) -> Tensor:
    """Return W (C, C) with W W^T the inverse of the shrunk covariance; the identity for constant vectors."""
    n_channels = len(covariance)
    identity, variance = torch.eye(n_channels, dtype=covariance.dtype), covariance.trace() / n_channels
    if variance <= 0:
        return identity
    share = oas_shrinkage(covariance, n_samples)
    with single_thread():
        root = torch.linalg.cholesky((1 - share) * covariance + share * variance * identity)
        return torch.linalg.solve_triangular(root, identity, upper=False).T


def oas_shrinkage(covariance: Tensor, n_samples: int) -> float:
    """Return how far OAS shrinks a covariance (C, C) of so many samples toward the identity: 0 to 1.

    Chen et al. 2010, equation 23 as scikit-learn has it (`sklearn.covariance.oas`, which wants the samples themselves).

    Examples
    --------
    >>> round(oas_shrinkage(torch.diag(torch.tensor([4.0, 1.0])), n_samples=10), 3)
    0.848
    """
    alpha, mean = float(covariance.square().mean()), float(covariance.trace()) / len(covariance)
    numerator = alpha + mean**2
    denominator = (n_samples + 1) * (alpha - mean**2 / len(covariance))
    return 1.0 if denominator <= 0 else min(numerator / denominator, 1.0)
