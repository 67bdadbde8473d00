"""The distance to the k-th nearest patch of the whole batch, outside of the patch's own image.

The plainest of all scores: no image counts more than another. A patch whose like occurs k times anywhere, even in one
single other image, looks normal; mutual scoring asks how many images know it. (k nearest neighbors as an outlier score:
Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000.)
"""

import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import TILE_BYTES, compute_dtype, images_at_once, squared_distances
from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer, ScorerCost, ScoringContext, check_budget
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.utils.threads import for_each
from musc_lite.utils.validation import check_count


class NearestScorer(PatchScorer):
    """Score a patch by its distance to the k-th nearest patch of all other images.

    An image of the batch does not see itself.

    Parameters
    ----------
    k : int
        Which of the nearest patches; 1 is the nearest.

    Examples
    --------
    >>> NearestScorer(k=1).fit_score(torch.tensor([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]])
    """

    summary = "A patch is anomalous that lies far from the nearest patches of all other images of the batch."

    def __init__(self, k: int = 1):
        self.k = k

    def check(self) -> None:
        """Raise an error for a k that is no number of patches."""
        check_count("k", self.k)

    def provenance(self) -> dict[str, str]:
        """Name k."""
        return {"scorer": f"distance to the nearest patch number {self.k} of all other images"}

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score a batch by itself, (N, M, C) -> (N, M)."""
        batch = at_least_two_images(as_tokens(batch, keep_half=True))
        n_images, n_patches, n_channels = batch.shape
        self.cost((n_images, n_patches, n_channels), context.max_memory)
        return self._distances(batch, batch, context, own=True)

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images against the batch, (Q, M, C) -> (Q, M)."""
        batch = as_tokens(batch, keep_half=True)
        return self._distances(as_tokens(new, keep_half=True).to(batch), batch, context, own=False)

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch: each image is compared with all."""
        n_images, n_patches, n_channels = shape
        self.check()
        if self.k > (n_images - 1) * n_patches:
            raise ValueError(
                f"k={self.k}: each patch has only {(n_images - 1) * n_patches} patches in the other images"
            )
        least = 4 * n_images * n_patches + torch.get_num_threads() * (3 * TILE_BYTES + 16 * self.k * n_patches)
        check_budget(least, max_memory, shape)
        return ScorerCost(n_images**2, n_images**2, n_channels, least)

    def _distances(self, images: Tensor, batch: Tensor, context: ScoringContext, own: bool) -> Tensor:
        """Keep the k smallest distances so far while image after image of the batch is looked at."""
        scores = images.new_empty(images.shape[:2], dtype=compute_dtype(images))
        step = images_at_once(batch.shape[1] ** 2, batch.device)

        def search(i: int) -> int:
            nearest = scores.new_full((images.shape[1], self.k), torch.inf)  # squared
            for some in torch.arange(len(batch)).split(step):
                some = some[some != i] if own else some
                if len(some):
                    found = squared_distances(images[i], batch[some])  # (J, M, Q)
                    found = torch.cat([nearest, found.flatten(0, 1).T], dim=1)
                    nearest = found.topk(self.k, dim=1, largest=False).values
            scores[i] = nearest[:, -1].clamp(min=0).sqrt()
            return len(batch)

        for_each(search, range(len(images)), images.device, context.progress)
        return scores
