"""Which kinds of defect does a batch hold? The regions that stand out, sorted by what they look like.

The strongest region of each flagged image gets a vector (`region_vectors`). Ward's clustering (Ward, 1963)
joins the two groups of vectors whose union costs least,

    cost(a, b) = sqrt(2 |a| |b| / (|a| + |b|)) |mean of a - mean of b|

until as many are left as are asked for, or until a union would cost more than `APART` times the spread of the images'
patches. Further regions of an image, often nothing but the surface, are not clustered: each takes the nearest class.
(Sorting defects without labels: Sohn et al., "Anomaly Clustering", WACV 2023, arXiv 2112.11573; AnomalyNCD, arXiv
2410.14379, trains a network for it.)
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import AgglomerativeClustering

from musc_lite.analysis.regions import Regions, find_regions, region_vectors
from musc_lite.analysis.severity import Severity
from musc_lite.stages.features import Features

if TYPE_CHECKING:
    import pandas

NONE = -1  # the class of images that are not flagged
APART = 2.2  # spreads: where the number of classes is looked for, a union that costs more joins two kinds
FEW = 10  # flagged images: with fewer, their kinds are a guess


@dataclass(frozen=True, eq=False)
class DefectClasses:
    """Kinds of defect in a batch.

    Attributes
    ----------
    labels : ndarray (N,)
        The class of each image, that of its strongest region; 0 is the largest. -1: the image is not flagged.
    regions : Regions
        Of the flagged images, K.
    region_labels : ndarray (K,)
        The class of each region.
    vectors : ndarray (K, S * C)
        What each looks like.
    is_found : bool
        Whether the number of classes was found, not given.
    """

    labels: np.ndarray
    regions: Regions
    region_labels: np.ndarray
    vectors: np.ndarray
    is_found: bool

    def __len__(self) -> int:
        return int(self.labels.max(initial=NONE)) + 1

    def __repr__(self) -> str:
        return f"DefectClasses({len(self)} kinds, images: {self.sizes.tolist()})"

    @property
    def sizes(self) -> np.ndarray:
        """How many images are of each class."""
        return np.bincount(self.labels[self.labels != NONE], minlength=len(self))

    def members(self, k: int) -> np.ndarray:
        """Return the strongest regions of the images of a class, from the most to the least typical: indices."""
        strongest = self.regions.strongest
        members = strongest[self.region_labels[strongest] == k]
        distances = np.linalg.norm(self.vectors[members] - self.vectors[members].mean(axis=0), axis=1)
        return members[np.argsort(distances, kind="stable")]

    def to_frame(self, names: Sequence[str], severities: Severity) -> "pandas.DataFrame":
        """Return a table of the regions, the most severe first.

        Parameters
        ----------
        names : N strings
            Of the images.
        severities : Severity
            Of the regions, see `severity`.

        Returns
        -------
        DataFrame
            Columns image, kind, strongest (of its image: 0 or 1), severity, area (share of the patches), depth, peak,
            and the box: top, left, bottom, right in shares of what was looked at.
        """
        import pandas

        boxes = self.regions.boxes / np.tile(self.regions.grid, 2)
        columns = {
            "image": [names[i] for i in self.regions.images],
            "kind": self.region_labels,
            "strongest": np.isin(np.arange(len(self.regions)), self.regions.strongest).astype(int),
            "severity": severities.values,
            "area": severities.areas,
            "depth": severities.contrast,
            "peak": self.regions.peaks,
            **dict(zip(("top", "left", "bottom", "right"), boxes.T, strict=True)),
        }
        order = np.argsort(-severities.values, kind="stable")
        return pandas.DataFrame(columns).iloc[order].reset_index(drop=True)


def cluster_vectors(vectors: ArrayLike, n_classes: int | None = None, spread: float = 1.0) -> np.ndarray:
    """Sort vectors into classes by Ward's clustering, numbered from the largest.

    Parameters
    ----------
    vectors : (K, C)
    n_classes : int, optional
        At most K; None: as many as lie apart.
    spread : float
        The unit in which vectors lie apart, where the number is looked for.

    Returns
    -------
    ndarray (K,)

    Examples
    --------
    >>> cluster_vectors([[0.0], [9.0], [9.1], [9.2], [0.3]])
    array([1, 0, 0, 0, 1])
    """
    vectors = np.asarray(vectors, dtype=float)
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=int)
    least = APART * spread if n_classes is None else None
    found = AgglomerativeClustering(n_classes, distance_threshold=least, linkage="ward").fit_predict(vectors)
    return np.argsort(np.argsort(-np.bincount(found), kind="stable"))[found]


def defect_classes(
    features: Features, patch_scores: ArrayLike, stand_out: ArrayLike, n_classes: int | None = None
) -> DefectClasses:
    """Sort the flagged images by the kind of their defect.

    Parameters
    ----------
    features : Features
        Of N images, such as ``detector.features_``.
    patch_scores : (N, M) or (..., N, M)
        Such as ``detector.patch_scores_``; of maps of another method ``patch_shares(maps, features.grid)``.
    stand_out : (N,) bool
        Such as ``detector.scores_.is_outlier``.
    n_classes : int, optional
        How many kinds there are; None: find it. Where fewer images are flagged, each is a class, with a warning.

    Returns
    -------
    DefectClasses

    Raises
    ------
    ValueError
        If the arguments are not of the same images, or the number is no whole number of 1 or more.

    Examples
    --------
    >>> from musc_lite import MuSc, planted_textures
    >>> detector = MuSc(image_size=112, r=(1,)).fit(planted_textures("brick", 12, 4, image_size=112))
    >>> classes = defect_classes(detector.features_, detector.patch_scores_, detector.image_scores_ > 0.1, n_classes=2)
    >>> len(classes), classes.labels.shape
    (2, (12,))
    """
    stand_out = np.asarray(stand_out)
    shapes = (len(features),), (len(features), features.patch_tokens.shape[2])
    if stand_out.dtype != bool or stand_out.shape != shapes[0] or np.shape(patch_scores)[-2:] != shapes[1]:
        raise ValueError(
            f"of {shapes[0][0]} images with {shapes[1][1]} patches give patch_scores (..., {shapes[1][0]}, "
            f"{shapes[1][1]}) and stand_out ({shapes[0][0]},) of bool, got {np.shape(patch_scores)} and "
            f"{stand_out.shape} of {stand_out.dtype}"
        )
    if n_classes is not None and (n_classes != int(n_classes) or n_classes < 1):
        raise ValueError(f"n_classes is a whole number of kinds, 1 or more, or None to find it; got {n_classes!r}")
    regions = find_regions(patch_scores, features.grid, np.flatnonzero(stand_out))
    labels = np.full(len(features), NONE)
    if not len(regions):
        return DefectClasses(labels, regions, np.zeros(0, dtype=int), np.zeros((0, 0)), n_classes is None)
    strongest = regions.strongest
    if n_classes is not None and n_classes > len(strongest):
        warnings.warn(
            f"only {len(strongest)} images are flagged, too few for {n_classes} kinds of defect: each is a kind of its "
            "own. Lower the threshold, or ask for fewer kinds",
            stacklevel=2,
        )
        n_classes = len(strongest)
    vectors, spread = region_vectors(regions, features)
    found = cluster_vectors(vectors[strongest], n_classes, spread)
    means = np.stack([vectors[strongest][found == k].mean(axis=0) for k in range(found.max() + 1)])
    region_labels = np.linalg.norm(vectors[:, None] - means, axis=2).argmin(axis=1)
    region_labels[strongest] = found
    labels[regions.images[strongest]] = found
    return DefectClasses(labels, regions, region_labels, vectors, n_classes is None)


def listed(numbers: list[int]) -> str:
    """Return the numbers as "0, 1 and 2"."""
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}" if others else last
