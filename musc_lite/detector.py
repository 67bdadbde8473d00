"""All stages at once, behind scikit-learn's conventions for outlier detectors."""

import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.backbones.load import Backbone, load_backbone
from musc_lite.cost import Cost, Plan, plan_memory, seconds_per_image, seconds_per_pair
from musc_lite.data.arrays import from_arrays
from musc_lite.data.duplicates import find_duplicates
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import load_folder
from musc_lite.search.nearest import free_memory, is_fused
from musc_lite.stages.aggregation import aggregate_each
from musc_lite.stages.features import Features, extract_features
from musc_lite.stages.maps import image_scores_from_maps, upsample_maps
from musc_lite.stages.mutual_scoring import (
    choose_references,
    count_pairs,
    interval_average,
    least_memory,
    mutual_scores,
    reference_distances,
)
from musc_lite.stages.rescoring import image_similarity, neighborhood_scores, rescore, scale_scores
from musc_lite.stages.thresholds import choose_threshold
from musc_lite.support.errors import DataNotFoundError
from musc_lite.support.files import make_folder, read_tensors, write_tensors
from musc_lite.support.parameters import check_parameters
from musc_lite.support.progress import progress_bar

__all__ = ["MuSc", "Scores"]

SAVED_ARRAYS = ("patch_scores_", "anomaly_maps_", "map_scores_", "image_scores_")

Images = ImageSet | str | Path | Iterable


@dataclass(frozen=True)
class Scores:
    """How anomalous new images are against a fitted batch.

    Attributes
    ----------
    names : list of str
        Which images these are.
    image_scores : ndarray (N,)
        Comparable with the fitted detector's ``image_scores_`` and ``threshold_``; higher is more anomalous.
    map_scores : ndarray (N,)
        Before re-scoring: the largest value of each map.
    anomaly_maps : ndarray (N, H, W)
    """

    names: list[str]
    image_scores: np.ndarray
    map_scores: np.ndarray
    anomaly_maps: np.ndarray


class MuSc(OutlierMixin, BaseEstimator):
    """Zero-shot anomaly detection by mutual scoring of a batch of unlabeled images.

    Parameters
    ----------
    backbone : str or Backbone
        A name for `load_backbone`, or what it returned.
    layers : "even", "middle" or sequence of int, optional
        Blocks to read; None: the backbone's default.
    image_size : int, optional
        Pixels along the side of the square images; None: the backbone's default.
    r : sequence of int, optional
        Aggregation degrees; None: the backbone's default.
    interval : (float, float)
        Share of the closest images that score a patch.
    windows : sequence of int
        Neighborhood sizes of re-scoring; () turns it off.
    references, n_components, window
        Cheaper or more local mutual scoring, see `mutual_scores`: by some of the images only (a number of them, or a
        list of indices or names), among the first principal components, only near the same place.
    max_memory : int or str, optional
        Bytes, or a text such as "4GB", that the batch may take beside the program and the backbone. Where tokens in
        float32 do not fit they are kept in half precision, then on disk; scores stay within 0.002. None: no limit.
    contamination : "auto" or float
        Where `predict` draws the line. A float in (0, 0.5] is the expected share of defective images. "auto" reads it
        from the scores, without labels (`stages.thresholds.count_outliers`); where many images are defective, or
        defects are faint, it sees a part of them or none.
    batch_size : int
        Images that go through the backbone at once.
    device : str, optional
        See `load_backbone`.
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
    copy_of_ : ndarray (N,)
        For each image the first one with the very same bytes, itself where there is none before it. Copies are scored
        once: they have the scores of the first, and no image is compared with its own copies, or twice with another's.
    threshold_ : float
        Image scores above it are outliers. May be set by hand: all answers follow.
    offset_ : float
        The same in scikit-learn's sign: ``-threshold_``, so that decision_function = score_samples - offset_.
    seconds_ : dict of str to float
        Wall-clock time of each stage.

    Examples
    --------
    >>> images = from_arrays(list(np.random.default_rng(0).random((4, 28, 28, 3))))
    >>> detector = MuSc(image_size=28, r=(1,)).fit(images)
    >>> detector.anomaly_maps_.shape, detector.image_scores_.shape
    ((4, 28, 28), (4,))
    """

    def __init__(
        self,
        backbone: str | Backbone = "dinov2_vits14",
        *,
        layers: str | Sequence[int] | None = None,
        image_size: int | None = None,
        r: Sequence[int] | None = None,
        interval: tuple[float, float] = (0.0, 0.3),
        windows: Sequence[int] = (1, 2, 3),
        references: int | Sequence[int | str] | None = None,
        n_components: int | None = None,
        window: int | None = None,
        max_memory: int | str | None = None,
        contamination: str | float = "auto",
        batch_size: int = 8,
        device: str | None = None,
        cache_dir: str | Path | None = None,
    ):
        self.backbone = backbone
        self.layers = layers
        self.image_size = image_size
        self.r = r
        self.interval = interval
        self.windows = windows
        self.references = references
        self.n_components = n_components
        self.window = window
        self.max_memory = max_memory
        self.contamination = contamination
        self.batch_size = batch_size
        self.device = device
        self.cache_dir = cache_dir

    @classmethod
    def published(cls, backbone: str = "ViT-L-14-336-gelu", **changes) -> "MuSc":
        """Give the paper's settings: CLIP ViT-L/14 at 518 pixels, four even blocks, r = 1, 3, 5, windows 1, 2, 3.

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
        >>> MuSc.published(windows=(1, 8, 9))
        MuSc(backbone='ViT-L-14-336-gelu', image_size=518, layers='even', r=(1, 3, 5), windows=(1, 8, 9))
        """
        settings = {"layers": "even", "r": (1, 3, 5), "interval": (0.0, 0.3), "windows": (1, 2, 3)}
        if backbone == "ViT-L-14-336-gelu":
            settings["image_size"] = 518
        return cls(backbone, **(settings | changes))

    def fit(self, X: Images, y: object = None) -> "MuSc":
        """Score a batch of images by each other.

        Parameters
        ----------
        X : ImageSet, path of a folder, or list of images
            At least 2 images, with or without labels; labels are not used.
        y : ignored

        Returns
        -------
        MuSc
            The detector itself.

        Raises
        ------
        ValueError
            If there are fewer than 2 images, or a parameter does not fit.
        ImageReadError
            If an image cannot be read.
        """
        images = as_image_set(X)
        if len(images) < 2:
            raise ValueError(
                f"mutual scoring compares images with each other: give at least 2, got {len(images)} "
                f"({', '.join(images.names)}). A single new image can be scored against a fitted batch: score_images"
            )
        self._check_parameters()
        self.seconds_ = {}
        self.images_ = images
        self.names_ = list(images.names)
        found = find_duplicates(images)
        self._digests, self.copy_of_ = set(found.digests), found.copy_of
        self._refuse_nothing_but_copies()
        self._warn_of_duplicates(found.alike)
        self.backbone_ = self._load_backbone()
        self.r_ = tuple(self.backbone_.default_r if self.r is None else self.r)
        references = self._references()
        plan = self._plan(len(images), references)
        with self._timed("features"):
            self.features_ = self._extract(images, self.layers, self.image_size, plan.storage)

        device = self._scoring_device()
        max_memory = plan.scoring_bytes if device.type == "cpu" else self._spare_gpu_memory()

        def score(tokens: Tensor, s: int, r: int, progress: Callable[[int], object]) -> Tensor:
            return mutual_scores(
                tokens,
                interval=self.interval,
                references=references,
                max_memory=max_memory,
                progress=progress,
                **self._search(self.features_.grid),
            )

        n_pairs = count_pairs(self._shape(len(self._originals)), references, self.window, max_memory)
        with self._timed("mutual scoring"):
            patch_scores = self._each_degree_and_layer(score, n_pairs, device)
        with self._timed("maps"):
            maps = self._maps(patch_scores)
            map_scores = image_scores_from_maps(maps)
        with self._timed("re-scoring"):
            image_scores = rescore(map_scores, self.features_.class_tokens[self._originals], self.windows)

        # The one place where torch turns into NumPy, and where copies get the results of their originals.
        everyone = np.searchsorted(self._originals, self.copy_of_)
        self.patch_scores_ = _take(patch_scores.numpy(), everyone, axis=2)
        self.anomaly_maps_ = _take(maps.numpy(), everyone)
        self.map_scores_ = _take(map_scores.numpy(), everyone)
        self.image_scores_ = _take(image_scores.numpy(), everyone)
        self.threshold_ = choose_threshold(image_scores.numpy(), self.contamination, map_scores.numpy())
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "threshold_")  # set last: neither `cost` nor a fit that failed makes a fitted detector

    @property
    def offset_(self) -> float:
        """The threshold in scikit-learn's sign."""
        return -self.threshold_

    @offset_.setter
    def offset_(self, value: float) -> None:
        self.threshold_ = -value

    @property
    def scores_(self) -> Scores:
        """Everything that is known of the fitted batch's own images, in one object."""
        check_is_fitted(self)
        return Scores(self.names_, self.image_scores_, self.map_scores_, self.anomaly_maps_)

    def fit_predict(self, X: Images, y: object = None) -> np.ndarray:
        """Fit, and tell which of the batch's own images are outliers.

        Returns
        -------
        ndarray (N,)
            -1 outlier, 1 inlier. The answer comes from the fit itself: `predict` on the same images would let each
            image find itself in the batch.
        """
        self.fit(X)
        return np.where(self.image_scores_ > self.threshold_, -1, 1)

    def score_images(self, X: Images) -> Scores:
        """Score new images against the fitted batch, one pass over the batch for each.

        Parameters
        ----------
        X : ImageSet, path of a folder, or list of images
            New images, one or more. They do not score each other. An image of the fitted batch would find itself
            there and look normal, which is warned of: its score is in ``image_scores_``.

        Returns
        -------
        Scores
            Scaled by the fit's range (a new image may score above 1 or below 0) and re-scored among the fitted batch.
        """
        check_is_fitted(self)
        images = as_image_set(X)
        known = [name for i, name in enumerate(images.names) if images.digest(i) in self._digests]
        if known:
            warnings.warn(
                f"{len(known)} of these images belong to the fitted batch, such as {known[0]}: each finds itself there "
                "and looks normal; the scores of fitted images are in image_scores_",
                stacklevel=2,
            )
        new = self._extract(images, self.features_.layers, self.features_.image_size)
        references = choose_references(len(self._originals), self._references())
        n_pairs = len(images) * len(references)

        def score(fitted: Tensor, s: int, r: int, progress: Callable[[int], object]) -> Tensor:
            tokens = aggregate_each(new.patch_tokens[:, s], new.grid, r, fitted.device)
            compared = fitted if self.references is None else fitted[references]  # (J, M, C)
            distances = reference_distances(tokens.to(compared), compared, **self._search(new.grid))
            progress(n_pairs)
            return interval_average(distances, self.interval)

        maps = self._maps(self._each_degree_and_layer(score, n_pairs, self._scoring_device()))
        map_scores = image_scores_from_maps(maps)
        image_scores = self._rescore_new(map_scores, new.class_tokens)
        return Scores(list(images.names), image_scores.numpy(), map_scores.numpy(), maps.numpy())

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

    def save(self, path: str | Path) -> None:
        """Write the fitted detector to one safetensors file, complete or not at all, with a checksum.

        Parameters
        ----------
        path : str or Path
            Such as "tiles.safetensors". The backbone's weights are not in it, the images neither: `load` finds those
            that are files where they are now, and their masks, of which those that are arrays are in the file.

        Raises
        ------
        FileWriteError
            If the disk is full or the folder read-only; what was at the path before is unchanged.
        """
        check_is_fitted(self)
        tensors = {name: torch.as_tensor(getattr(self, name)) for name in SAVED_ARRAYS}
        tensors |= {"patch_tokens": self.features_.patch_tokens, "class_tokens": self.features_.class_tokens}
        parameters = {
            k: v for k, v in self.get_params(deep=False).items() if k not in ("backbone", "cache_dir", "device")
        }
        images = self.__dict__.get("images_")  # a loaded detector may have none
        sources = [] if images is None else images.sources
        files = [str(s.absolute()) for s in sources] if all(isinstance(s, Path) for s in sources) else []
        masks = [_mask_as_json(m, tensors) for m in images.mask_sources] if files and images.mask_sources else None
        about = {
            "version": 1,
            "parameters": parameters,
            "backbone": [self.backbone_.name, self.backbone_.pretrained, self.backbone_.weights_sha256],
            "layers": self.features_.layers,
            "grid": self.features_.grid,
            "image_size": self.features_.image_size,
            "r": self.r_,
            "names": self.names_,
            "digests": sorted(self._digests),
            "threshold": self.threshold_,
            "copy_of": self.copy_of_,
            "seconds": self.seconds_,
            "files": files or None,
            "labels": images.labels if files else None,
            "masks": masks,
        }
        make_folder(Path(path).parent)
        write_tensors(Path(path), tensors, "saved detector", _as_json(about))

    @classmethod
    def load(cls, path: str | Path, backbone: Backbone | None = None, device: str | None = None) -> "MuSc":
        """Read what `save` wrote; the file can hold numbers and text only, so a stranger's can run no code.

        Parameters
        ----------
        path : str or Path
        backbone : Backbone, optional
            With the weights that the detector was fitted with; None: loaded by the name in the file.
        device : str, optional
            See `load_backbone`.

        Returns
        -------
        MuSc
            Scores new images bit for bit as the one that was saved. Without ``images_`` where they were not files.

        Raises
        ------
        DataNotFoundError
            If there is no such file, it is not a saved detector, or it has changed since it was written.
        ValueError
            If the backbone's weights are others than those it was fitted with, or come from a file: then load the
            backbone yourself, if you trust that file.
        """
        tensors, about = read_tensors(path, "saved detector")
        try:
            name, pretrained, weights = map(str, about["backbone"])
            parameters = about["parameters"] | {"cache_dir": None}  # no file says where to write
            detector = cls(name, **parameters, device=device)
            detector.features_ = Features(
                tensors.pop("patch_tokens"),
                tensors.pop("class_tokens"),
                tuple(about["grid"]),
                tuple(about["layers"]),
                about["image_size"],
            )
            for key in SAVED_ARRAYS:
                setattr(detector, key, tensors[key].numpy())
            detector.names_, detector._digests = about["names"], set(about["digests"])
            detector.r_, detector.seconds_ = tuple(about["r"]), about["seconds"]
            detector.threshold_ = about["threshold"]
            detector.copy_of_ = np.array(about.get("copy_of", range(len(detector.names_))))  # 0.1.0 knew of no copies
            files, labels, masks = (about[key] for key in ("files", "labels", "masks"))
            if files:
                masks = None if masks is None else [_mask_from_json(mask, tensors) for mask in masks]
                detector.images_ = ImageSet([Path(file) for file in files], detector.names_, labels, masks)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataNotFoundError(f"{path} is not a complete saved detector ({error}); fit and save again") from error
        if backbone is None and Path(pretrained).is_file():
            raise ValueError(
                f"{path} was fitted with the weights file {pretrained}: if you trust it, give "
                f"backbone=load_backbone({name!r}, {pretrained!r})"
            )
        detector.backbone_ = load_backbone(name, pretrained, device) if backbone is None else backbone
        if detector.backbone_.weights_sha256 != weights:
            raise ValueError(
                f"{path} was fitted with other weights of {name}: {weights[:12]}..., these are "
                f"{detector.backbone_.weights_sha256[:12]}...: scores would not be comparable; give backbone="
            )
        return detector

    def aggregated_tokens(self, s: int, r: int) -> Tensor:
        """Make the aggregated tokens of the s-th layer read at degree r again; R x S of them would not fit.

        Returns
        -------
        Tensor (N, M, C)
            Without copies: of the N images of `without_copies`.
        """
        check_is_fitted(self)
        return self._aggregated(s, r, torch.device("cpu"))

    def is_fitted_on(self, images: ImageSet) -> bool:
        """Tell whether these are the images of the fitted batch: the same names in the same order, the same bytes."""
        check_is_fitted(self)
        if images is self.__dict__.get("images_"):
            return list(images.names) == self.names_
        same_names = list(images.names) == self.names_
        return same_names and all(images.digest(i) in self._digests for i in range(len(images)))

    def without_copies(self) -> "MuSc":
        """Give the fitted detector with each image once, as it was scored: itself where no image is another's copy."""
        check_is_fitted(self)
        if len(self._originals) == len(self.names_):
            return self
        once, kept = copy(self), self._originals
        once.names_, once.copy_of_ = [self.names_[i] for i in kept], np.arange(len(kept))
        once.references = self._references()
        once.patch_scores_ = self.patch_scores_[:, :, kept]
        once.anomaly_maps_, once.map_scores_ = self.anomaly_maps_[kept], self.map_scores_[kept]
        once.image_scores_ = self.image_scores_[kept]
        once.features_ = replace(
            self.features_,
            patch_tokens=self.features_.patch_tokens[kept],
            class_tokens=self.features_.class_tokens[kept],
        )
        if "images_" in self.__dict__:  # a loaded detector may have none
            once.images_ = self.images_.subset(kept)
        return once

    @property
    def _originals(self) -> np.ndarray:
        """Index the images that are no copies: (N',)."""
        return np.flatnonzero(self.copy_of_ == np.arange(len(self.copy_of_)))

    def _references(self) -> int | list[int] | None:
        """Give `references` as mutual scoring wants it: places among the originals, for names and indices alike."""
        if self.references is None or np.ndim(self.references) == 0:
            return self.references
        place = {name: i for i, name in enumerate(self.names_)}
        unknown = [name for name in self.references if isinstance(name, str) and name not in place]
        if unknown:
            close = get_close_matches(unknown[0], self.names_, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the first image is {self.names_[0]!r}"
            raise ValueError(f"references: {len(unknown)} names are not in the batch, such as {unknown[0]!r}; {hint}")
        chosen = [place[each] if isinstance(each, str) else each for each in self.references]
        choose_references(len(self.names_), chosen)  # says what is wrong with them
        return sorted(set(np.searchsorted(self._originals, self.copy_of_[chosen]).tolist()))

    def _refuse_nothing_but_copies(self) -> None:
        if len(self._originals) < 2:
            raise ValueError(
                f"all {len(self.names_)} images are copies of {self.names_[0]}: give at least 2 different ones"
            )

    def _warn_of_duplicates(self, alike: Sequence[tuple[int, int]]) -> None:
        """Name the images that are there twice: byte for byte, or saved again."""
        copies = [(self.copy_of_[i], i) for i in np.flatnonzero(self.copy_of_ != np.arange(len(self.copy_of_)))]
        if copies:
            warnings.warn(
                f"{len(copies)} images are copies of others, byte for byte: {self._pairs(copies)}; each is scored "
                "once, so that a defect does not hide behind its own copy",
                stacklevel=3,
            )
        if alike:
            warnings.warn(
                f"{len(alike)} pairs of images are nearly the same: {self._pairs(alike)}; a defect in both finds "
                "itself in the other and passes for normal: keep one of each",
                stacklevel=3,
            )

    def _pairs(self, pairs: Sequence[tuple[int, int]]) -> str:
        """Write the first pairs as "b.jpg (of a.jpg), ... and 7 more"."""
        shown = ", ".join(f"{self.names_[j]} (of {self.names_[i]})" for i, j in pairs[:5])
        return shown + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")

    def cost(self, n_images: int) -> Cost:
        """Estimate what fitting so many images takes, from about a second of work.

        Parameters
        ----------
        n_images : int

        Returns
        -------
        Cost
            Seconds of feature extraction and mutual scoring, bytes, pairs of images; `print` shows it in words.

        Raises
        ------
        ValueError
            If so many images cannot be scored within ``max_memory``, or a parameter does not fit.
        """
        if not isinstance(n_images, Integral) or n_images < 2:
            raise ValueError(f"mutual scoring takes at least 2 images, got n_images={n_images}")
        self._check_parameters()
        self.backbone_ = self._load_backbone()
        self.r_ = tuple(self.backbone_.default_r if self.r is None else self.r)
        references = self.references
        if np.ndim(references) and any(isinstance(name, str) for name in references):
            references = len(set(references))  # names of a batch that is not here: only their number counts
        plan, shape = self._plan(n_images, references), self._shape(n_images)
        n_layers, size = len(self.backbone_.layers(self.layers)), self._size()
        extraction = n_images * seconds_per_image(self.backbone_, size)
        n_pairs = len(self.r_) * n_layers * count_pairs(shape, references, self.window, plan.scoring_bytes)
        n_channels = self.n_components or shape[-1]
        share = 1.0
        if self.window is not None:  # of the rows of the grid
            share = min(1.0, (2 * self.window + 1) / self.backbone_.grid(size)[0])
        device = self.backbone_.device if is_fused(self.backbone_.device) else torch.device("cpu")
        scoring = n_pairs * share * seconds_per_pair(shape[1], n_channels, device)
        return Cost(extraction, scoring, plan.n_bytes, n_pairs)

    def _size(self) -> int:
        return self.backbone_.default_image_size if self.image_size is None else self.image_size

    def _shape(self, n_images: int) -> tuple[int, int, int]:
        """(N, M, C) of one layer's tokens."""
        h, w = self.backbone_.grid(self._size())
        return n_images, h * w, self.backbone_.width

    def _plan(self, n_images: int, references: int | Sequence[int] | None) -> Plan:
        """Say how the batch is kept, and refuse before the long work what mutual scoring would refuse after it."""
        n_images, n_patches, n_channels = self._shape(n_images)
        mutual_scores(torch.zeros(2, 4, n_channels), **self._search((2, 2)))  # few patches: it is refused, or quick
        return plan_memory(
            (n_images, len(self.backbone_.layers(self.layers)), n_patches, n_channels),
            n_degrees=len(self.r_),
            image_size=self._size(),
            references=references,
            n_components=self.n_components,
            window=self.window,
            max_memory=self.max_memory,
        )

    def _search(self, grid: tuple[int, int]) -> dict:
        """Give what both ways of scoring, in the batch and against it, are told about the search."""
        return {"n_components": self.n_components, "window": self.window, "grid": grid}

    def _aggregated(self, s: int, r: int, device: torch.device) -> Tensor:
        tokens = self.features_.patch_tokens[:, s]
        if len(self._originals) < len(tokens):
            tokens = tokens[self._originals]
        return aggregate_each(tokens, self.features_.grid, r, device)

    def _scoring_device(self) -> torch.device:
        """Score on the backbone's GPU, where one layer's tokens leave it some memory, else on the CPU."""
        device = self.backbone_.device
        if not is_fused(device):
            return torch.device("cpu")
        least = least_memory(self._shape(len(self._originals)), self._references())
        if self._spare_gpu_memory() >= least:
            return device
        warnings.warn(
            f"{device} has too little free memory for the tokens of {len(self.features_)} images: mutual scoring runs "
            "on the CPU; a GPU with more memory, smaller images or fewer of them would be faster",
            stacklevel=3,
        )
        return torch.device("cpu")

    def _spare_gpu_memory(self) -> int:
        """Count the bytes of the GPU that are free beside one layer's tokens in half precision."""
        n_images, n_patches, n_channels = self._shape(len(self.features_))
        tokens = 2 * n_images * n_patches * (n_channels + (self.n_components or 0))
        return free_memory(self.backbone_.device) - tokens

    def _each_degree_and_layer(self, score: Callable, n_pairs: int, device: torch.device) -> Tensor:
        """Call score(aggregated tokens (N, M, C), s, r, progress) for each r and layer, and stack: (R, S, N', M)."""
        n_layers = len(self.features_.layers)
        steps = [(r, s) for r in self.r_ for s in range(n_layers)]
        scores = []
        with progress_bar(total=len(steps) * n_pairs, desc="mutual scoring", unit="pair", unit_scale=True) as bar:
            for r, s in steps:
                scores.append(score(self._aggregated(s, r, device), s, r, bar.update).cpu())
        return torch.stack(scores).unflatten(0, (len(self.r_), n_layers))

    def _maps(self, patch_scores: Tensor) -> Tensor:
        """(R, S, N, M) -> (N, H, W)."""
        return upsample_maps(patch_scores.mean(dim=(0, 1)), self.features_.grid, self.features_.image_size)

    def _rescore_new(self, map_scores: Tensor, class_tokens: Tensor) -> Tensor:
        """Re-score each new image as if it were one more image of the fitted batch: (N,)."""
        if not len(self.windows):
            return map_scores
        fitted = torch.from_numpy(self.map_scores_[self._originals])
        fitted_tokens = self.features_.class_tokens[self._originals]
        scaled = scale_scores(torch.cat([map_scores, fitted]), fitted.min(), fitted.max())
        own, batch = scaled[: len(map_scores)], scaled[len(map_scores) :]
        rescored = []
        for score, token in zip(own, class_tokens, strict=True):
            similarity = image_similarity(torch.cat([token[None], fitted_tokens]))[:1]  # (1, 1 + N)
            rescored.append(neighborhood_scores(similarity, torch.cat([score[None], batch]), self.windows))
        return torch.cat(rescored)

    def _extract(
        self,
        images: ImageSet,
        layers: str | Sequence[int] | None,
        image_size: int | None,
        storage: str = "float32",
    ) -> Features:
        return extract_features(
            images,
            self.backbone_,
            layers=layers,
            image_size=image_size,
            batch_size=self.batch_size,
            cache_dir=self.cache_dir,
            storage=storage,
        )

    def _load_backbone(self) -> Backbone:
        if isinstance(self.backbone, Backbone):
            return self.backbone
        return load_backbone(self.backbone, device=self.device)

    def _check_parameters(self) -> None:
        """Refuse before the long work what the stages would refuse after it."""
        names = ("r", "interval", "windows", "contamination", "max_memory")
        check_parameters(**{name: getattr(self, name) for name in names})

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds_[stage] = time.perf_counter() - start


def as_image_set(images: Images) -> ImageSet:
    """Take an ImageSet as it is, a path as a folder or a file, several as paths of both, or as images."""
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path) and not Path(images).is_file():
        return load_folder(images)
    items = [images] if isinstance(images, str | Path) else images
    if isinstance(items, Iterable) and not isinstance(items, dict) and not hasattr(items, "ndim"):
        items = list(items)  # a generator gives them once only
        if items and all(isinstance(item, str | Path) for item in items):
            if any(Path(item).is_dir() for item in items):
                return load_folder(items)
            return ImageSet([Path(item) for item in items], [str(item) for item in items])
    return from_arrays(items)


def _mask_as_json(source: object, tensors: dict[str, Tensor]) -> object:
    """Give absolute paths for files; an array goes to `tensors`, a bit for a pixel, and leaves its name and shape."""
    if isinstance(source, list):
        return [_mask_as_json(part, tensors) for part in source]
    if not isinstance(source, np.ndarray):
        return source if source is None else str(source.absolute())
    name = f"mask_{len(tensors)}"
    tensors[name] = torch.from_numpy(np.packbits(source.astype(bool)))
    return {"tensor": name, "shape": source.shape}


def _mask_from_json(source: object, tensors: dict[str, Tensor]) -> Path | list | np.ndarray | None:
    """Undo `_mask_as_json`."""
    if isinstance(source, list):
        return [_mask_from_json(part, tensors) for part in source]
    if isinstance(source, dict):
        height, width = source["shape"]
        bits = np.unpackbits(tensors[source["tensor"]].numpy(), count=height * width)
        return bits.reshape(height, width).astype(bool)
    return source if source is None else Path(source)


def _as_json(about: dict) -> str:
    """Write JSON; NumPy's numbers and arrays, ranges and other sequences become plain ones."""
    return json.dumps(about, default=lambda value: value.tolist() if hasattr(value, "tolist") else list(value))


def _take(values: np.ndarray, index: np.ndarray, axis: int = 0) -> np.ndarray:
    """Index an axis; where that would change nothing, give the values themselves and not a copy of them."""
    return values if len(index) == values.shape[axis] else values.take(index, axis)
