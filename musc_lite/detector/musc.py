"""MuSc: the detector with the paper's parts, its parameters in one flat list."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from musc_lite.backbones.backbone import Backbone
from musc_lite.detector.components import COMPONENTS, Components, default_component
from musc_lite.detector.detector import Detector
from musc_lite.detector.options import of_component
from musc_lite.stages.conformal import ConformalThreshold
from musc_lite.stages.thresholds import ContaminationThreshold
from musc_lite.utils.deprecation import renamed_parameters


@renamed_parameters(windows="rescoring_sizes", window="search_window")
class MuSc(Detector):
    """Zero-shot anomaly detection by mutual scoring of a batch of unlabeled images.

    Parameters
    ----------
    backbone : str or Backbone
        A name for `load_backbone`, or what it returned.
    layers : "even", "middle" or sequence of int, optional
        Blocks to read; None: the backbone's default.
    image_size, region, tiles, overlap
        What to look at in each photo, and how closely: `size` and the others of `View`; by default the whole photo, as
        the backbone's default square. ``image_size="auto"`` looks as closely as five minutes allow.
    r : sequence of int, optional
        Aggregation degrees; None: the backbone's default.
    interval : (float, float)
        Share of the closest images that score a patch.
    rescoring_sizes : sequence of int
        Neighborhood sizes of re-scoring; () turns it off.
    references, n_components, search_window, aligned
        Cheaper or more local mutual scoring, see `MutualScorer`: by some of the images only (a number of them, or a
        list of indices or names), among the first principal components, only near the same place, only in the same
        tile.
    pooling : "max", "mean" or float
        From a map to the image's score, see `image_scores_from_maps`.
    groups : "largest" or int, optional
        Where the batch holds several kinds of image (`image_groups`), score all by one of them: the largest, or another
        by its number. None: by all. Of a kind that covers whole images `pooling="mean"` sees most.
    max_memory : int or str, optional
        Bytes, or a text such as "4GB", that the batch may take beside the program and the backbone. Where tokens in
        float32 do not fit they are kept in half precision, then on disk; scores stay within 0.002. None: no limit.
    contamination, false_alarm_rate
        The threshold of `predict`: from a contamination in (0, 0.5], the expected share of defective images; by
        "auto", which reads it from the scores, without labels (`stages.thresholds.count_outliers`), and sees a part of
        the defective images or none where these are many or faint; or so that of good images at most a share is
        called, by `trusted` ones of `fit` (`ConformalThreshold`).
    batch_size : int
        Images that go through the backbone at once.
    device, precision : str, optional
        See `load_backbone`; of a backbone that is given by its name.
    cache_dir : path, optional
        Where features are kept between runs (`extract_features`).

    Attributes
    ----------
    names_ : list of str
        The N images of the batch, in the order of all scores.
    images_ : ImageSet
        The batch itself, for the explorers to show; files are read again when they are shown.
    features_ : Features
        Patch tokens (N, S, M, C) and class tokens (N, D).
    patch_scores_ : ndarray (R, S, N, M)
        Scores of each degree r and layer.
    anomaly_maps_ : ndarray (N, H, W)
        The mean over degrees and layers, interpolated to the image size.
    map_scores_ : ndarray (N,)
        Image scores before re-scoring.
    image_scores_ : ndarray (N,)
        Image scores after re-scoring; higher is more anomalous.
    groups_ : Groups or None
        With `groups`, what kinds of image there are, without copies; not saved.
    normal_ : ndarray or None
        With `groups`, the images that all are scored by; None: all.
    copy_of_ : ndarray (N,)
        For each image the first one with the very same bytes, itself where there is none before it. Copies are scored
        once: they have the scores of the first, and no image is compared with its own copies, or twice with another's.
    decision_ : Decision
        The threshold and what it was set from.
    threshold_ : float
        Image scores above it are outliers. May be set by hand: all answers follow.
    calibration_ : ndarray (n,) or None
        Scores of the trusted images of `fit`, in order; None: there were none.
    offset_ : float
        The same in scikit-learn's sign: ``-threshold_``, so that decision_function = score_samples - offset_.
    seconds_ : dict of str to float
        Wall-clock time of each stage.

    Examples
    --------
    >>> import numpy as np
    >>> from musc_lite import from_arrays
    >>> images = from_arrays(list(np.random.default_rng(0).random((4, 28, 28, 3))))
    >>> detector = MuSc(image_size=28, r=(1,)).fit(images)
    >>> detector.anomaly_maps_.shape, detector.image_scores_.shape
    ((4, 28, 28), (4,))
    """

    CLASS_NAME = "MuSc"

    def __init__(
        self,
        backbone: str | Backbone = "dinov2_vits14",
        *,
        layers: str | Sequence[int] | None = None,
        image_size: int | tuple[int, int] | str | None = None,
        region: Sequence[float] | str | None = None,
        tiles: int | tuple[int, int] | None = None,
        overlap: float = 0.0,
        r: Sequence[int] | None = None,
        interval: tuple[float, float] = (0.0, 0.3),
        rescoring_sizes: Sequence[int] = (1, 2, 3),
        references: int | Sequence[int | str] | None = None,
        n_components: int | None = None,
        search_window: int | None = None,
        aligned: bool = False,
        pooling: str | float = "max",
        groups: Literal["largest"] | int | None = None,
        max_memory: int | str | None = None,
        contamination: Literal["auto"] | float = "auto",
        false_alarm_rate: float | None = None,
        batch_size: int = 8,
        device: str | None = None,
        precision: str = "float32",
        cache_dir: str | Path | None = None,
    ):
        self.backbone = backbone
        self.layers = layers
        self.image_size = image_size
        self.region = region
        self.tiles = tiles
        self.overlap = overlap
        self.r = r
        self.interval = interval
        self.rescoring_sizes = rescoring_sizes
        self.references = references
        self.n_components = n_components
        self.search_window = search_window
        self.aligned = aligned
        self.pooling = pooling
        self.groups = groups
        self.max_memory = max_memory
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.cache_dir = cache_dir

    @classmethod
    def published(cls, backbone: str = "ViT-L-14-336-gelu", **changes) -> "MuSc":
        """Return the paper's settings: CLIP ViT-L/14 at 518 pixels, four even blocks, r = 1, 3, 5, windows 1, 2, 3.

        "-gelu" stands for plain GELU: the code behind the paper's tables ran OpenAI's weights so, though they were
        trained with QuickGELU. (For VisA the paper used the windows 1, 8, 9.)

        Parameters
        ----------
        backbone : str
            Another backbone with the same settings.
        **changes
            Other parameters of `MuSc`.

        Examples
        --------
        >>> MuSc.published(rescoring_sizes=(1, 8, 9))
        MuSc(backbone='ViT-L-14-336-gelu', image_size=518, layers='even', r=(1, 3, 5), rescoring_sizes=(1, 8, 9))
        """
        settings: dict[str, Any] = {
            "layers": "even",
            "r": (1, 3, 5),
            "interval": (0.0, 0.3),
            "rescoring_sizes": (1, 2, 3),
        }
        if backbone == "ViT-L-14-336-gelu":
            settings["image_size"] = 518
        return cls(backbone, **(settings | changes))

    @classmethod
    def recommended(cls, **changes) -> "MuSc":
        """Return what does best with the embedded backbone where there is time: 448 pixels, the blocks 4, 6 and 8.

        Chosen by the mean over textures, boards, toys, magnetic tiles and textiles; gravel, held out, agrees
        (`benchmarks/shelf.py`, table in CHANGELOG). An image has four times the patches: scoring takes about eight
        times as long as by default, extraction four times.

        Parameters
        ----------
        **changes
            Other parameters of `MuSc`.

        Examples
        --------
        >>> MuSc.recommended(groups="largest")
        MuSc(groups='largest', image_size=448, layers=(4, 6, 8), r=(1, 3))
        """
        settings: dict[str, Any] = {"image_size": 448, "layers": (4, 6, 8), "r": (1, 3)}
        return cls(**(settings | changes))

    @property
    def components(self) -> Components:
        """The paper's components, with these parameters.

        Raises
        ------
        ValueError
            If there are a contamination and a false alarm rate: each sets the threshold.
        """
        if self.false_alarm_rate is not None and self.contamination != "auto":
            raise ValueError(
                f"contamination={self.contamination!r} and false_alarm_rate={self.false_alarm_rate!r} are given, and "
                "each of them sets the threshold: give one of the two"
            )
        made: dict[str, Any] = {
            kind: default_component(kind)(
                **{theirs: getattr(self, ours) for ours, theirs in of_component(kind).items()}
            )
            for kind in COMPONENTS
            if kind != "threshold"  # which has one of two
        }
        rate = self.false_alarm_rate
        return Components(
            **made, threshold=ContaminationThreshold(self.contamination) if rate is None else ConformalThreshold(rate)
        )

    def with_components(self, **components: Any) -> Detector:
        """Return an unfitted detector with other components; a `MuSc` where they are the paper's."""
        flat: dict[str, Any] = {}
        for kind, component in components.items():
            if kind == "threshold" and isinstance(component, ContaminationThreshold | ConformalThreshold):
                rate = component.rate if isinstance(component, ConformalThreshold) else None
                flat |= {"contamination": "auto" if rate else component.contamination, "false_alarm_rate": rate}
            elif type(component) is default_component(kind):
                flat |= {ours: getattr(component, theirs) for ours, theirs in of_component(kind).items()}
            else:
                return super().with_components(**components)
        return type(self)(**self.get_params(deep=False) | flat)
