"""The distance of a patch to the nearest patch of a memory bank.

What is normal is what is in the bank: the patches of images that are trusted to be normal where there are such, else
those of all other images of the batch.

    s(x) = min over bank patches b of |x - b|

A bank of every patch is slow and repeats itself. Greedy k-center keeps a small part that covers it: begin with the
patch farthest from their mean, whatever the order of the images, then again and again add the one that lies farthest
from all that are kept, in a random projection to few dimensions for speed. Rare patches are kept first, so little is
lost of what the bank knows. (SPADE: Cohen and Hoshen, 2020, arXiv 2005.02357; PatchCore, with the coreset: Roth et al.,
CVPR 2022, arXiv 2106.08265; AnomalyDINO, on DINOv2: Damm et al., WACV 2025, arXiv 2405.14529.)
"""

from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import TILE_BYTES, compute_dtype, squared_distances
from musc_lite.scorers.base import DEFAULT_CONTEXT, Explanation, PatchScorer, ScorerCost, ScoringContext
from musc_lite.scorers.reference_images import choose_references, count_references, name_references
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.utils.deprecation import renamed_parameters
from musc_lite.utils.threads import for_each, single_thread

DIMENSIONS = 64  # of the random projection in which the coreset is chosen


@renamed_parameters(share="coreset_ratio")
class MemoryBankScorer(PatchScorer):
    """Score a patch by its distance to the nearest patch of a bank.

    An image of the batch does not see its own patches in the bank. Kept after a fit: where in the batch the bank's
    patches lie.

    Parameters
    ----------
    references : sequence of int or str, optional
        The images that are trusted to be normal, by index or name; or a number of images drawn at random, see
        `MutualScorer`. None: all.
    coreset_ratio : float
        Share of their patches that the bank keeps, by greedy k-center; 1 keeps all.

    Examples
    --------
    >>> MemoryBankScorer(coreset_ratio=1).fit_score(torch.tensor([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]])
    """

    summary = (
        "A memory bank keeps patches of the batch, or of images that are trusted to be normal: a patch that lies far "
        "from all that are kept of other images is anomalous."
    )

    saved = ("bank",)
    _bank: Tensor | None = None  # (K,) places among the N M patches of the batch, after a fit

    def __init__(self, references: int | Sequence[int | str] | None = None, coreset_ratio: float = 0.1):
        self.references = references
        self.coreset_ratio = coreset_ratio

    def check(self) -> None:
        """Raise an error for a value that is no share."""
        if not isinstance(self.coreset_ratio, Real) or not 0 < self.coreset_ratio <= 1:
            raise ValueError(
                "coreset_ratio is the share of the patches that the bank keeps, above 0 and up to 1, got "
                f"{self.coreset_ratio!r}"
            )

    def provenance(self) -> dict[str, str]:
        """Name the bank."""
        whose = name_references(self.references)
        return {"scorer": f"distance to the nearest of {self.coreset_ratio:.0%} of the patches of {whose}"}

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Choose the bank and score a batch by it, (N, M, C) -> (N, M)."""
        batch = at_least_two_images(as_tokens(batch, keep_half=True))
        self.cost((batch.shape[0], batch.shape[1], batch.shape[2]))
        n_patches = batch.shape[1]
        chosen = choose_references(len(batch), self.references)
        places = (chosen[:, None] * n_patches + torch.arange(n_patches)).flatten()
        if self.coreset_ratio < 1:
            vectors = batch[chosen].flatten(0, 1)
            kept = k_center(vectors, max(2, round(self.coreset_ratio * len(places))), first=None)
            owners = kept // n_patches
            if len(torch.unique(owners)) == 1:  # that image would find none but its own patches
                far = (vectors - vectors[kept[0]]).to(compute_dtype(vectors)).norm(dim=1)
                far[owners[0] * n_patches : (owners[0] + 1) * n_patches] = -1
                kept[-1] = far.argmax()
            places = places[kept].sort().values
        self._bank = places
        return self._nearest(batch, batch, context, own=True)

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images by the bank, (Q, M, C) -> (Q, M)."""
        batch = as_tokens(batch, keep_half=True)
        if self._bank is None:
            self.fit_score(batch)
        return self._nearest(as_tokens(new, keep_half=True).to(batch), batch, context, own=False)

    def explain(self, batch: Tensor, i: int, m: int, context: ScoringContext = DEFAULT_CONTEXT) -> Explanation:
        """Show the distance of patch m of image i to every patch of the bank."""
        if self._bank is None:
            self.fit_score(batch)
        distances = squared_distances(batch[i, m : m + 1], batch)[..., 0].clamp(min=0).sqrt().flatten()  # (N M,)
        assert self._bank is not None
        outside = torch.ones(len(distances), dtype=torch.bool)
        outside[self._bank] = False
        distances[outside] = torch.inf
        owners = torch.unique(self._bank // batch.shape[1])
        return Explanation(distances.view(batch.shape[:2]), owners[owners != i])

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch: every image against the bank, and the choice of the bank."""
        n_images, n_patches, n_channels = shape
        self.check()
        n_references = count_references(n_images, self.references)
        n_kept = self.coreset_ratio * n_references * n_patches
        choice = n_kept * n_references * n_patches * DIMENSIONS / n_channels if self.coreset_ratio < 1 else 0
        products = (n_images * n_patches * n_kept + choice) / n_patches**2
        least = 4 * n_references * n_patches * (DIMENSIONS + 2) + int(4 * n_kept * n_channels)
        return ScorerCost(n_images, products, n_channels, least + 3 * torch.get_num_threads() * TILE_BYTES)

    def _nearest(self, images: Tensor, batch: Tensor, context: ScoringContext, own: bool) -> Tensor:
        """Measure from every patch of the images to its nearest in the bank; where they are the batch, not its own."""
        assert self._bank is not None
        bank, owner = batch.flatten(0, 1)[self._bank.to(batch.device)], self._bank // batch.shape[1]
        scores = images.new_empty(images.shape[:2], dtype=compute_dtype(images))
        step = max(1, TILE_BYTES // (4 * images.shape[1]))

        def search(i: int) -> int:
            others = bank[(owner != i).to(bank.device)] if own else bank
            nearest = scores.new_full((images.shape[1],), torch.inf)
            for some in others.split(step):
                nearest = torch.minimum(nearest, squared_distances(images[i], some[None])[0].amin(dim=0))
            scores[i] = nearest.clamp(min=0).sqrt()
            return 1

        for_each(search, range(len(images)), images.device, context.progress)
        return scores


def k_center(vectors: Tensor, n_kept: int, n_dimensions: int = DIMENSIONS, first: int | None = 0) -> Tensor:
    """Choose vectors that cover all others: each next one is the farthest from those chosen before.

    Parameters
    ----------
    vectors : (n, C)
    n_kept : int
        How many to choose.
    n_dimensions : int
        Distances are measured after a random projection to so many dimensions, always the same one; with fewer channels
        they are measured as they are.
    first : int, optional
        The vector to begin with; None: the one farthest from their mean, so that the choice does not depend on the
        order of the vectors.

    Returns
    -------
    Tensor (n_kept,)
        Indices, in the order in which they were chosen.

    Examples
    --------
    >>> k_center(torch.tensor([[0.0], [1.0], [5.0], [5.1]]), 3)
    tensor([0, 3, 1])
    """
    vectors = vectors.to(compute_dtype(vectors))
    if n_dimensions < vectors.shape[1]:
        random = torch.randn(vectors.shape[1], n_dimensions, generator=torch.Generator().manual_seed(0))
        vectors = vectors @ random.to(vectors)
    if first is None:
        first = int((vectors - vectors.mean(dim=0)).square().sum(dim=1).argmax())
    lengths = vectors.square().sum(dim=1)
    nearest, chosen = torch.full_like(lengths, torch.inf), [first]
    with single_thread():
        while True:
            last = chosen[-1]
            nearest = torch.minimum(nearest, torch.addmv(lengths + lengths[last], vectors, vectors[last], alpha=-2))
            if len(chosen) >= min(n_kept, len(vectors)):
                return torch.tensor(chosen)
            nearest[chosen[-1]] = -torch.inf
            chosen.append(int(nearest.argmax()))
