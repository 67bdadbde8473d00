"""What all explorers share: a fitted detector or scores of any method, pictures, a menu of features."""

from copy import copy
from functools import cached_property

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.data.duplicates import originals
from musc_lite.data.image_set import ImageSet
from musc_lite.data.region import crop
from musc_lite.detector import Detector
from musc_lite.results.plots import COLORS, KINDS, outlined
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import Context
from musc_lite.stages.maps import defective_patches
from musc_lite.support.parameters import parse_bytes
from musc_lite.widgets.chart import histogram
from musc_lite.widgets.kept import Kept
from musc_lite.widgets.shown import Shown
from musc_lite.widgets.tiles import fitted, jpeg

__all__ = ["Explorer", "FeatureExplorer", "row"]

THUMBNAIL = 96  # pixels
PICTURE = 240
LONGEST_GRID = 32  # cells along the longer side of maps whose patches are not known
LARGEST_CACHE = 1_000_000_000  # bytes of tokens and distances that an explorer keeps


class Explorer(Shown, ipywidgets.VBox):
    """Base of the explorers.

    Parameters
    ----------
    detector : Detector or Scores
        Fitted; the explorer shows its batch, of copies the first. Some explorers need no more than `Scores`.

    Attributes
    ----------
    detector : Detector
        There only where a detector was given.
    shown : Scores
        Its own, or those that were given.
    images : ImageSet
        The batch, with labels and masks where they exist: they outline true defects and split histograms.
    """

    NEEDS: tuple[str, ...] = ()  # what the detector's scorer must have
    OF_SCORES = False  # whether scores alone are enough

    def __init__(self, detector: Detector | Scores):
        if isinstance(detector, Scores):
            if not self.OF_SCORES:
                raise ValueError(
                    f"{type(self).__name__} shows how a detector scores, which scores alone do not hold: give a fitted "
                    "detector"
                )
            super().__init__()
            self.shown: Scores = detector
            self.grid = _cells(detector)
        else:
            self._check(detector)
            super().__init__()
            self.detector = detector = without_copies(detector)
            self.scorer, features = detector.parts.scorer, detector.features_
            self.shown, self.grid = detector.scores_, features.grid
            self.context = Context(self.grid, detector.max_memory, tiles=features.framing.tiles)
            self.kept = Kept(LARGEST_CACHE if detector.max_memory is None else parse_bytes(detector.max_memory))
        self.images: ImageSet = self.shown.known_images
        self._text = ipywidgets.HTML()
        self._pictures: dict[tuple[int, int], bytes] = {}

    def _check(self, detector: Detector) -> None:
        """Refuse a detector that this explorer cannot show."""
        check_is_fitted(detector)
        if not self.suits(detector):
            raise ValueError(
                f"{type(self).__name__} cannot show a {type(detector.parts.scorer).__name__}: it asks for "
                f"{', '.join(self.NEEDS)}"
            )
        if not hasattr(detector, "images_"):
            raise ValueError(
                "this detector was loaded from a file, and its images were no files: set detector.images_ to an "
                f"ImageSet of its {len(detector.names_)} images"
            )

    @classmethod
    def suits(cls, detector: Detector) -> bool:
        """Tell whether this explorer can show what the detector does."""
        return all(hasattr(detector.parts.scorer, name) for name in cls.NEEDS)

    def say(self, sentence: str) -> None:
        """Write the status line, which screen readers read aloud."""
        self._text.value = f'<span role="status" aria-live="polite">{sentence}</span>'

    def tokens(self, s: int, r: int) -> Tensor:
        """Give the aggregated tokens (N, M, C) of the s-th layer at degree r, kept as long as there is room."""
        return self.kept.get(("tokens", s, r), lambda: self.detector.aggregated_tokens(s, r))

    def seen(self, i: int) -> Image.Image:
        """Give the part of image i that the backbone saw."""
        return crop(self.images[i], self.shown.region)

    def seen_mask(self, i: int) -> np.ndarray:
        """Give the mask (H, W) of what `seen` gives, all False where there is none."""
        return self.images.mask(i)

    def picture(self, i: int, size: int) -> bytes:
        """Give image i in the shape of the grid, so many pixels long, as a JPEG with its true defect outlined."""
        if (i, size) not in self._pictures:
            h, w = self.grid
            shape = fitted(w, h, size)
            self._pictures[i, size] = jpeg(outlined(self.seen(i).resize(shape), self.seen_mask(i)), shape)
        return self._pictures[i, size]

    def thumbnails(self) -> list[bytes]:
        """Give all images of the batch as small JPEGs."""
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
    """Give the rows and columns that pictures of maps are divided into: their patches where they are known."""
    if scores.framing is not None:
        return scores.framing.grid
    height, width = scores.anomaly_maps.shape[1:]
    share = min(1.0, LONGEST_GRID / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def without_copies(detector: Detector) -> Detector:
    """Give a fitted detector with each image once, as it was scored: itself where no image is another's copy."""
    kept, once = originals(detector.copy_of_), copy(detector)
    if len(kept) == len(detector.names_):
        return detector
    once.names_, once.copy_of_ = [detector.names_[i] for i in kept], np.arange(len(kept))
    once.features_, once.images_ = detector.features_.subset(kept), detector.images_.subset(kept)
    once.patch_scores_ = detector.patch_scores_[:, :, kept]
    for name in ("anomaly_maps_", "map_scores_", "image_scores_"):
        setattr(once, name, getattr(detector, name)[kept])
    return once


class FeatureExplorer(Explorer):
    """An explorer of one layer at one degree r, chosen by a menu; `MEAN` allows the mean of all, None, too.

    Attributes
    ----------
    features : (int, int) or None
        Index of the layer among those the detector read, and r.
    """

    MEAN = False
    features = traitlets.Tuple(traitlets.Int(), traitlets.Int(), allow_none=True, default_value=None)

    def __init__(self, detector: Detector):
        super().__init__(detector)
        layers = detector.features_.layers
        self.all_features = [(s, r) for s in range(len(layers)) for r in detector.r_]
        options: list[tuple[str, object]] = [(f"block {layers[s]}, r = {r}", (s, r)) for s, r in self.all_features]
        options = [("mean of all", "mean"), *options] if self.MEAN else options  # None would be an empty line
        self.feature_menu = ipywidgets.Dropdown(options=options, description="features", layout={"width": "260px"})
        needed = len(detector.r_) * detector.features_.patch_tokens.nbytes  # for the mean of all
        if not self.MEAN or needed > self.kept.max_bytes:  # each click would make them again
            self.features = (len(layers) // 2, max(detector.r_))
        to_menu, to_trait = (lambda value: value or "mean"), (lambda value: None if value == "mean" else value)
        traitlets.link((self, "features"), (self.feature_menu, "value"), transform=(to_menu, to_trait))

    @traitlets.validate("features")
    def _check_features(self, proposal):
        if proposal.value not in self.all_features and not (self.MEAN and proposal.value is None):
            raise traitlets.TraitError(
                f"the detector did not score (layer, r) = {proposal.value}: choose one of {self.all_features}"
                + (", or None for their mean" if self.MEAN else "")
            )
        return proposal.value

    def sorted_distances(self) -> Tensor:
        """Give the distances (N, M, J) that the scorer averages for the chosen features, nearest image first."""
        s, r = self.features
        scorer = self.detector.scorer_at(s, r)
        return self.kept.get(("distances", s, r), lambda: scorer.nearest(self.tokens(s, r), self.context))

    def patch_scores(self, s: int, r: int) -> np.ndarray:
        """Give the detector's patch scores (N, M) of the s-th layer at degree r."""
        return self.detector.patch_scores_[self.detector.r_.index(r), s]


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put widgets side by side, and below each other where the page is narrow."""
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "center"})
