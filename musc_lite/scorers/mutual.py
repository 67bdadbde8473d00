"""Mutual scoring of a whole batch: the paper's MSM behind the contract of a scorer.

The equations are in `stages.mutual_scoring`; here a batch is scored by them within a memory budget, and by choice with
less work: by some of the images, among fewer channels, near the same place only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from musc_lite.data.view import split_grid_into_tiles
from musc_lite.neighbors.brute_force import (
    TILE_BYTES,
    compute_dtype,
    free_memory,
    min_distances_to_references,
    pairwise_min_distances,
    principal_axes,
    project,
    squared_distances,
)
from musc_lite.neighbors.windows import outside_window
from musc_lite.scorers.base import DEFAULT_CONTEXT, Explanation, PatchScorer, ScorerCost, ScoringContext, check_budget
from musc_lite.scorers.reference_images import References, choose_references, count_references, select_references
from musc_lite.stages.aggregation import as_tokens
from musc_lite.stages.mutual_scoring import (
    at_least_two_images,
    drop_image,
    interval_average,
    nearest_distances_of_image,
)
from musc_lite.utils.deprecation import renamed_parameters
from musc_lite.utils.precision import resolve_precision
from musc_lite.utils.threads import for_each
from musc_lite.utils.validation import check_interval, parse_bytes


@renamed_parameters(window="search_window")
class MutualScorer(PatchScorer):
    """Score every patch by its nearest patches in the other images, averaged over an interval of the images.

    An image of the batch does not see itself. Kept after a fit: the principal axes, where they are searched among.

    Parameters
    ----------
    interval : (float, float)
        Share of the closest images that score a patch, see `interval_average`.
    references : int or sequence of int or str, optional
        Score every image by these images only, or by so many drawn at random (always the same ones for the same N):
        cost grows with N, not N^2. None: by all. Names need a batch that has them: `resolve_references`.
    n_components : int, optional
        Search among the first so many principal components of the (reference) tokens instead of all C channels.
    search_window : int, optional
        Look for the nearest patch only up to so many rows and columns away, for parts that lie alike in all images.
        None: everywhere.
    aligned : bool
        Look only in the same tile of the other images (`View`), for parts that lie alike: of T tiles 1/T of the work.

    Examples
    --------
    >>> MutualScorer().fit_score(np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]], dtype=torch.float64)
    """

    summary = (
        "MuSc scores a batch of unlabeled images by each other: a patch that finds no similar patch in the other "
        "images is anomalous."
    )

    saved = ("axes",)
    _axes: Tensor | None = None  # (n_components, C), after a fit

    def __init__(
        self,
        interval: tuple[float, float] = (0.0, 0.3),
        references: References = None,
        n_components: int | None = None,
        search_window: int | None = None,
        aligned: bool = False,
    ):
        self.interval = interval
        self.references = references
        self.n_components = n_components
        self.search_window = search_window
        self.aligned = aligned

    def check(self) -> None:
        """Raise an error for an interval that holds no image."""
        check_interval(self.interval)

    def provenance(self) -> dict[str, str]:
        """Name the interval and what is searched."""
        search = {name: getattr(self, name) for name in ("references", "n_components", "search_window")}
        search["aligned"] = self.aligned or None
        return {
            "interval": f"{self.interval[0]:g} to {self.interval[1]:g} of the other images",
            "search": ", ".join(f"{k}={v}" for k, v in search.items() if v is not None)
            or "in all other images, everywhere, in all channels",
        }

    def fit_score(self, batch: Tensor | np.ndarray, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Score a batch by itself, (N, M, C) -> (N, M)."""
        tokens = self._prepare(batch, context)
        n_images, n_patches, n_channels = tokens.shape
        chosen, max_memory = choose_references(n_images, self.references), context.max_memory
        if max_memory is None and tokens.is_cuda:
            max_memory = free_memory(tokens.device)
        scores = tokens.new_empty(n_images, n_patches, dtype=compute_dtype(tokens))
        for patches, grid in self._cells(context, n_patches):
            cell = tokens[:, patches]
            if self._shares_products((n_images, cell.shape[1], n_channels), max_memory):
                pairs = pairwise_min_distances(cell, context.progress, context.precision)

                def average(i: int, pairs=pairs, patches=patches) -> None:
                    scores[i, patches] = interval_average(drop_image(pairs[i], i).T, self.interval)

                for_each(average, range(n_images), tokens.device)
            else:

                def keep_average(i: int, nearest: Tensor, patches=patches) -> None:
                    scores[i, patches] = interval_average(nearest[:, chosen != i], self.interval)  # i may be chosen

                self._search(cell, select_references(cell, self.references), grid, context, keep_average)
        return scores

    def score(
        self, new: Tensor | np.ndarray, batch: Tensor | np.ndarray, context: ScoringContext = DEFAULT_CONTEXT
    ) -> Tensor:
        """Score new images against the batch, (Q, M, C) -> (Q, M)."""
        references = select_references(as_tokens(batch, keep_half=True), self.references)
        new = as_tokens(new, keep_half=True).to(references)
        if self.n_components is not None:
            axes = self._axes_of(references)
            new, references = project(new, axes), project(references, axes)
        scores = new.new_empty(new.shape[:2], dtype=compute_dtype(new))
        for patches, grid in self._cells(context, new.shape[1]):

            def keep_average(i: int, nearest: Tensor, patches=patches) -> None:
                scores[i, patches] = interval_average(nearest, self.interval)

            self._search(new[:, patches], references[:, patches], grid, context, keep_average)
        return scores

    def nearest(self, batch: Tensor | np.ndarray, context: ScoringContext = DEFAULT_CONTEXT) -> Tensor:
        """Return the distances that `fit_score` averages: of each patch to its nearest in every image, nearest first.

        Returns
        -------
        Tensor (N, M, J)
            Without references J = N - 1; with references an image that is one of them has J - 1, and then infinity.
        """
        tokens = self._prepare(batch, context)
        chosen, compared = choose_references(len(tokens), self.references), select_references(tokens, self.references)
        distances = tokens.new_empty(*tokens.shape[:2], len(chosen), dtype=compute_dtype(tokens))
        for patches, grid in self._cells(context, tokens.shape[1]):

            def keep_sorted(i: int, nearest: Tensor, patches=patches) -> None:
                nearest[:, chosen == i] = torch.inf  # an image does not score itself
                distances[i, patches] = nearest.sort(dim=-1).values

            self._search(tokens[:, patches], compared[:, patches], grid, context, keep_sorted)
        return distances if self.references is not None else distances[..., :-1]

    def explain(self, batch: Tensor, i: int, m: int, context: ScoringContext = DEFAULT_CONTEXT) -> Explanation:
        """Show from where patch m of image i is scored: its distance to every patch that it looks at."""
        near, chosen = self._near(context.grid, batch.shape[1]), choose_references(len(batch), self.references)
        if self.n_components is not None:
            batch = project(batch, self._axes_of(select_references(batch, self.references)))
        distances = squared_distances(batch[i, m : m + 1], batch)[..., 0].clamp(min=0).sqrt()  # (N, M)
        if near:
            distances[:, outside_window(near["grid"], near["window"])[m]] = torch.inf
        for patches, _ in self._cells(context, batch.shape[1]):
            own = torch.zeros(batch.shape[1], dtype=torch.bool)
            own[patches] = True
            if own[m]:
                distances[:, ~own] = torch.inf
        return Explanation(distances, chosen[chosen != i])

    def cost(
        self, shape: tuple[int, int, int], max_memory: int | str | None = None, tiles: tuple[int, int] = (1, 1)
    ) -> ScorerCost:
        """Estimate the cost of scoring a batch, in pairs of images."""
        n_images, n_patches, n_channels = shape
        self.check()
        self._near(None, n_patches if self.search_window is None else round(n_patches**0.5) ** 2)
        if self.n_components is not None:
            principal_axes(torch.zeros(2, 1, n_channels), self.n_components)  # says what is wrong with them
        n_cells = tiles[0] * tiles[1] if self.aligned else 1
        shape = n_images, -(-n_patches // n_cells), n_channels  # of a cell
        shared = self._shares_products(shape, max_memory)
        n_pairs = n_images * (n_images - 1) // 2 if shared else n_images * count_references(n_images, self.references)
        rows = 1.0 if self.search_window is None else min(1.0, (2 * self.search_window + 1) / n_patches**0.5)
        copied = 4 * n_images * shape[1] * n_channels if n_cells > 1 else 0  # a cell's tokens
        return ScorerCost(
            n_steps=n_pairs * n_cells,
            products=n_pairs / n_cells * rows,  # of a square grid
            n_channels=self.n_components or n_channels,
            least_bytes=self._least_memory(shape) + copied,
            more_bytes=4 * n_images**2 * shape[1] if self._shares_products(shape) else 0,
            kept_channels=self.n_components or 0,
        )

    def _prepare(self, batch: Tensor | np.ndarray, context: ScoringContext) -> Tensor:
        """Check a batch and bring it to the channels that are searched: (N, M, n)."""
        tokens = at_least_two_images(as_tokens(batch, keep_half=True))
        references = select_references(tokens, self.references)
        self._near(context.grid, tokens.shape[1])
        if self.n_components is not None:
            axes = principal_axes(references, self.n_components)
            self._axes, tokens = axes.T, project(tokens, axes)
        return tokens

    def _axes_of(self, references: Tensor) -> Tensor:
        """Return the axes (C, n) of the fit, or those of the references (J, M, C) where nothing was fitted."""
        if self._axes is not None:
            return self._axes.T.to(references.device)
        assert self.n_components is not None
        return principal_axes(references, self.n_components)

    def _search(
        self, tokens: Tensor, compared: Tensor, grid: tuple[int, int] | None, context: ScoringContext, use: Callable
    ) -> None:
        """Call use(i, distances (M, J)) with what lies in one cell of each image: see `min_distances_to_references`."""
        near = self._near(grid, tokens.shape[1])
        min_distances_to_references(
            tokens, compared, use, **near, progress=context.progress, precision=context.precision
        )

    def _cells(self, context: ScoringContext, n_patches: int) -> list[tuple[slice | Tensor, tuple[int, int] | None]]:
        """Return which patches are compared with each other, and on which grid they lie: all, or those of each tile."""
        if not self.aligned or context.tiles == (1, 1):
            return [(slice(None), context.grid)]
        side = round(n_patches**0.5)
        return [*split_grid_into_tiles(context.grid or (side, side), context.tiles)]

    def _near(self, grid: tuple[int, int] | None, n_patches: int) -> dict:
        """Check the window and the grid (h, w) that it moves over, a square where nothing else is said."""
        if self.search_window is None:
            return {}
        if not isinstance(self.search_window, Integral) or self.search_window < 0:
            raise ValueError(f"search_window must be a whole number of patches, 0 or more, got {self.search_window!r}")
        side = round(n_patches**0.5)
        h, w = (side, side) if grid is None else grid
        if h * w != n_patches:
            raise ValueError(f"a window needs to know the grid of the {n_patches} patches, got grid={grid}")
        return {"window": int(self.search_window), "grid": (h, w)}

    def _shares_products(self, shape: tuple[int, int, int], max_memory: int | str | None = None) -> bool:
        """Whether one product can serve both directions of a pair: for all pairs, if their distances fit."""
        n_images, n_patches, _ = shape
        if max_memory is not None:
            least = self._least_memory(shape)
            check_budget(least, max_memory, shape, ". Give more, or fewer references")
            if parse_bytes(max_memory) < 4 * n_images**2 * n_patches + least:
                return False
        return self.references is None and self.search_window is None

    def _least_memory(self, shape: tuple[int, int, int]) -> int:
        """Count the bytes that scoring one image after the other holds beside the tokens: tiles and minima."""
        n_images, n_patches, n_channels = shape
        n_references = count_references(n_images, self.references)
        compared = 0 if self.references is None else 4 * n_references * n_patches * n_channels  # a copy of their tokens
        tiles = torch.get_num_threads() * (3 * TILE_BYTES + 16 * n_references * n_patches)
        return 4 * n_images * n_patches + tiles + compared


@renamed_parameters(window="search_window")
def mutual_scores(
    tokens: Tensor | np.ndarray,
    *,
    interval: tuple[float, float] = (0.0, 0.3),
    method: str = "fast",
    references: int | Sequence[int] | None = None,
    n_components: int | None = None,
    search_window: int | None = None,
    grid: tuple[int, int] | None = None,
    max_memory: int | str | None = None,
    progress: Callable[[int], object] | None = None,
    precision: str = "float32",
) -> Tensor:
    """Score every patch by the other images: `nearest_distances` and `interval_average` in one.

    Parameters
    ----------
    tokens : (N, M, C)
        Aggregated patch tokens. On a CPU half precision halves their memory; products are float32 all the same. On an
        NVIDIA GPU products are made in half precision and added up in float32: scores stay within 0.002.
    interval, references, n_components, search_window
        See `MutualScorer`.
    method : {"fast", "loop"}
        See `nearest_distances`; both give the same scores.
    grid : (h, w), optional
        Rows and columns of patches, which a window needs to know; None: a square.
    max_memory : int or str, optional
        Bytes, or a text such as "2GB", that scoring may take beside the tokens. None: what is fastest, 4 N^2 M bytes
        for the distances of all pairs; on a GPU what is free there. Where that is too much, images are scored one
        after the other, for twice the products.
    progress : callable, optional
        Called from time to time with the number of pairs of images compared since the last call (`ScorerCost.n_steps`).
    precision : {"float32", "bfloat16", "auto"}
        Of the products of "fast" on a CPU, see `load_backbone`. In bfloat16 each distance comes out within 0.2 %.

    Returns
    -------
    Tensor (N, M)
        Patch anomaly scores; higher is more anomalous.

    Raises
    ------
    ValueError
        If a parameter does not fit the tokens, or max_memory is too small: the message says the smallest that works.

    Examples
    --------
    >>> mutual_scores(np.array([[[0.0], [1.0]], [[0.0], [5.0]], [[0.0], [1.0]]]))
    tensor([[0., 0.],
            [0., 4.],
            [0., 0.]], dtype=torch.float64)
    """
    scorer = MutualScorer(interval, references, n_components, search_window)
    if method == "fast":
        tokens = as_tokens(tokens, keep_half=True)
        context = ScoringContext(grid, max_memory, precision=resolve_precision(precision, tokens.device))
        return scorer.fit_score(tokens, replace(context, progress=progress) if progress else context)
    if method != "loop":
        raise ValueError(f"method must be 'fast' or 'loop', got {method!r}")
    tokens = scorer._prepare(tokens, ScoringContext(grid))
    near = scorer._near(grid, tokens.shape[1])
    tokens, chosen = tokens.to(compute_dtype(tokens)), choose_references(len(tokens), references)
    distances = (nearest_distances_of_image(tokens, i, chosen, **near) for i in range(len(tokens)))
    return torch.stack([interval_average(image, interval) for image in distances])
