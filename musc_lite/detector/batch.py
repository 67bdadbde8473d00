"""Stage 3 for a whole batch: each layer at each r, without copies, on the device that has room for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.duplicates import originals, places
from musc_lite.detector.memory import choose_device
from musc_lite.scorers.base import Context, PatchScorer
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.features import Features
from musc_lite.utils.progress import progress_bar

__all__ = ["Batch", "fit_score", "make_scorers", "score_each"]

CPU = torch.device("cpu")

Scorers = dict[tuple[int, int], PatchScorer]  # of the s-th layer at degree r


def make_scorers(
    scorer: PatchScorer, names: Sequence[str], copy_of: np.ndarray, layers: Sequence[int], degrees: Sequence[int]
) -> Scorers:
    """Make an unfitted scorer for each r and layer of a batch."""
    place, n_images = places(names, copy_of), len(originals(copy_of))
    return {(s, r): scorer.for_batch(place, n_images) for r in degrees for s in range(len(layers))}


@dataclass(frozen=True)
class Batch:
    """The images that are scored: each once, of copies the first.

    Attributes
    ----------
    features : Features
        Of all N images.
    copy_of : ndarray (N,)
        For each image the first one with the very same bytes, itself where there is none before it.
    aggregation : LNAMD
    """

    features: Features
    copy_of: np.ndarray
    aggregation: LNAMD

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N', M, C) of one layer's tokens."""
        _, _, n_patches, n_channels = self.features.patch_tokens.shape
        return len(originals(self.copy_of)), n_patches, n_channels

    @property
    def class_tokens(self) -> Tensor:
        """(N', D)."""
        return self.features.class_tokens[originals(self.copy_of)]

    def tokens(self, s: int, r: int, device: torch.device = CPU) -> Tensor:
        """Aggregate the tokens of the s-th layer at degree r: (N', M, C)."""
        tokens, kept = self.features.patch_tokens[:, s], originals(self.copy_of)
        tokens = tokens if len(kept) == len(tokens) else tokens[kept]
        return self.aggregation.aggregate(tokens, self.features.grid, r, device)


def score_each(
    score: Callable[[PatchScorer, Tensor, int, int, Context], Tensor],
    scorers: Scorers,
    batch: Batch,
    backbone: Backbone,
    max_memory: int | None = None,
) -> Tensor:
    """Call score(scorer, tokens (N', M, C), s, r, context) for each r and layer, and stack: (R, S, ..., M).

    Parameters
    ----------
    score : callable
    scorers : dict
        What `make_scorers` gave.
    batch : Batch
    backbone : Backbone
        Whose GPU may score, and whose precision counts.
    max_memory : int, optional
        Bytes that scoring may take on the CPU.
    """
    first = next(iter(scorers.values()))
    tiles = batch.features.framing.tiles
    device, max_memory = choose_device(first, batch.shape, backbone, max_memory, tiles)
    n_steps, scores = first.work(batch.shape, max_memory, tiles).n_steps * len(scorers), []
    with progress_bar(total=n_steps, desc="scoring", unit="step", unit_scale=True) as bar:
        context = Context(batch.features.grid, max_memory, bar.update, tiles, backbone.precision)
        for (s, r), scorer in scorers.items():
            scores.append(score(scorer, batch.tokens(s, r, device), s, r, context).cpu())
            bar.update(n_steps * len(scores) // len(scorers) - bar.n)  # whatever the scorer has told
    return torch.stack(scores).unflatten(0, (len({r for _, r in scorers}), -1))


def fit_score(scorer: PatchScorer, batch: Tensor, s: int, r: int, context: Context) -> Tensor:
    """Score a batch by itself, whichever layer and r it is of."""
    return scorer.fit_score(batch, context)
