"""The images of a batch, each once, and stage 3 for all of them: each layer at each r."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.appearance import Appearance, appearance_of, chroma
from musc_lite.data.duplicates import find_duplicates, index_by_name, unique_indices, warn_of_duplicates
from musc_lite.data.image_set import ImageSet
from musc_lite.data.pixels import Scale
from musc_lite.detector.planning import choose_device
from musc_lite.scorers.base import PatchScorer, ScoringContext
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.features import Features
from musc_lite.utils.progress import progress_bar

CPU = torch.device("cpu")

Scorers = dict[tuple[int, int], PatchScorer]  # of the s-th layer at degree r


@dataclass(frozen=True, eq=False)
class UniqueBatch:
    """The images of a batch, and which of them are copies.

    Attributes
    ----------
    names : list of str
        Of the N images.
    images : ImageSet or None
        The images themselves; a loaded detector may have none.
    digests : frozenset of str
        `ImageSet.digest` of all images.
    copy_of : ndarray (N,)
        For each image the first one with the very same bytes, itself where there is none before it.
    scales : dict of str to Scale
        How values of more than 8 bits became 8-bit ones, for each type of image.
    appearance : Appearance or None
        Size, shape and color of the images; None in files of early versions.
    """

    names: list[str]
    images: ImageSet | None
    digests: frozenset[str]
    copy_of: np.ndarray
    scales: dict[str, Scale]
    appearance: Appearance | None

    def names_in(self, images: ImageSet) -> list[str]:
        """Return the names of those images that belong to this batch."""
        return [name for i, name in enumerate(images.names) if images.digest(i) in self.digests]


def unique_batch(images: ImageSet) -> UniqueBatch:
    """Read all images once: hash them, find and warn of duplicates, measure what they look like."""
    chromas: dict[int, float] = {}
    twice = find_duplicates(images, lambda i, image: chromas.update({i: chroma(image)}))
    names = list(images.names)
    warn_of_duplicates(twice, names)
    warn_of_reading(images)
    appearance = appearance_of(images, chromas)
    return UniqueBatch(names, images, frozenset(twice.digests), twice.copy_of, dict(images.scales.found), appearance)


def warn_of_reading(images: ImageSet, stacklevel: int = 5) -> None:
    """Warn of what a user should know of how files were read."""
    for text, names in images.remarks():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.warn(f"{len(names)} of {len(images)} images: {text} ({shown})", stacklevel=stacklevel)


def make_scorers(scorer: PatchScorer, batch: UniqueBatch, layers: Sequence[int], degrees: Sequence[int]) -> Scorers:
    """Return an unfitted scorer for each r and layer of a batch."""
    place, n_images = index_by_name(batch.names, batch.copy_of), len(unique_indices(batch.copy_of))
    return {(s, r): scorer.resolve_references(place, n_images) for r in degrees for s in range(len(layers))}


@dataclass(frozen=True)
class Batch:
    """The tokens that are scored: those of each image once, of copies the first.

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
        return len(unique_indices(self.copy_of)), n_patches, n_channels

    @property
    def class_tokens(self) -> Tensor:
        """(N', D)."""
        return self.features.class_tokens[unique_indices(self.copy_of)]

    def tokens(self, s: int, r: int, device: torch.device = CPU) -> Tensor:
        """Aggregate the tokens of the s-th layer at degree r: (N', M, C)."""
        tokens, kept = self.features.patch_tokens[:, s], unique_indices(self.copy_of)
        tokens = tokens if len(kept) == len(tokens) else tokens[kept]
        return self.aggregation.aggregate(tokens, self.features.grid, r, device)


def score_each(
    score: Callable[[PatchScorer, Tensor, int, int, ScoringContext], Tensor],
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
        What `make_scorers` returned.
    batch : Batch
    backbone : Backbone
        Whose GPU may score, and whose precision counts.
    max_memory : int, optional
        Bytes that scoring may take on the CPU.
    """
    first = next(iter(scorers.values()))
    tiles = batch.features.resolved_view.tiles
    device, max_memory = choose_device(first, batch.shape, backbone, max_memory, tiles)
    n_images, scores = batch.shape[0], []
    n_steps, done = first.cost(batch.shape, max_memory, tiles).n_steps * len(scorers), 0
    with progress_bar(total=n_images, desc="scoring", unit="image") as bar:

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            bar.update(n_images * done // n_steps - bar.n)

        context = ScoringContext(batch.features.grid, max_memory, advance, tiles, backbone.precision)
        for (s, r), scorer in scorers.items():
            scores.append(score(scorer, batch.tokens(s, r, device), s, r, context).cpu())
            advance(n_steps * len(scores) // len(scorers) - done)  # whatever the scorer has reported
    return torch.stack(scores).unflatten(0, (len({r for _, r in scorers}), -1))


def fit_score(scorer: PatchScorer, batch: Tensor, s: int, r: int, context: ScoringContext) -> Tensor:
    """Score a batch by itself, whichever layer and r it is of."""
    return scorer.fit_score(batch, context)
