"""Stage 3 for a whole batch: each layer at each r, without copies, on the device that has room for it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.budget import choose_device
from musc_lite.data.duplicates import originals, places
from musc_lite.scorers.base import Context, PatchScorer
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.features import Features
from musc_lite.support.progress import progress_bar

__all__ = ["aggregate_originals", "make_scorers", "score_each"]

Scorers = dict[tuple[int, int], PatchScorer]  # of the s-th layer at degree r


def make_scorers(
    scorer: PatchScorer, names: Sequence[str], copy_of: np.ndarray, layers: Sequence[int], degrees: Sequence[int]
) -> Scorers:
    """Make an unfitted scorer for each r and layer of a batch."""
    place, n_images = places(names, copy_of), len(originals(copy_of))
    return {(s, r): scorer.for_batch(place, n_images) for r in degrees for s in range(len(layers))}


def aggregate_originals(
    aggregation: LNAMD, features: Features, copy_of: np.ndarray, s: int, r: int, device: torch.device
) -> Tensor:
    """Aggregate the tokens of the images that are no copies: (N', M, C)."""
    tokens, kept = features.patch_tokens[:, s], originals(copy_of)
    tokens = tokens if len(kept) == len(tokens) else tokens[kept]
    return aggregation.aggregate(tokens, features.grid, r, device)


def score_each(
    score: Callable[[PatchScorer, Tensor, int, int, Context], Tensor],
    scorers: Scorers,
    aggregate: Callable[[int, int, torch.device], Tensor],
    shape: tuple[int, int, int],
    grid: tuple[int, int],
    backbone: Backbone,
    max_memory: int | None = None,
) -> Tensor:
    """Call score(scorer, batch (N', M, C), s, r, context) for each r and layer, and stack: (R, S, ..., M).

    Parameters
    ----------
    score : callable
    scorers : dict
        What `make_scorers` gave.
    aggregate : callable
        Gives the batch's tokens (N', M, C) of the s-th layer at degree r on a device.
    shape : (N', M, C)
    grid : (h, w)
    backbone : Backbone
        Whose GPU may score.
    max_memory : int, optional
        Bytes that scoring may take on the CPU.
    """
    first = next(iter(scorers.values()))
    device, max_memory = choose_device(first, shape, backbone, max_memory)
    n_steps, scores = first.work(shape, max_memory).n_steps * len(scorers), []
    with progress_bar(total=n_steps, desc="scoring", unit="step", unit_scale=True) as bar:
        context = Context(grid, max_memory, bar.update)
        for (s, r), scorer in scorers.items():
            scores.append(score(scorer, aggregate(s, r, device), s, r, context).cpu())
            bar.update(n_steps * len(scores) // len(scorers) - bar.n)  # whatever the scorer has told
    return torch.stack(scores).unflatten(0, (len({r for _, r in scorers}), -1))
