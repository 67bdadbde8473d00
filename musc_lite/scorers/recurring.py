"""Mutual scoring that is not misled by a defect that recurs: images that share it do not score each other there.

Where eight of 24 images show the same coin, the closest 30 % of the images of a patch on the coin all have one, so that
it passes for normal. Such a patch has a few very close images and then a jump (`stages.recurring`); it is scored by the
images behind the jump, by the same interval average.
"""

import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import TILE_BYTES, nearest_of_pairs, nearest_to_references, precise
from musc_lite.scorers.base import PLAIN, Context, PatchScorer, Work, check_budget
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import at_least_two_images
from musc_lite.stages.recurring import AGREE, average_of_the_rest, find_recurring, jumps
from musc_lite.utils.validation import check_interval

__all__ = ["RecurringScorer"]


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

    idea = (
        "A patch is anomalous that lies far from the nearest patches of most other images; images that share a rare "
        "patch are left out of its score, so that a defect that recurs does not pass for normal."
    )
    saved = ("shared",)
    _shared: Tensor | None = None  # (N,) 1 for images that share something, else 0; after a fit

    def __init__(self, interval: tuple[float, float] = (0.0, 0.3), jump: float = 2.0):
        self.interval = interval
        self.jump = jump

    def check(self) -> None:
        """Refuse an interval that holds no image, and a jump that all distances make."""
        check_interval(self.interval)
        if not self.jump > 0:
            raise ValueError(f"jump must be above 0, of normal patches it is below 2; got {self.jump!r}")

    def describe(self) -> dict[str, str]:
        """Name it, the jump and the interval."""
        return {
            "scorer": f"mutual scoring without the images that share a rare patch (jump of {self.jump:g})",
            "interval": f"{self.interval[0]:g} to {self.interval[1]:g} of the images that are left",
        }

    def fit_score(self, batch: Tensor, context: Context = PLAIN) -> Tensor:
        """Score a batch by itself, (N, M, C) -> (N, M)."""
        self.check()
        tokens = at_least_two_images(as_tokens(batch, keep_half=True))
        distances = nearest_of_pairs(tokens, context.progress, context.precision).transpose(1, 2)  # (N, M, N)
        left_out = find_recurring(distances, self.jump)
        self._shared = left_out.any(dim=1).any(dim=1).float().cpu()
        return torch.stack(
            [average_of_the_rest(d, out, self.interval) for d, out in zip(distances, left_out, strict=True)]
        )

    def score(self, new: Tensor, batch: Tensor, context: Context = PLAIN) -> Tensor:
        """Score new images against the batch, (Q, M, C) -> (Q, M); what the batch shares is left out there too."""
        batch = as_tokens(batch, keep_half=True)
        new = as_tokens(new, keep_half=True).to(batch)
        scores = new.new_empty(new.shape[:2], dtype=precise(new))
        shared = torch.zeros(len(batch)) if self._shared is None else self._shared

        def keep(i: int, nearest: Tensor) -> None:
            size, k = jumps(nearest)
            linked = (nearest.argsort(dim=-1).argsort(dim=-1) < k[:, None]) & (size >= self.jump)[:, None]
            known = (linked * shared.to(nearest.device)).sum(dim=-1) / k.clamp(min=1) >= AGREE
            scores[i] = average_of_the_rest(nearest, linked & known[:, None], self.interval)

        nearest_to_references(new, batch, keep, progress=context.progress, precision=context.precision)
        return scores

    def work(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> Work:
        """Say what scoring a batch takes, in pairs of images; all distances and their order are held at once."""
        n_images, n_patches, n_channels = shape
        self.check()
        least = 40 * n_images**2 * n_patches + torch.get_num_threads() * 3 * TILE_BYTES
        check_budget(least, max_memory, shape, ". Give more, or divide the batch", "finding what recurs in")
        n_pairs = n_images * (n_images - 1) // 2
        return Work(n_pairs, n_pairs, n_channels, least)
