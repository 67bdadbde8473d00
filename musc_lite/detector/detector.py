"""All stages at once: photos in, scores out, behind scikit-learn's conventions for outlier detectors."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import load_backbone
from musc_lite.data.duplicates import without_copies
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import Images, as_batch, as_image_set
from musc_lite.data.roi import WHOLE, Region
from musc_lite.data.view import ResolvedView, View
from musc_lite.detector.components import COMPONENTS, Components
from musc_lite.detector.fit import Fitted, fit_batch
from musc_lite.detector.planning import Cost, estimate_cost, resolve_view
from musc_lite.detector.serialization import read_fitted, write_fitted
from musc_lite.detector.setup import Setup
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import PatchScorer
from musc_lite.stages.aggregation import LNAMD
from musc_lite.stages.conformal import ConformalThreshold
from musc_lite.stages.features import Features
from musc_lite.stages.maps import Pooling
from musc_lite.stages.rescoring import RsCIN
from musc_lite.stages.thresholds import ContaminationThreshold, Decision
from musc_lite.utils.deprecation import renamed_attributes
from musc_lite.utils.validation import check_memory

SHARED = ("backbone", "layers", "groups", "max_memory", "batch_size", "device", "precision", "cache_dir")


def _of_fit(*paths: str) -> Any:
    """Return properties that read parts of the fitted record."""
    return (property(attrgetter(f"fitted_.{path}"), doc=f"``fitted_.{path}``.") for path in paths)


@renamed_attributes(parts="components", describe="provenance", framing="resolve_view")
class Detector(OutlierMixin, BaseEstimator):
    """Zero-shot anomaly detection in a batch of unlabeled images, of parts that can be exchanged.

    Parameters
    ----------
    backbone, layers, groups, max_memory, batch_size, device, precision, cache_dir
        See `MuSc`.
    view, aggregation, scorer, pooling, rescoring, threshold : parts, optional
        In the order of the data: what the backbone sees of a photo, how a patch is aggregated with its neighbors, how
        patches are scored, how a map becomes its image's score, how images that look alike correct each other, where
        The threshold of `predict`. None: the paper's `View`, `LNAMD`, `MutualScorer`, `Pooling`, `RsCIN`, and
        `ContaminationThreshold`.

    Attributes
    ----------
    fitted_ : Fitted
        All that a fit found, one frozen record. The other attributes, see `MuSc`, are parts of it.

    Examples
    --------
    >>> from musc_lite import NearestScorer, planted_textures
    >>> Detector(view=View(28), scorer=NearestScorer()).fit(planted_textures("brick", 4, 1)).scores_
    Scores(4 images, ... above the threshold ...)
    """

    CLASS_NAME = "Detector"  # in saved files

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
        threshold: ContaminationThreshold | ConformalThreshold | None = None,
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

    fitted_: Fitted
    # Its parts under scikit-learn's names.
    names_, copy_of_, scales_, appearance_ = _of_fit("batch.names", "batch.copy_of", "batch.scales", "batch.appearance")
    backbone_, components_, features_, r_ = _of_fit("setup.backbone", "setup.components", "features", "r")
    groups_, normal_, scorers_, scores_ = _of_fit("groups", "normal", "scorers", "scores")
    patch_scores_, anomaly_maps_ = _of_fit("scores.patch_scores", "scores.anomaly_maps")
    map_scores_, image_scores_ = _of_fit("scores.map_scores", "scores.image_scores")
    decision_, seconds_ = _of_fit("scores.decision", "scores.seconds")
    calibration_, fitted_at_ = _of_fit("calibration", "fitted_at")
    _loaded: tuple[Any, Any] = (None, None)  # what a backbone's name stands for

    @property
    def components(self) -> Components:
        """The components that the parameters stand for."""
        return Components.from_params(**{kind: getattr(self, kind) for kind in COMPONENTS})

    def setup(self) -> Setup:
        """Return the parameters as they are now: copied, checked (ValueError), with the backbone loaded."""
        check_memory(self.max_memory)
        params: dict[str, Any] = self.get_params(deep=False)
        params = {k: v if isinstance(v, Backbone) else clone(v, safe=False) for k, v in params.items()}
        parts = type(self)(**params).components
        parts.check()
        return Setup(self.CLASS_NAME, params, parts, self.load_backbone())

    def fit(self, X: Images, y: object = None, *, trusted: Images | None = None) -> "Detector":
        """Score a batch of images, at least 2, by itself; labels are not used, `y` is ignored.

        Trusted images, outside of the batch and known to be good, are scored against it as new ones are: they set the
        threshold of `ConformalThreshold`, and new images get p-values. A fit that ends early leaves the one before it.
        """
        images, known_good = as_batch(X), None if trusted is None else without_copies(as_image_set(trusted))
        self.fitted_ = fit_batch(self.setup(), images, trusted=known_good)
        return self

    def fit_features(self, features: Features, X: Images) -> "Detector":
        """Score images whose features, all their layers, are there already: detectors share one extraction."""
        self.fitted_ = fit_batch(self.setup(), as_batch(X), features)
        return self

    def score_images(self, X: Images) -> Scores:
        """Score new images, one or more, against the fitted batch; they do not score each other.

        An image of the batch would find itself there and look normal, which is warned of. Scores are scaled by the
        fit's range (a new image may score above 1 or below 0) and re-scored among the batch.
        """
        check_is_fitted(self)
        return self.fitted_.score_images(as_image_set(X), batch_size=self.batch_size, cache_dir=self.cache_dir)

    def provenance(self) -> dict[str, str]:
        """Return everything that shaped the numbers, title: value."""
        check_is_fitted(self)
        return dict(self.scores_.about)

    def save(self, path: str | Path) -> None:
        """Write the fitted detector to one file, complete or not at all."""
        check_is_fitted(self)
        write_fitted(path, self.fitted_)

    @classmethod
    def load(cls, path: str | Path, backbone: Backbone | None = None, device: str | None = None) -> "Detector":
        """Read what `save` wrote: a `MuSc` where one was saved."""
        saved, fitted = read_fitted(path, backbone, device)
        detector = (cls if cls.CLASS_NAME == saved.CLASS_NAME else saved)(**fitted.setup.params)
        detector.fitted_ = fitted
        return detector

    def cost(self, n_images: int, images: Images | None = None) -> Cost:
        """Estimate what fitting so many images takes, see `planning.estimate_cost`; some views need some images."""
        return estimate_cost(self.setup(), n_images, self.resolve_view(images))

    def resolve_view(self, images: Images | None, found: Region = WHOLE) -> ResolvedView:
        """Return what is looked at of these images; `found`: what a region "auto" stands for."""
        return resolve_view(self.setup(), None if images is None else as_image_set(images), found)

    def load_backbone(self) -> Backbone:
        """Return the backbone; one that is given by name is loaded once."""
        given = self.backbone
        if isinstance(given, Backbone):
            return given
        if self._loaded[0] != (asked := (given, self.device, self.precision)):
            self._loaded = asked, load_backbone(given, device=self.device, precision=self.precision)
        return self._loaded[1]

    def aggregated_tokens(self, s: int, r: int) -> Tensor:
        """Make the aggregated tokens of the s-th layer at degree r again, without copies: (N, M, C)."""
        check_is_fitted(self)
        return self.fitted_.tokens.tokens(s, r)

    def get_scorer(self, s: int, r: int) -> PatchScorer:
        """Return the scorer of the s-th layer at degree r: the fitted one, or an unfitted one where r is new."""
        check_is_fitted(self)
        return self.scorers_[s, r] if (s, r) in self.scorers_ else clone(self.scorers_[s, self.r_[0]])

    def with_components(self, **components: Any) -> "Detector":
        """Return an unfitted detector with other components, such as ``scorer=`` or ``view=``; None: the default."""
        return Detector(**{name: getattr(self, name) for name in SHARED} | vars(self.components) | components)

    def with_scorer(self, scorer: PatchScorer) -> "Detector":
        """Return an unfitted detector of these components, but for another scorer."""
        return self.with_components(scorer=scorer)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    @property
    def images_(self) -> ImageSet | None:
        """The batch itself; None, until it is set, where a loaded detector's images were no files."""
        return self.fitted_.batch.images

    @images_.setter
    def images_(self, images: ImageSet) -> None:
        self.fitted_ = self.fitted_.with_images(images)

    @property
    def threshold_(self) -> float:
        """Image scores above it are outliers; one that is set by hand answers from then on."""
        return self.decision_.value

    @threshold_.setter
    def threshold_(self, value: float) -> None:
        self.fitted_ = self.fitted_.with_decision(Decision(value))

    # What scikit-learn asks of an outlier detector: one threshold, in both signs.
    def fit_predict(self, X: Images, y: object = None) -> np.ndarray:
        """Fit, and tell which images of the batch are outliers, ``labels_``; `predict` would let each find itself."""
        return self.fit(X).labels_

    def score_samples(self, X: Images) -> np.ndarray:
        """Score new images in scikit-learn's sign: lower is more abnormal, (N,)."""
        return -self.score_images(X).image_scores

    def decision_function(self, X: Images) -> np.ndarray:
        """Score new images so that outliers are negative, (N,)."""
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: Images) -> np.ndarray:
        """Return which new images are outliers: -1 outlier, 1 inlier, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    labels_ = property(lambda self: np.where(self.scores_.is_outlier, -1, 1), doc="-1 outlier, 1 inlier, (N,).")
    offset_ = property(lambda self: -self.threshold_, doc="The threshold in scikit-learn's sign.")
    offset_ = offset_.setter(lambda self, value: setattr(self, "threshold_", -value))
