"""All stages at once: photos in, scores out, behind scikit-learn's conventions for outlier detectors."""

import warnings
from collections.abc import Sequence
from copy import copy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.analysis.groups import Groups
from musc_lite.analysis.reference_group import check_groups, find_normal
from musc_lite.backbones.backbone import Backbone
from musc_lite.data.appearance import Appearance, appearance_of, chroma
from musc_lite.data.coerce import Images, as_batch, as_image_set
from musc_lite.data.depth import LEGACY, scales_in_words
from musc_lite.data.duplicates import expand, find_duplicates, originals, warn_of_duplicates, without_copies
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import WHOLE
from musc_lite.data.view import Framing, View
from musc_lite.detector.batch import Batch, Scorers, fit_score, make_scorers, score_each
from musc_lite.detector.components import PARTS, Parts
from musc_lite.detector.memory import plan_memory
from musc_lite.detector.outliers import OutlierAnswers
from musc_lite.detector.planning import PlanningAhead
from musc_lite.detector.serialization import read_detector, write_detector
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import Context, PatchScorer
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.conformal import FalseAlarmRate
from musc_lite.stages.features import Features, extract_features, region_of_objects, storage_of
from musc_lite.stages.maps import Pooling, upsample_maps
from musc_lite.stages.rescoring import RsCIN
from musc_lite.stages.thresholds import Contamination, Decision
from musc_lite.utils.progress import timed
from musc_lite.utils.validation import check_memory

__all__ = ["Detector"]


class Detector(PlanningAhead, OutlierAnswers, BaseEstimator):
    """Zero-shot anomaly detection in a batch of unlabeled images, of parts that can be exchanged.

    Parameters
    ----------
    backbone, layers, groups, max_memory, batch_size, device, precision, cache_dir
        See `MuSc`.
    view, aggregation, scorer, pooling, rescoring, threshold : parts, optional
        In the order of the data: what the backbone sees of a photo, how a patch speaks for its surroundings, how
        patches are scored, how a map becomes its image's score, how images that look alike correct each other, where
        `predict` draws the line. None: the paper's `View`, `LNAMD`, `MutualScorer`, `Pooling`, `RsCIN`, and
        `Contamination`.

    Attributes
    ----------
    scorers_ : dict of (int, int) to PatchScorer
        The fitted scorer of the s-th layer at degree r.
    fitted_at_ : str or None
        When the fit ended, UTC (ISO 8601); None in files of early versions. All others: see `MuSc`.

    Examples
    --------
    >>> from musc_lite import NearestScorer, planted_textures
    >>> Detector(view=View(28), scorer=NearestScorer()).fit(planted_textures("brick", 4, 1)).scores_
    Scores(4 images, ... above the threshold ...)
    """

    # What a fit found, all of it at once.
    _setup: "Detector"  # unfitted, with the parameters of then
    _digests: set[str]
    names_: list[str]
    images_: ImageSet
    copy_of_: np.ndarray
    backbone_: Backbone
    _products: str  # float32, bfloat16 or float16
    _storage: str  # float32, float16 or disk
    r_: tuple[int, ...]
    features_: Features
    groups_: Groups | None
    normal_: np.ndarray | None
    scorers_: Scorers
    patch_scores_: np.ndarray
    anomaly_maps_: np.ndarray
    map_scores_: np.ndarray
    image_scores_: np.ndarray
    calibration_: np.ndarray | None
    decision_: Decision
    seconds_: dict[str, float]
    fitted_at_: str | None
    appearance_: Appearance | None

    def __init__(
        self,
        backbone: str | Backbone = "dinov2_vits14",
        *,
        view: View | None = None,
        layers: str | Sequence[int] | None = None,
        aggregation: LNAMD | None = None,
        scorer: PatchScorer | None = None,
        pooling: Pooling | None = None,
        rescoring: RsCIN | None = None,
        threshold: Contamination | FalseAlarmRate | None = None,
        groups: Literal["largest"] | int | None = None,
        max_memory: int | str | None = None,
        batch_size: int = 8,
        device: str | None = None,
        precision: str = "float32",
        cache_dir: str | Path | None = None,
    ):
        self.backbone = backbone
        self.view = view
        self.layers = layers
        self.aggregation = aggregation
        self.scorer = scorer
        self.pooling: Any = pooling  # that of `MuSc` is the number itself
        self.rescoring = rescoring
        self.threshold = threshold
        self.groups = groups
        self.max_memory = max_memory
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.cache_dir = cache_dir

    @property
    def parts(self) -> Parts:
        """The parts that the parameters stand for."""
        return Parts.given(**{kind: getattr(self, kind) for kind in PARTS})

    def fit(self, X: Images, y: object = None, *, trusted: Images | None = None) -> "Detector":
        """Score a batch of images, at least 2, by itself; labels are not used, `y` is ignored.

        Images outside of the batch that are trusted to be good are scored against it as new ones are: `FalseAlarmRate`
        draws the line from their scores, and new images get p-values.
        """
        return self._fit(as_batch(X), None, trusted)

    def fit_features(self, features: Features, X: Images) -> "Detector":
        """Score images whose features, all their layers, are there already: detectors share one extraction."""
        return self._fit(as_batch(X), features)

    def score_images(self, X: Images) -> Scores:
        """Score new images, one or more, against the fitted batch; they do not score each other.

        An image of the batch would find itself there and look normal, which is warned of. Scores are scaled by the
        fit's range (a new image may score above 1 or below 0) and re-scored among the batch.
        """
        check_is_fitted(self)
        images = as_image_set(X).scaled_as(self.scales_)
        if known := self._in_batch(images):
            warnings.warn(
                f"{len(known)} of these images belong to the fitted batch, such as {known[0]}: each finds itself there "
                "and looks normal; the scores of fitted images are in scores_",
                stacklevel=2,
            )
        scored = partial(Scores, about=self.describe(), framing=self.features_.framing, batch=self.scores_)
        scored = partial(scored, calibration=self.calibration_, decision=self.decision_)
        after, before, maps, patches = self._score_new(images)
        _warn_of_reading(images)
        if others := [kind for kind in images.scales.found if kind not in self.scales_]:
            warnings.warn(
                f"the fitted batch holds no {' or '.join(others)} values: these images are scaled by themselves, and "
                "their scores may not be comparable with those of the batch",
                stacklevel=2,
            )
        return scored(images.names, after, before, maps, patches, self.threshold_, images)

    def holds(self, digest: str) -> bool:
        """Tell whether an image with this digest (`ImageSet.digest`) belongs to the fitted batch."""
        return digest in self._digests

    def _in_batch(self, images: ImageSet) -> list[str]:
        """Name those of some images that the fitted batch holds."""
        return [name for i, name in enumerate(images.names) if self.holds(images.digest(i))]

    def _score_new(self, images: ImageSet) -> list[np.ndarray]:
        """Score images against the batch: after re-scoring (Q,), before it (Q,), maps (Q, H, W), patches."""
        parts, features, batch = self.parts_, self.features_, self._batch
        new = self._extract(images, features.layers, features.framing)

        def score(scorer: PatchScorer, fitted: Tensor, s: int, r: int, context: Context) -> Tensor:
            tokens = parts.aggregation.aggregate(new.patch_tokens[:, s], new.grid, r, fitted.device)
            return scorer.score(tokens, fitted, context)

        patch_scores = score_each(score, self.scorers_, batch, self.backbone_)
        maps = self._maps(patch_scores)
        map_scores = parts.pooling.pool(maps)
        fitted_scores = torch.from_numpy(self.map_scores_[originals(self.copy_of_)])
        image_scores = parts.rescoring.rescore_new(map_scores, new.class_tokens, fitted_scores, batch.class_tokens)
        return [values.numpy() for values in (image_scores, map_scores, maps, patch_scores)]

    def _calibrate(self, trusted: ImageSet | None) -> np.ndarray | None:
        """Score trusted images, each once, against the batch: in order (n,)."""
        if trusted is None:
            return None
        if known := self._in_batch(trusted):
            raise ValueError(
                f"{len(known)} trusted images belong to the batch, such as {known[0]}: there each finds itself; take "
                "them out of one of the two"
            )
        return np.sort(self._score_new(trusted.scaled_as(self.scales_))[0])

    @property
    def scores_(self) -> Scores:
        """Everything that is known of the fitted batch's own images, in one object."""
        check_is_fitted(self)
        arrays = self.image_scores_, self.map_scores_, self.anomaly_maps_, self.patch_scores_
        images = self.__dict__.get("images_")  # a loaded detector may have none
        known = partial(Scores, about=self.describe(), seconds=self.seconds_, framing=self.features_.framing)
        known = partial(known, decision=self.decision_, appearance=self.appearance_)
        return known(self.names_, *arrays, self.threshold_, images, self.copy_of_)

    def describe(self) -> dict[str, str]:
        """Name everything that shaped the numbers, title: value."""
        check_is_fitted(self)
        backbone, features = self.backbone_, self.features_
        lines, idea = self.parts_.describe(), self.parts_.scorer.idea
        depth = "" if self.scales_ == LEGACY else scales_in_words(self.scales_)
        if self.normal_ is not None:
            lines["groups"] = f"scored by the {len(self.normal_)} images of the group that is said to be normal"
        precisions = dict.fromkeys((self._products, backbone.products))
        if [*precisions] != ["float32"]:
            of = "; of new images ".join(precisions)
            lines["precision"] = f"{of}: scores differ a little from those of float32"
        if self._storage != "float32":
            where = ", on disk" if self._storage == "disk" else ""
            lines["storage"] = f"patch tokens in float16{where}: scores stay within 0.002 of those of float32"
        if self.calibration_ is not None:
            lines["trusted"] = f"{len(self.calibration_)} images outside of the batch"
        return ({"method": idea} if idea else {}) | {
            "backbone": f"{backbone.name}, weights {backbone.pretrained!r}, SHA-256 {backbone.weights_sha256}",
            **features.framing.describe(),
            **({"bit depth": depth} if depth else {}),
            "blocks (0-based)": ", ".join(map(str, features.layers)),
            "aggregation degrees r": ", ".join(map(str, self.r_)),
            **lines,
            "threshold": f"{self.threshold_:.6g} ({self.decision_.rule})",
        }

    def save(self, path: str | Path) -> None:
        """Write the fitted detector to one file, complete or not at all: see `saved.write_detector`."""
        check_is_fitted(self)
        write_detector(path, self)

    @classmethod
    def load(cls, path: str | Path, backbone: Backbone | None = None, device: str | None = None) -> "Detector":
        """Read what `save` wrote, a `MuSc` where one was saved: see `saved.read_detector`."""
        return read_detector(cls, path, backbone, device)

    def aggregated_tokens(self, s: int, r: int) -> Tensor:
        """Make the aggregated tokens of the s-th layer at degree r again, without copies: (N, M, C)."""
        check_is_fitted(self)
        return self._batch.tokens(s, r)

    def scorer_at(self, s: int, r: int) -> PatchScorer:
        """Give the scorer of the s-th layer at degree r: the fitted one, or one with its settings where r is new."""
        check_is_fitted(self)
        return self.scorers_[s, r] if (s, r) in self.scorers_ else clone(self.scorers_[s, self.r_[0]])

    def with_scorer(self, scorer: PatchScorer) -> "Detector":
        """Give an unfitted detector of these parts, but for another scorer."""
        parts = vars(self.parts) | {"scorer": scorer}
        names = ("backbone", "layers", "groups", "max_memory", "batch_size", "device", "precision", "cache_dir")
        return Detector(**{name: getattr(self, name) for name in names}, **parts)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "decision_")

    def _fit(self, images: ImageSet, features: Features | None, trusted: Images | None = None) -> "Detector":
        """Run all stages on a copy, the first only where there are no features yet; take over its results at the end.

        A fit that fails or is interrupted leaves the fit before it as it was.
        """
        known_good = None if trusted is None else without_copies(as_image_set(trusted))
        check_memory(self.max_memory)
        parts, seconds = self.parts, dict[str, float]()
        parts.check()
        parts.threshold.check_trusted(len(known_good or ()))
        self.load_backbone()
        setup = self._setup_now()
        fit = copy(setup)
        fit._setup, parts = setup, setup.parts
        fit.images_, fit.names_ = images, list(images.names)
        chromas: dict[int, float] = {}
        twice = find_duplicates(images, lambda i, image: chromas.update({i: chroma(image)}))
        warn_of_duplicates(twice, fit.names_)
        fit._digests, fit.copy_of_ = set(twice.digests), twice.copy_of
        fit.scales_ = dict(images.scales.found)
        _warn_of_reading(images)
        fit.appearance_ = appearance_of(images, chromas)
        fit.backbone_ = fit.load_backbone()
        framing = fit._frame(images, features)
        extent = fit.extent(framing, features)
        if features:
            features.check(len(images), extent.layers, framing, fit.backbone_.width)
        fit.r_ = extent.r
        fit.groups_, fit.normal_, scorer = None, None, check_groups(fit.groups, parts.scorer)
        fit.scorers_ = make_scorers(scorer, fit.names_, fit.copy_of_, extent.layers, extent.r)
        first, precision = fit.scorers_[0, fit.r_[0]], fit.backbone_.precision
        plan = plan_memory(first, len(images), extent, fit.max_memory, precision)
        with timed(seconds, "features"):
            fit.features_ = features or fit._extract(images, extent.layers, framing, plan.storage)
        fit._storage = storage_of(fit.features_) if features else plan.storage
        fit._products = fit.backbone_.products
        if fit.groups is not None:
            with timed(seconds, "groups"):
                fit.groups_, fit.normal_ = find_normal(fit._batch, fit.groups)
            fit.scorers_ = make_scorers(fit.batch_scorer, fit.names_, fit.copy_of_, extent.layers, extent.r)
        with timed(seconds, "scoring"):
            patch_scores = score_each(fit_score, fit.scorers_, fit._batch, fit.backbone_, plan.scoring_bytes)
        with timed(seconds, "maps"):
            maps = fit._maps(patch_scores)
            map_scores = parts.pooling.pool(maps)
        with timed(seconds, "re-scoring"):
            image_scores = parts.rescoring.rescore(map_scores, fit._batch.class_tokens)
        # The one place where torch turns into NumPy, and where copies get the results of their originals.
        arrays = [values.numpy() for values in (patch_scores, maps, map_scores, image_scores)]
        fit.patch_scores_ = expand(arrays[0], fit.copy_of_, axis=2)
        fit.anomaly_maps_, fit.map_scores_, fit.image_scores_ = (expand(a, fit.copy_of_) for a in arrays[1:])
        fit.calibration_ = fit._calibrate(known_good)
        threshold = parts.threshold.draw(arrays[-1], arrays[-2], fit.calibration_)
        fit.decision_ = Decision.by(parts.threshold, threshold, len(arrays[-1]), fit.calibration_)
        fit.fitted_at_, fit.seconds_ = datetime.now(UTC).isoformat(timespec="seconds"), seconds
        parameters = self.get_params(deep=False)
        self.__dict__.update({name: value for name, value in vars(fit).items() if name not in parameters})
        return self

    def _setup_now(self) -> Self:
        """Return an unfitted detector with copies of the present parameters: what a fit goes by from then on."""
        given = self.get_params(deep=False)
        own: dict[str, Any] = {k: v if isinstance(v, Backbone) else clone(v, safe=False) for k, v in given.items()}
        setup = type(self)(**own)
        setup._loaded = self._loaded
        return setup

    @property
    def parts_(self) -> Parts:
        """The parts at the time of the fit, which scored the batch and score new images."""
        return self._setup.parts

    @property
    def threshold_(self) -> float:
        """Image scores above it are outliers; one that is set by hand answers from then on."""
        return self.decision_.value

    @threshold_.setter
    def threshold_(self, value: float) -> None:
        self.decision_ = Decision(value)

    @property
    def batch_scorer(self) -> PatchScorer:
        """The scorer for the batch: where a group of it is said to be normal, one that compares with that group."""
        scorer = self.parts_.scorer
        return scorer if self.normal_ is None else clone(scorer).set_params(references=self.normal_.tolist())

    @property
    def _batch(self) -> Batch:
        return Batch(self.features_, self.copy_of_, self.parts_.aggregation)

    def _frame(self, images: ImageSet, features: Features | None) -> Framing:
        """Settle the view; features, where there are any, know where the objects are and how closely to look."""
        view, found = self.parts.view, WHOLE
        if features and view.seconds is not None:
            return features.framing
        if view.region == "auto":
            look = partial(region_of_objects, batch_size=self.batch_size, cache_dir=self.cache_dir)
            found = features.framing.region if features else look(images, self.backbone_)
        return self.framing(images, found)

    def _maps(self, patch_scores: Tensor) -> Tensor:
        """(R, S, N, M) -> (N, H, W)."""
        return upsample_maps(patch_scores.mean(dim=(0, 1)), self.features_.grid, self.features_.framing.size)

    def _extract(self, images: ImageSet, layers: Sequence[int], framing: Framing, storage: str = "float32") -> Features:
        extract = partial(extract_features, batch_size=self.batch_size, cache_dir=self.cache_dir, storage=storage)
        return extract(images, self.backbone_, layers=layers, view=framing)


def _warn_of_reading(images: ImageSet) -> None:
    """Warn of what a user should know of how files were read."""
    for text, names in images.remarks():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.warn(f"{len(names)} of {len(images)} images: {text} ({shown})", stacklevel=3)
