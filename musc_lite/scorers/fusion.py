"""Several scorers at once, each brought to a common scale over the batch.

Distances, residuals and Mahalanobis distances have units of their own. Each scorer's patch scores are therefore moved
by their median and divided by their spread over the batch (1.4826 times the median absolute deviation, which equals the
standard deviation of a normal distribution), and averaged: a patch that two scorers find odd stands before one that
only one of them does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sklearn.base import clone
from torch import Tensor

from musc_lite.scorers.base import DEFAULT_CONTEXT, PatchScorer, ScorerCost, ScoringContext
from musc_lite.scorers.mutual import MutualScorer
from musc_lite.scorers.subspace import SubspaceScorer

NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


class Fusion(PatchScorer):
    """Average the scores of several scorers, each in units of its own spread.

    Whether an image of the batch sees itself is as each of them says. Kept after a fit: what each of them keeps, and
    median and spread of its scores.

    Parameters
    ----------
    scorers : sequence of PatchScorer, optional
        Two or more; None: mutual scoring and the subspace.

    Examples
    --------
    >>> batch = torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(0))
    >>> Fusion([MutualScorer(), SubspaceScorer()]).fit_score(batch).median().abs() < 0.5
    tensor(True)
    """

    summary = (
        "Several methods score each patch, each in units of its own spread: a patch that is odd on their average is "
        "anomalous."
    )

    _each: list[PatchScorer] | None = None  # clones, after a fit
    _scales: Tensor | None = None  # (n, 2): median and spread of each, after a fit

    def __init__(self, scorers: Sequence[PatchScorer] | None = None):
        self.scorers = scorers

    @property
    def given(self) -> Sequence[PatchScorer]:
        """The scorers that the parameter stands for, as they were given."""
        return (MutualScorer(), SubspaceScorer()) if self.scorers is None else self.scorers

    @property
    def each(self) -> list[PatchScorer]:
        """Clones of them: those that were fitted, if any were."""
        return [clone(scorer) for scorer in self.given] if self._each is None else self._each

    def check(self) -> None:
        """Raise an error for fewer than two, and what each of them refuses."""
        are_scorers = isinstance(self.given, Sequence) and all(isinstance(each, PatchScorer) for each in self.given)
        if not are_scorers or len(self.given) < 2:
            raise ValueError(f"a fusion takes two scorers or more, such as [MutualScorer(), ...], got {self.scorers!r}")
        for scorer in self.given:
            scorer.check()

    def provenance(self) -> dict[str, str]:
        """Name all of them."""
        lines = ["; ".join(scorer.provenance().values()) for scorer in self.given]
        return {"scorer": "mean, in units of their spread, of: " + " | ".join(lines)}

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Let each score the batch and average, (N, M, C) -> (N, M)."""
        self.check()
        self._each = [clone(scorer) for scorer in self.given]
        scores = torch.stack([scorer.fit_score(batch, context) for scorer in self._each])  # (n, N, M)
        flat = scores.flatten(1)
        middle = flat.median(dim=1).values
        spread = NORMAL * (flat - middle[:, None]).abs().median(dim=1).values
        noise = 100 * torch.finfo(flat.dtype).eps * flat.abs().amax(dim=1)  # of rounding
        spread = torch.where(spread > noise, spread, flat.std(dim=1))
        spread = torch.where(spread > noise, spread, torch.ones_like(spread))  # all the same: they keep their unit
        self._scales = torch.stack([middle, spread], dim=1).cpu()
        return self._average(scores)

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Let each score new images and average, on the batch's scales, (Q, M, C) -> (Q, M)."""
        if self._scales is None:
            self.fit_score(batch)
        return self._average(torch.stack([scorer.score(new, batch, context) for scorer in self.each]))

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Add up the work of all; they run one after the other, so memory is that of the largest."""
        self.check()
        each = [scorer.cost(shape, max_memory, tiles) for scorer in self.given]
        n_images, n_patches, n_channels = shape
        return ScorerCost(
            sum(work.n_steps for work in each),
            sum(work.products * work.n_channels / n_channels for work in each),
            n_channels,
            max(work.least_bytes for work in each) + 4 * len(each) * n_images * n_patches,
            max(work.more_bytes for work in each),
            max(work.kept_channels for work in each),
        )

    def resolve_references(self, place: Mapping[Any, int], n_images: int) -> "Fusion":
        """Return a clone of clones for the batch."""
        return clone(self).set_params(scorers=[scorer.resolve_references(place, n_images) for scorer in self.given])

    def state(self) -> dict[str, Tensor]:
        """Return the state of all, numbered, and their scales."""
        states = {f"{k} {name}": t for k, scorer in enumerate(self.each) for name, t in scorer.state().items()}
        return states if self._scales is None else states | {"scales": self._scales}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self._scales = state.get("scales")
        self._each = [clone(scorer) for scorer in self.given]
        for k, scorer in enumerate(self._each):
            begin = f"{k} "
            scorer.load_state_dict({key.removeprefix(begin): t for key, t in state.items() if key.startswith(begin)})

    def _average(self, scores: Tensor) -> Tensor:
        """(n, N, M) -> (N, M)."""
        assert self._scales is not None
        middle, spread = self._scales.to(scores).T[..., None, None]
        return ((scores - middle) / spread).mean(dim=0)
