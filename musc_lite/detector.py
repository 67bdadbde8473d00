"""All stages at once: photos in, scores out, behind scikit-learn's conventions for outlier detectors."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import load_backbone
from musc_lite.budget import Cost, Extent, Plan, choose_device, estimate_cost, plan_memory
from musc_lite.data.coerce import Images, as_image_set
from musc_lite.data.duplicates import find_duplicates, originals, places, warn_of_duplicates
from musc_lite.data.image_set import ImageSet
from musc_lite.parts import PARTS, Parts
from musc_lite.results.scores import Scores
from musc_lite.saved import read_detector, write_detector
from musc_lite.scorers.base import Context, PatchScorer
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.features import Features, extract_features
from musc_lite.stages.maps import MaxPooling, upsample_maps
from musc_lite.stages.rescoring import RsCIN
from musc_lite.stages.thresholds import Contamination
from musc_lite.support.parameters import parse_bytes
from musc_lite.support.progress import progress_bar
from musc_lite.views import View

__all__ = ["Detector"]


class Detector(OutlierMixin, BaseEstimator):
    """Zero-shot anomaly detection in a batch of unlabeled images, of parts that can be exchanged.

    Parameters
    ----------
    backbone, layers, max_memory, batch_size, device, cache_dir
        See `MuSc`.
    view, aggregation, scorer, pooling, rescoring, threshold : parts, optional
        In the order of the data: what the backbone sees of a photo, how a patch speaks for its surroundings, how
        patches are scored, how a map becomes its image's score, how images that look alike correct each other, where
        `predict` draws the line. None: the paper's `View`, `LNAMD`, `MutualScorer`, `MaxPooling`, `RsCIN`, and
        `Contamination`.

    Attributes
    ----------
    scorers_ : dict of (int, int) to PatchScorer
        The fitted scorer of the s-th layer at degree r. All others: see `MuSc`.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> from musc_lite.scorers.nearest import NearestScorer
    >>> images = from_arrays(list(np.random.default_rng(0).random((4, 28, 28, 3))))
    >>> Detector(view=View(28), aggregation=LNAMD((1,)), scorer=NearestScorer()).fit(images).scores_
    Scores(4 images, ... above the threshold ...)
    """

    def __init__(
        self,
        backbone: str | Backbone = "dinov2_vits14",
        *,
        view: View | None = None,
        layers: str | Sequence[int] | None = None,
        aggregation: LNAMD | None = None,
        scorer: PatchScorer | None = None,
        pooling: MaxPooling | None = None,
        rescoring: RsCIN | None = None,
        threshold: Contamination | None = None,
        max_memory: int | str | None = None,
        batch_size: int = 8,
        device: str | None = None,
        cache_dir: str | Path | None = None,
    ):
        self.backbone = backbone
        self.view = view
        self.layers = layers
        self.aggregation = aggregation
        self.scorer = scorer
        self.pooling = pooling
        self.rescoring = rescoring
        self.threshold = threshold
        self.max_memory = max_memory
        self.batch_size = batch_size
        self.device = device
        self.cache_dir = cache_dir

    @property
    def parts(self) -> Parts:
        """The parts that the parameters stand for."""
        return Parts.given(**{kind: getattr(self, kind) for kind in PARTS})

    def fit(self, X: Images, y: object = None) -> "Detector":
        """Score a batch of images, at least 2, by itself; labels are not used, `y` is ignored."""
        return self._fit(as_image_set(X), None)

    def fit_features(self, features: Features, X: Images) -> "Detector":
        """Score images whose features, all their layers, are there already: detectors share one extraction."""
        return self._fit(as_image_set(X), features)

    def fit_predict(self, X: Images, y: object = None) -> np.ndarray:
        """Fit, and tell which images of the batch are outliers, ``labels_``; `predict` would let each find itself."""
        return self.fit(X).labels_

    def score_images(self, X: Images) -> Scores:
        """Score new images, one or more, against the fitted batch; they do not score each other.

        An image of the batch would find itself there and look normal, which is warned of. Scores are scaled by the
        fit's range (a new image may score above 1 or below 0) and re-scored among the batch.
        """
        check_is_fitted(self)
        images, parts, features, kept = as_image_set(X), self.parts, self.features_, originals(self.copy_of_)
        known = [name for i, name in enumerate(images.names) if images.digest(i) in self._digests]
        if known:
            warnings.warn(
                f"{len(known)} of these images belong to the fitted batch, such as {known[0]}: each finds itself there "
                "and looks normal; the scores of fitted images are in scores_",
                stacklevel=2,
            )
        new = self._extract(images, features.layers, features.image_size)

        def score(scorer: PatchScorer, batch: Tensor, s: int, r: int, context: Context) -> Tensor:
            tokens = parts.aggregation.aggregate(new.patch_tokens[:, s], new.grid, r, batch.device)
            return scorer.score(tokens, batch, context)

        patch_scores = self._score_each(score)
        maps = self._maps(patch_scores)
        map_scores = parts.pooling.pool(maps)
        fitted = torch.from_numpy(self.map_scores_[kept]), features.class_tokens[kept]
        image_scores = parts.rescoring.rescore_new(map_scores, new.class_tokens, *fitted)
        arrays = [values.numpy() for values in (image_scores, map_scores, maps, patch_scores)]
        return Scores(images.names, *arrays, self.threshold_, images, batch=self.scores_, about=self.describe())

    def score_samples(self, X: Images) -> np.ndarray:
        """Score new images in scikit-learn's sign: lower is more abnormal, (N,)."""
        return -self.score_images(X).image_scores

    def decision_function(self, X: Images) -> np.ndarray:
        """Score new images so that outliers are negative, (N,)."""
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: Images) -> np.ndarray:
        """Tell which new images are outliers: -1 outlier, 1 inlier, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def scores_(self) -> Scores:
        """Everything that is known of the fitted batch's own images, in one object."""
        check_is_fitted(self)
        arrays = self.image_scores_, self.map_scores_, self.anomaly_maps_, self.patch_scores_
        images = self.__dict__.get("images_")  # a loaded detector may have none
        about = {"about": self.describe(), "seconds": self.seconds_}
        return Scores(self.names_, *arrays, self.threshold_, images, self.copy_of_, **about)

    @property
    def labels_(self) -> np.ndarray:
        """Which images of the batch are outliers: -1 outlier, 1 inlier, (N,)."""
        return np.where(self.scores_.is_outlier, -1, 1)

    @property
    def offset_(self) -> float:
        """The threshold in scikit-learn's sign."""
        return -self.threshold_

    @offset_.setter
    def offset_(self, value: float) -> None:
        self.threshold_ = -value

    def describe(self) -> dict[str, str]:
        """Name everything that shaped the numbers, title: value."""
        check_is_fitted(self)
        backbone, features = self.backbone_, self.features_
        lines = self.parts.describe()
        return {
            "backbone": f"{backbone.name}, weights {backbone.pretrained!r}, SHA-256 {backbone.weights_sha256}",
            "image size": f"{features.image_size} pixels a side, {features.grid[0]} x {features.grid[1]} patches",
            "blocks (0-based)": ", ".join(map(str, features.layers)),
            "aggregation degrees r": ", ".join(map(str, self.r_)),
            **lines,
            "threshold": f"{self.threshold_:.6g} ({lines.get('threshold', 'of its own')})",
        }

    def save(self, path: str | Path) -> None:
        """Write the fitted detector to one file, complete or not at all: see `saved.write_detector`."""
        check_is_fitted(self)
        write_detector(path, self)

    @classmethod
    def load(cls, path: str | Path, backbone: Backbone | None = None, device: str | None = None) -> "Detector":
        """Read what `save` wrote with this class: see `saved.read_detector`."""
        return read_detector(cls, path, backbone, device)

    def cost(self, n_images: int) -> Cost:
        """Estimate what fitting so many images takes, from about a second of work: see `budget.estimate_cost`."""
        parts, backbone = self._checked_parts(), self._load_backbone()
        return estimate_cost(parts.scorer, backbone, n_images, self._extent(backbone), self.max_memory)

    def aggregated_tokens(self, s: int, r: int) -> Tensor:
        """Make the aggregated tokens of the s-th layer at degree r again, without copies: (N, M, C)."""
        check_is_fitted(self)
        return self._aggregated(s, r, torch.device("cpu"))

    def scorer_at(self, s: int, r: int) -> PatchScorer:
        """Give the scorer of the s-th layer at degree r: the fitted one, or one with its settings where r is new."""
        check_is_fitted(self)
        return self.scorers_[s, r] if (s, r) in self.scorers_ else clone(self.scorers_[s, self.r_[0]])

    def without_copies(self) -> "Detector":
        """Give the fitted detector with each image once, as it was scored: itself where no image is another's copy."""
        check_is_fitted(self)
        kept, once = originals(self.copy_of_), copy(self)
        if len(kept) == len(self.names_):
            return self
        once.names_, once.copy_of_ = [self.names_[i] for i in kept], np.arange(len(kept))
        once.features_ = self.features_.subset(kept)
        once._keep(self.patch_scores_, self.anomaly_maps_, self.map_scores_, self.image_scores_, kept)
        if "images_" in self.__dict__:
            once.images_ = self.images_.subset(kept)
        return once

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "threshold_")  # set last: a fit that failed makes no fitted detector

    def _fit(self, images: ImageSet, features: Features | None) -> "Detector":
        """Run all stages; the first only where there are no features yet."""
        refuse_few(images)
        parts = self._checked_parts()
        self.seconds_: dict[str, float] = {}
        self.images_, self.names_ = images, list(images.names)
        found = find_duplicates(images)
        warn_of_duplicates(found, self.names_)
        self._digests, self.copy_of_ = set(found.digests), found.copy_of
        self.backbone_ = self._load_backbone()
        extent = self._extent(self.backbone_, features)
        self.r_ = extent.r
        self.scorers_ = self._make_scorers(len(extent.layers))
        plan = plan_memory(self.scorers_[0, self.r_[0]], len(images), extent, self.max_memory)
        with self._timed("features"):
            self.features_ = features or self._extract(images, extent.layers, extent.image_size, plan.storage)
        with self._timed("scoring"):
            patch_scores = self._score_each(lambda scorer, batch, s, r, context: scorer.fit_score(batch, context), plan)
        with self._timed("maps"):
            maps = self._maps(patch_scores)
            map_scores = parts.pooling.pool(maps)
        with self._timed("re-scoring"):
            image_scores = parts.rescoring.rescore(map_scores, self.features_.class_tokens[originals(self.copy_of_)])
        # The one place where torch turns into NumPy, and where copies get the results of their originals.
        arrays = [values.numpy() for values in (patch_scores, maps, map_scores, image_scores)]
        threshold = parts.threshold.draw(image_scores=arrays[-1], map_scores=arrays[-2])
        self._keep(*arrays, np.searchsorted(originals(self.copy_of_), self.copy_of_))
        self.threshold_ = threshold
        return self

    def _keep(self, patch_scores, maps, map_scores, image_scores, index: np.ndarray) -> None:
        """Keep the results of the images that an index names."""
        self.patch_scores_ = patch_scores if len(index) == len(maps) else patch_scores.take(index, axis=2)
        results = [values if len(index) == len(maps) else values[index] for values in (maps, map_scores, image_scores)]
        self.anomaly_maps_, self.map_scores_, self.image_scores_ = results

    def _make_scorers(self, n_layers: int) -> dict[tuple[int, int], PatchScorer]:
        """Make a scorer for each r and layer."""
        place, n_images = places(self.names_, self.copy_of_), len(originals(self.copy_of_))
        return {(s, r): self.parts.scorer.for_batch(place, n_images) for r in self.r_ for s in range(n_layers)}

    def _score_each(self, score: Callable[..., Tensor], plan: Plan | None = None) -> Tensor:
        """Call score(scorer, batch (N', M, C), s, r, context) for each r and layer, and stack: (R, S, ..., M)."""
        kept, scorer = originals(self.copy_of_), self.scorers_[0, self.r_[0]]
        shape = len(kept), *self.features_.patch_tokens.shape[2:]
        device, max_memory = choose_device(scorer, shape, self.backbone_, plan and plan.scoring_bytes)
        n_steps, scores = scorer.work(shape, max_memory).n_steps * len(self.scorers_), []
        with progress_bar(total=n_steps, desc="scoring", unit="step", unit_scale=True) as bar:
            context = Context(self.features_.grid, max_memory, bar.update)
            for (s, r), scorer in self.scorers_.items():
                scores.append(score(scorer, self._aggregated(s, r, device), s, r, context).cpu())
        return torch.stack(scores).unflatten(0, (len(self.r_), -1))

    def _aggregated(self, s: int, r: int, device: torch.device) -> Tensor:
        tokens, kept = self.features_.patch_tokens[:, s], originals(self.copy_of_)
        tokens = tokens if len(kept) == len(tokens) else tokens[kept]
        return self.parts.aggregation.aggregate(tokens, self.features_.grid, r, device)

    def _maps(self, patch_scores: Tensor) -> Tensor:
        """(R, S, N, M) -> (N, H, W)."""
        return upsample_maps(patch_scores.mean(dim=(0, 1)), self.features_.grid, self.features_.image_size)

    def _extent(self, backbone: Backbone, features: Features | None = None) -> Extent:
        """Say how much there is of each image, by the parameters or, if they agree with them, by features."""
        parts = self.parts
        size = parts.view.pixels(backbone.default_image_size)
        layers = features.layers if features and self.layers is None else tuple(backbone.layers(self.layers))
        h, w = backbone.grid(size)
        extent = Extent(layers, parts.aggregation.degrees(backbone.default_r), size, h * w, backbone.width)
        if features:
            features.check(len(self.names_), extent.layers, size, backbone.width)
        return extent

    def _extract(self, images: ImageSet, layers: Sequence[int], size: int, storage: str = "float32") -> Features:
        options = {"batch_size": self.batch_size, "cache_dir": self.cache_dir, "storage": storage}
        return extract_features(images, self.backbone_, layers=layers, image_size=size, **options)

    def _load_backbone(self) -> Backbone:
        given = self.backbone
        return given if isinstance(given, Backbone) else load_backbone(given, device=self.device)

    def _checked_parts(self) -> Parts:
        """Refuse before the long work what the stages would refuse after it."""
        if self.max_memory is not None:
            parse_bytes(self.max_memory)
        self.parts.check()
        return self.parts

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds_[stage] = time.perf_counter() - start


def refuse_few(images: ImageSet) -> None:
    """Refuse a batch of one image."""
    if len(images) < 2:
        raise ValueError(
            f"mutual scoring compares images with each other: give at least 2, got {len(images)} "
            f"({', '.join(images.names)}). A single new image can be scored against a fitted batch: score_images"
        )
