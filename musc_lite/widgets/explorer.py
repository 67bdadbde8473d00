"""What all explorers share: a fitted detector or scores of any method, pictures, a menu of features."""

import csv
import io
import math
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.data.duplicates import unique_indices
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import crop, pixel_box
from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import COLORS, KINDS, draw_mask_outline
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import ScoringContext
from musc_lite.stages.maps import defective_patches
from musc_lite.utils.tables import to_cells
from musc_lite.widgets.base import Shown
from musc_lite.widgets.cache import LARGEST_CACHE, ArrayCache, kept_of
from musc_lite.widgets.chart import histogram
from musc_lite.widgets.linked_selection import PatchRef, selection_of
from musc_lite.widgets.status_bar import StatusBar
from musc_lite.widgets.tiles import fitted, webp
from musc_lite.widgets.undo import History

THUMBNAIL = 96  # pixels on the page
PICTURE = 240
SHARP = 960  # at most, for one that is looked at closer
LONGEST_GRID = 32  # cells along the longer side of maps whose patches are not known


class Explorer(Shown, ipywidgets.VBox):
    """Base of the explorers.

    Parameters
    ----------
    detector : Detector or Scores
        Fitted; the explorer shows its batch. Some explorers need no more than `Scores`.

    Notes
    -----
    A constructor ends with ``self._ready(state)``. Its keywords are traits named in `STATE`, by which it begins
    elsewhere than by itself: `code` writes them.

    Attributes
    ----------
    detector : Detector
        There only where a detector was given.
    unique : ndarray (N',)
        The images of the batch that are no copies: tokens and distances are theirs alone.
    place_of : ndarray (N,)
        Where the tokens of each image of the batch stand among those; a copy has its original's.
    shown : Scores
        Its own, or those that were given.
    image : int or None
        The one that is shown, where one is.
    images : ImageSet
        The batch, with labels and masks where they exist: they outline true defects and split histograms.
    """

    image: Any
    NEEDS: tuple[str, ...] = ()  # what the detector's scorer must have
    ACCEPTS_SCORES = False  # whether scores alone are enough
    STATE: tuple[str, ...] = ()  # the traits that make up what is shown
    PLACE: tuple[str, ...] = ()  # those that say which image and patch

    def __init__(self, detector: Detector | Scores):
        if isinstance(detector, Scores):
            if not self.ACCEPTS_SCORES:
                raise ValueError(
                    f"{type(self).__name__} shows how a detector scores, which scores alone do not hold: give a fitted "
                    "detector"
                )
            super().__init__()
            self.shown: Scores = detector
            self.grid = _cells(detector)
            self.unique = self.place_of = np.arange(len(detector))
            self.kept = ArrayCache(LARGEST_CACHE)
        else:
            self._check(detector)
            super().__init__()
            self.kept, self._selection = kept_of(detector), selection_of(detector)
            self.detector = detector
            self.scorer, features = detector.components_.scorer, detector.features_
            self.unique = unique_indices(detector.copy_of_)
            self.place_of = np.searchsorted(self.unique, detector.copy_of_)
            self.shown, self.grid = detector.scores_, features.grid
            self.context = ScoringContext(self.grid, detector.max_memory, tiles=features.resolved_view.tiles)
        self.images: ImageSet = self.shown.required_images
        self.add_class("musc-explorer")
        self._text = StatusBar()
        self._sharp: set[int] = set()

    def _check(self, detector: Detector) -> None:
        """Raise an error for a detector that this explorer cannot show."""
        check_is_fitted(detector)
        if not self.supports(detector):
            raise ValueError(
                f"{type(self).__name__} cannot show a {type(detector.components_.scorer).__name__}: it asks for "
                f"{', '.join(self.NEEDS)}"
            )
        if detector.images_ is None:
            raise ValueError(
                "this detector was loaded from a file, and its images were no files: set detector.images_ to an "
                f"ImageSet of its {len(detector.names_)} images"
            )

    @classmethod
    def supports(cls, detector: Detector) -> bool:
        """Whether this explorer can show what the detector does."""
        return all(hasattr(detector.components_.scorer, name) for name in cls.NEEDS)

    def say(self, sentence: str) -> None:
        """Write the status line, which screen readers read aloud."""
        self._text.value = sentence

    def _ready(self, state: dict[str, Any]) -> None:
        """Begin with what was asked for, and take note of changes from now on."""
        self._history = History(self, self.STATE, "detector" if hasattr(self, "detector") else "scores", self._tell)
        self._text.serve(self.undo, {"png": self._png_file, "csv": self._csv_file})
        for name, value in state.items():
            if name not in self.STATE:
                raise TypeError(f"{type(self).__name__} has no {name!r}: it can begin with {', '.join(self.STATE)}")
            setattr(self, name, value)
        self._tell()
        if self.PLACE and hasattr(self, "detector"):
            self._selection.join(self)
            self.observe(lambda _: self._selection.moved(self, self.place), list(self.PLACE))

    def _tell(self) -> None:
        self._text.code, self._text.can_undo = self.code, len(self._history) > 0

    @property
    def code(self) -> str:
        """The line that shows the same again."""
        return self._history.line()

    def without_history(self) -> AbstractContextManager[None]:
        """Let changes be undone together with the one that they follow from."""
        return self._history.without_history() if hasattr(self, "_history") else nullcontext()

    def undo(self) -> None:
        """Go one step back."""
        self._history.undo()

    @property
    def place(self) -> PatchRef:
        """The image that is shown, and the patch picked in it, if one is: all explorers of a detector share them."""
        return self.image, None

    def select_patch(self, image: int, patch: int | None) -> None:
        """Show an image, and a patch of it where one is picked."""
        self.image = image

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return what is shown as a table: the names of its columns, and its rows."""
        raise NotImplementedError

    def _png_file(self) -> tuple[str, str, bytes]:
        return f"{type(self).__name__}.png", "image/png", self.static_png()

    def _csv_file(self) -> tuple[str, str, bytes]:
        names, rows = self.table()
        text = io.StringIO()
        csv.writer(text).writerows(map(to_cells, [names, *rows]))
        return f"{type(self).__name__}.csv", "text/csv", text.getvalue().encode("utf-8-sig")

    def tokens(self, s: int, r: int) -> Tensor:
        """Return the aggregated tokens (N', M, C) of the s-th layer at degree r, without copies, from the cache."""
        return self.kept.get(("tokens", s, r), lambda: self.detector.aggregated_tokens(s, r))

    def seen(self, i: int, at_least: int | None = None) -> Image.Image:
        """Return the part of image i that the backbone saw; decoded smaller where so many pixels a side are enough."""
        return crop(self.images.digest_and_image(i, at_least)[1], self.shown.region)

    def seen_size(self, i: int) -> tuple[int, int]:
        """Return (width, height) of what `seen` returns, without decoding it."""
        left, top, right, bottom = pixel_box(self.shown.region, self.images.size(i))
        return right - left, bottom - top

    def seen_mask(self, i: int) -> np.ndarray:
        """Return the mask (H, W) of what `seen` gives, all False where there is none."""
        return self.images.mask(i, self.shown.region)

    def picture(self, i: int, size: int) -> bytes:
        """Return what is seen of image i in its own shape, so many pixels long, as a WebP with its defect outlined.

        All explorers of a detector share these in its cache.
        """
        return self.kept.get(("picture", i, size), lambda: self._make_picture(i, size))

    def _make_picture(self, i: int, size: int) -> bytes:
        shape, (left, top, right, bottom) = fitted(*self.seen_size(i), size), self.shown.region
        at_least = math.ceil(min(shape) / min(right - left, bottom - top))  # of the whole photo
        return webp(draw_mask_outline(self.seen(i, at_least).resize(shape), self.seen_mask(i)), shape)

    def large(self, i: int) -> bytes:
        """Return what is seen of image i as a large picture: with its own pixels once it was looked at closer."""
        return self.picture(i, max(PICTURE, min(SHARP, max(self.seen_size(i)))) if i in self._sharp else PICTURE)

    def sharpen(self, i: int) -> None:
        """Show image i with its own pixels."""
        self._sharp.add(i)
        self.show()

    def thumbnails(self) -> list[bytes]:
        """Return all images of the batch as small pictures."""
        return [self.picture(i, THUMBNAIL) for i in range(len(self.images))]

    def image_menu(self) -> ipywidgets.Dropdown:
        """Make the menu of the batch's images."""
        options = [(f"{i}: {name}", i) for i, name in enumerate(self.shown.names)]
        return ipywidgets.Dropdown(options=options, description="image", layout={"width": "280px"})

    def bind(self, **controls: ipywidgets.Widget) -> None:
        """Keep each trait equal to the value of its control, and show the explorer again when one changes."""
        for trait, control in controls.items():
            traitlets.link((self, trait), (control, "value"))
        self.observe(lambda _: self.show(), list(controls))

    @cached_property
    def defective_patches(self) -> np.ndarray | None:
        """Which patches lie mostly on a defect, (N, M) bool; None without masks."""
        masks = self.shown.masks()
        return None if masks is None else defective_patches(masks, self.grid)

    def histograms(self, values: ArrayLike, defective: ArrayLike | None, bins: int | ArrayLike = 30) -> list[dict]:
        """Make the entries of a chart: how values (n,) are distributed, normal against defective where it is known."""
        values = np.ravel(values)
        edges = np.histogram_bin_edges(values, bins)
        if defective is None:
            return [histogram("all", values, edges, COLORS["unlabeled"])]
        defective = np.ravel(defective).astype(bool)
        parts = {name: values[defective == (name == "defective")] for name in KINDS}
        return [histogram(name, part, edges, COLORS[name]) for name, part in parts.items() if len(part)]

    def show(self) -> None:
        """Send what changed to the browser."""
        raise NotImplementedError


def _cells(scores: Scores) -> tuple[int, int]:
    """Return the rows and columns that pictures of maps are divided into: their patches where they are known."""
    if scores.resolved_view is not None:
        return scores.resolved_view.grid
    height, width = scores.anomaly_maps.shape[1:]
    share = min(1.0, LONGEST_GRID / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put widgets side by side, and below each other where the page is narrow."""
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "center"})
