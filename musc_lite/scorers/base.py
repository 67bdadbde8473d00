"""The contract of a scorer: patch vectors of a batch in, one anomaly score for each patch out.

A new scorer is a file beside this one, a line in `musc_lite/scorers/__init__.py` and a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sklearn.base import clone
from torch import Tensor

from musc_lite.scorers.reference_images import reference_indices
from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import renamed_attributes
from musc_lite.utils.validation import parse_bytes


def _say_nothing(n_steps: int) -> None:
    pass


@dataclass(frozen=True)
class ScoringContext:
    """What a scorer is told beside the tokens."""

    grid: tuple[int, int] | None = None  # rows and columns (h, w) of patches; None: a square
    max_memory: int | str | None = None  # bytes, or "2GB", that scoring may take beside the tokens; None: the fastest
    progress: Callable[[int], object] = (
        _say_nothing  # is given the steps (`ScorerCost.n_steps`) done since its last call
    )
    tiles: tuple[int, int] = (1, 1)  # rows and columns of tiles that the grid is made of
    precision: str = "float32"  # or "bfloat16", which a scorer that compares all images may use on a CPU


DEFAULT_CONTEXT = ScoringContext()


@dataclass(frozen=True)
class ScorerCost:
    """What scoring one layer at one r takes."""

    n_steps: int  # what `Context.progress` counts up to
    products: float  # matrix products, in units of (M x n_channels) by (n_channels x M): two images compared
    n_channels: int  # that are compared
    least_bytes: int = 0  # the least memory that works beside the tokens
    more_bytes: int = 0  # what the fastest way takes on top of that
    kept_channels: int = 0  # for each patch beside its own tokens


@dataclass(frozen=True)
class Explanation:
    """Why a patch has its score: what a click on it shows."""

    distances: Tensor  # (N, M) to every patch of the batch, its own image's too; infinite where it does not look
    images: Tensor  # (J,) that it is scored by, its own not among them


@renamed_attributes(
    idea="summary", work="cost", for_batch="resolve_references", set_state="load_state_dict", describe="provenance"
)
class PatchScorer(Component):
    """Base of the scorers; one clone is fitted for each layer and r.

    The batch is handed in again where it is needed: a scorer keeps only small state (means, axes, a coreset).
    Each scorer says in its docstring whether an image of the batch sees itself.

    `fit_score` and `score` are what a scorer must have. One that also has ``explain(batch, i, m, context)``, which
    gives an `Explanation`, and ``nearest(batch, context)``, sorted distances (N, M, J), infinite at the end where
    there are fewer, is shown by more explorers.

    Attributes
    ----------
    idea : str
        What makes a patch anomalous, in one sentence for a reader who knows none of the methods: the report begins
        with it.
    saved : tuple of str
        Names of the small tensors that a fit keeps: `state` gives "mean" out of the attribute ``_mean``.
    """

    summary = ""
    saved: ClassVar[tuple[str, ...]] = ()

    def fit_score(self, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score a batch by itself.

        Parameters
        ----------
        batch : (N, M, C)
            Aggregated patch tokens of one layer at one r.
        context : Context

        Returns
        -------
        Tensor (N, M)
            Higher is more anomalous.
        """
        raise NotImplementedError

    def score(self, new: Tensor, batch: Tensor, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score new images against the batch that was fitted.

        Parameters
        ----------
        new : (Q, M, C)
            Aggregated patch tokens of the new images, none of them in the batch.
        batch : (N, M, C)
            The tokens that `fit_score` was given.
        context : Context

        Returns
        -------
        Tensor (Q, M)
        """
        raise NotImplementedError

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch; feeds the progress bar, `Detector.cost` and the memory plan.

        Parameters
        ----------
        shape : (N, M, C)
        max_memory : int or str, optional
            Bytes beside the tokens.
        tiles : (int, int)
            Rows and columns of tiles that the M patches come from.

        Raises
        ------
        ValueError
            If a parameter does not fit such a batch, or max_memory is too small.
        """
        n_images, _, n_channels = shape
        return ScorerCost(n_images, n_images**2, n_channels)

    def resolve_references(self, place: Mapping[Any, int], n_images: int) -> "PatchScorer":
        """Return a clone for one batch: where its `references` name images, they become places in the batch.

        Parameters
        ----------
        place : mapping of str or int to int
            Names, and indices that copies are counted in, to places among the images that are scored.
        n_images : int
            How many images are scored.
        """
        scorer = clone(self)
        if hasattr(scorer, "references"):
            scorer.references = reference_indices(scorer.references, place)
        return scorer

    def state(self) -> dict[str, Tensor]:
        """Return the small tensors to save, those that there are."""
        tensors = {name: getattr(self, f"_{name}") for name in self.saved}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for name in self.saved:
            setattr(self, f"_{name}", state.get(name))


def check_budget(
    least_bytes: int, max_memory: int | str | None, shape: tuple[int, int, int], advice: str = "", what: str = "scoring"
) -> None:
    """Raise ValueError where scoring a batch (N, M, C) takes more than max_memory at least."""
    if max_memory is not None and parse_bytes(max_memory) < least_bytes:
        raise ValueError(
            f"{what} {shape[0]} images of {shape[1]} patches takes at least {least_bytes} bytes beside the tokens; "
            f"max_memory={max_memory!r} is less{advice}"
        )
