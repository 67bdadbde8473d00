"""What a detector says of some images: the one thing that reports, exports and metrics take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from musc_lite.data.appearance import Appearance, appearance_of, differences
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import WHOLE, Region, resize_map_to_image
from musc_lite.data.view import ResolvedView
from musc_lite.results.external_maps import Maps, read_maps
from musc_lite.stages.conformal import p_values
from musc_lite.stages.maps import image_scores_from_maps, typical_p95
from musc_lite.stages.rescoring import rescore
from musc_lite.stages.thresholds import ContaminationThreshold, Decision
from musc_lite.utils.deprecation import renamed_attributes

if TYPE_CHECKING:
    import pandas
from musc_lite.utils.deprecation import renamed_parameters


@renamed_attributes(framing="resolved_view", known_images="required_images", usual_high="typical_p95")
@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """How anomalous images are, and all that a reader of the result needs to know.

    Attributes
    ----------
    names : sequence of str
        Which images these are.
    image_scores : ndarray (N,)
        After re-scoring; higher is more anomalous.
    map_scores : ndarray (N,)
        Before re-scoring: of each map.
    anomaly_maps : ndarray (N, H, W)
        One value for each pixel of the region as the backbone saw it; `map_of_photo` gives it on the photo.
    patch_scores : ndarray (R, S, N, M), optional
        Of each degree r and layer.
    decision : Decision
        The threshold, above which images are outliers, and what set it; by default none is flagged.
    images : ImageSet, optional
        The images themselves, with labels and masks where there are any; None: they are not known here.
    copy_of : ndarray (N,), optional
        For each image the first one with the very same bytes, itself where there is none before it.
    batch : Scores, optional
        Of new images: the fitted batch that they were scored against.
    about : mapping of str to str
        The settings that shaped the numbers, as `describe` of the parts names them.
    seconds : mapping of str to float
        Wall-clock time of each stage.
    calibration : ndarray (n,), optional
        Of new images: scores of trusted ones against the same batch.
    resolved_view : ResolvedView, optional
        What was looked at of each photo, and how closely; None: the whole of it.
    appearance : Appearance, optional
        Of a fitted batch: size, shape and color of its images.

    Raises
    ------
    ValueError
        If names, scores and images are not those of the same images.
    """

    names: Sequence[str]
    image_scores: np.ndarray
    map_scores: np.ndarray
    anomaly_maps: np.ndarray
    patch_scores: np.ndarray | None = None
    decision: Decision = field(default_factory=lambda: Decision(np.inf))
    images: ImageSet | None = None
    copy_of: np.ndarray | None = None
    batch: "Scores | None" = None
    about: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    resolved_view: ResolvedView | None = None
    calibration: np.ndarray | None = None
    appearance: Appearance | None = None

    def __post_init__(self):
        lengths = {len(self.names), len(self.image_scores), len(self.map_scores), len(self.anomaly_maps)}
        if self.images is not None and list(self.images.names) != list(self.names):
            differ = [pair for pair in zip(self.names, self.images.names, strict=False) if pair[0] != pair[1]]
            example = f", such as {differ[0][0]!r} and {differ[0][1]!r}" if differ else ""
            raise ValueError(
                f"the scores are those of {len(self.names)} images, and {len(self.images)} images are given{example}: "
                "give the images that were scored"
            )
        if len(lengths) > 1:
            raise ValueError(f"names, scores and maps must be those of the same images, got {sorted(lengths)} of them")

    @classmethod
    @renamed_parameters(windows="rescoring_sizes")
    def from_maps(
        cls,
        images: ImageSet,
        maps: Maps,
        class_tokens: ArrayLike | None = None,
        *,
        pooling: str | float = "max",
        rescoring_sizes: Sequence[int] = (1, 2, 3),
        contamination: Literal["auto"] | float = "auto",
        about: Mapping[str, str] | None = None,
    ) -> "Scores":
        """Take anomaly maps that any other method made: for reports, metrics, exports.

        Parameters
        ----------
        images : ImageSet
            N images, of which these are the maps.
        maps : path, mapping or arrays
            See `read_maps`.
        class_tokens : (N, D), optional
            One vector for each image, such as `Features.class_tokens`: images that look alike correct each other's
            scores (`rescore`). None: image scores are those of the maps.
        pooling : "max", "mean" or float
            See `image_scores_from_maps`.
        rescoring_sizes : sequence of int
            See `rescore`.
        contamination : "auto" or float
            How the threshold is set, see `MuSc`.
        about : mapping of str to str, optional
            What the report is to say of the method, title: value.

        Returns
        -------
        Scores
        """
        values = read_maps(maps, images.names)
        map_scores = image_scores_from_maps(values, pooling).numpy()
        scores = (
            map_scores
            if class_tokens is None
            else rescore(map_scores, np.asarray(class_tokens), rescoring_sizes).numpy()
        )
        rule = ContaminationThreshold(contamination)
        drawn = Decision.by(rule, rule.compute(scores, map_scores), len(scores))
        told = {"maps": "given, of another method"} if about is None else about
        return cls(images.names, scores, map_scores, values, None, drawn, images, about=told)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def threshold(self) -> float:
        """Images that score above it are outliers."""
        return self.decision.value

    def __repr__(self) -> str:
        return f"Scores({len(self)} images, {self.is_outlier.sum()} above the threshold {self.threshold:.3f})"

    @property
    def required_images(self) -> ImageSet:
        """The images, for what shows them: `ValueError` says what to do where they are not known."""
        if self.images is None:
            raise ValueError(
                "this shows the images, and these scores do not know theirs: set detector.images_ to an ImageSet "
                f"of the {len(self)} images, then take detector.scores_"
            )
        return self.images

    @property
    def region(self) -> Region:
        """The part of each photo that the maps cover: left, top, right, bottom in shares of its width and height."""
        return WHOLE if self.resolved_view is None else self.resolved_view.region

    def masks(self) -> np.ndarray | None:
        """Return the masks of the images, cropped and resized to the maps: (N, H, W) bool; None without masks."""
        return None if self.images is None else self.images.masks(self.anomaly_maps.shape[1:], self.region)

    def defects_outside_roi(self) -> list[str]:
        """Name the images of which some true defect lies outside of the region: no map can show it."""
        if self.region == WHOLE or self.images is None or not self.images.has_masks:
            return []
        return [
            name
            for i, name in enumerate(self.names)
            if self.images.mask(i).sum() > self.images.mask(i, self.region).sum()
        ]

    def map_of_photo(self, i: int) -> np.ndarray:
        """Lay the i-th map on its photo.

        Returns
        -------
        ndarray (H', W')
            A value for each pixel of the photo; 0 outside of the region, which was not looked at.
        """
        return resize_map_to_image(self.anomaly_maps[i], self.required_images.size(i), self.region)

    @property
    def is_outlier(self) -> np.ndarray:
        """Which images score above the threshold, (N,) bool."""
        return self.image_scores > self.threshold

    @property
    def ranking(self) -> np.ndarray:
        """The images from the most to the least anomalous, (N,) indices."""
        return np.argsort(-self.image_scores, kind="stable")

    @property
    def p_values(self) -> np.ndarray | None:
        """How likely a good image scores as high or higher, (N,): `conformal.p_values`; None: nothing is trusted."""
        return None if self.calibration is None else p_values(self.image_scores, self.calibration)

    @property
    def first_copies(self) -> list[str | None]:
        """For each image the name of the one whose copy it is, None where it is no copy."""
        places = range(len(self)) if self.copy_of is None else self.copy_of.tolist()
        return [None if first == i else self.names[first] for i, first in enumerate(places)]

    @cached_property
    def typical_p95(self) -> float:
        """What is high in a usual image of the batch: `typical_p95` of its maps."""
        return typical_p95((self.batch or self).anomaly_maps)

    @cached_property
    def differences(self) -> list[str]:
        """What differs between new images and those of the reference: shape, size, color."""
        if self.batch is None or self.batch.appearance is None or self.images is None:
            return []
        new = appearance_of(self.images)
        return [] if new is None else differences(new, self.batch.appearance)

    def to_frame(self) -> "pandas.DataFrame":
        """Return a table, the most anomalous image first.

        Returns
        -------
        DataFrame
            Columns image, score, rank and outlier; p_value where images are trusted, label where the images have
            labels, copy_of where there are copies.

        Examples
        --------
        >>> maps = np.zeros((2, 4, 4))
        >>> Scores(["a", "b"], np.array([0.1, 0.7]), np.array([0.1, 0.7]), maps, decision=Decision(0.5)).to_frame()
          image  score  rank  outlier
        0     b    0.7     1        1
        1     a    0.1     2        0
        """
        import pandas

        columns = {
            "image": list(self.names),
            "score": np.asarray(self.image_scores, dtype=float),  # float32 prints 43.6 as 43.599998
            "rank": np.argsort(self.ranking) + 1,
            "outlier": self.is_outlier.astype(int),
        }
        if self.p_values is not None:
            columns["p_value"] = self.p_values
        if self.images is not None and self.images.labels is not None:
            columns["label"] = self.images.labels
        if any(self.first_copies):
            columns["copy_of"] = [first or "" for first in self.first_copies]
        return pandas.DataFrame(columns).iloc[self.ranking].reset_index(drop=True)
