"""Which kinds of image does a batch hold? Product variants, mixed lots, a defect that covers whole images.

Mutual scoring asks how many images know a patch, so a third of a batch that is made of something else passes for
normal: its images find each other. The batch shows it all the same. Two images are as far apart as the patches of one
lie from their nearest patches in the other, on average, and images of one kind lie closer together than images of two:

    d(i, j) = mean over patches m of min over n of |x_im - x_jn|,  the mean of both directions, over all layers
    A = exp(-d^2 / median(d)^2)                                    the affinity

Spectral clustering (von Luxburg, "A tutorial on spectral clustering", Statistics and Computing 17, 2007) divides it
into two groups, three, and so on. Any batch can be divided: of the divisions the one is taken that separates best, and
it is believed only where nearly all pairs of images of two groups lie farther apart than pairs of one. (The largest gap
of the eigenvalues, the usual way to count groups, cannot tell one group from two by itself.)
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from musc_lite.neighbors.brute_force import for_each_pair
from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.features import Features
from musc_lite.stages.mutual_scoring import interval_average
from musc_lite.utils.validation import MAX_GROUPS, check_group

if TYPE_CHECKING:
    import pandas

SEPARATION = 0.95  # share of pairs that must be in order before groups are believed
SMALLEST = 4  # images: fewer that are apart are outliers, not a group
LEAST = 12  # images: fewer can be divided by chance


@dataclass(frozen=True, eq=False)
class Groups:
    """Kinds of image in a batch.

    Attributes
    ----------
    labels : ndarray (N,)
        The group of each image; group 0 is the largest.
    distances : ndarray (N, N)
        How far images lie apart.
    eigenvalues : ndarray (K,)
        Of the normalized affinity, the largest first; the first is 1. As many large ones as there are groups.
    separation : float
        Share of pairs, one within a group and one across groups, of which the first lie closer together; of the split
        that was looked at, also where it was not believed. 0.5: no difference.
    """

    labels: np.ndarray
    distances: np.ndarray
    eigenvalues: np.ndarray
    separation: float

    def __len__(self) -> int:
        return int(self.labels.max()) + 1

    def __repr__(self) -> str:
        return f"Groups({self})"

    @property
    def sizes(self) -> np.ndarray:
        """How many images are in each group."""
        return np.bincount(self.labels)

    @property
    def medoids(self) -> np.ndarray:
        """Of each group the image that lies closest to its others."""
        members = [self.members(k) for k in range(len(self))]
        return np.array([m[self.distances[np.ix_(m, m)].sum(axis=1).argmin()] for m in members])

    def members(self, k: int) -> np.ndarray:
        """Return the images of a group, as indices."""
        return np.flatnonzero(self.labels == k)

    def scores_against(self, k: int, interval: tuple[float, float] = (0.0, 0.3)) -> np.ndarray:
        """Score each image by the images of a group, as mutual scoring scores a patch: by the closest share of them.

            a(i) = mean of the closest 30 % of { d(i, j) : j in group k, j not i }

        Parameters
        ----------
        k : int
        interval : (float, float)
            Share of the group's images, see `interval_average`.

        Returns
        -------
        ndarray (N,)
            Higher is less like the group.

        Examples
        --------
        >>> places = np.array([0.0, 1, 2, 8])
        >>> distances = abs(places[:, None] - places)
        >>> Groups(np.array([0, 0, 0, 1]), distances, np.ones(2), 1.0).scores_against(0, (0, 1))
        array([1.5, 1. , 1.5, 7. ])
        """
        members = self.members(k)
        others = [members[members != i] for i in range(len(self.labels))]
        closest = [interval_average(self.distances[i, j], interval) for i, j in enumerate(others)]
        return np.array([float(value) for value in closest])

    def to_frame(self, names: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Return a table of the groups, the largest first.

        Parameters
        ----------
        names : sequence of str, optional
            Of the N images; by default their numbers.

        Returns
        -------
        DataFrame
            Columns group, images (how many), medoid, inside (the mean of `scores_against` of its images against their
            own group) and against_largest (against group 0): where the second is far above the first, the group is
            alike in itself and unlike the largest.

        Examples
        --------
        >>> places = np.concatenate([np.linspace(0, 1, 8), np.linspace(5, 6, 6)])
        >>> group_images(abs(places[:, None] - places)).to_frame().round(2)
           group  images  medoid  inside  against_largest
        0      0       8       3    0.16             0.16
        1      1       6      10    0.20             4.57
        """
        import pandas

        largest, each = self.scores_against(0), [self.members(k) for k in range(len(self))]
        medoids = self.medoids
        columns = {
            "group": range(len(self)),
            "images": self.sizes,
            "medoid": medoids if names is None else [names[i] for i in medoids],
            "inside": [self.scores_against(k)[members].mean() for k, members in enumerate(each)],
            "against_largest": [largest[members].mean() for members in each],
        }
        return pandas.DataFrame(columns)

    def __str__(self) -> str:
        """Return how many groups there are and how sure that is."""
        if len(self) == 1:
            return f"one kind of image: the best division puts only {self.separation:.0%} of the pairs in order"
        sizes = " and ".join(map(str, self.sizes))
        return f"{len(self)} kinds of image, {sizes}: the division puts {self.separation:.0%} of the pairs in order"


def image_distances(tokens: Tensor) -> np.ndarray:
    """Measure how far images lie apart, by the mean distance from the patches of one to the nearest of the other.

    Parameters
    ----------
    tokens : Tensor (N, M, C)
        Aggregated patch tokens of one layer.

    Returns
    -------
    ndarray (N, N)
        The mean of both directions; 0 on the diagonal.

    Examples
    --------
    >>> image_distances(torch.tensor([[[0.0], [1.0]], [[0.0], [3.0]]]))
    array([[0.  , 0.75],
           [0.75, 0.  ]], dtype=float32)
    """
    distances = torch.zeros(len(tokens), len(tokens))

    def use(i: int, others: slice, squared: Tensor) -> None:
        there, back = (squared.amin(dim=dim).clamp(min=0).sqrt().mean(dim=1) for dim in (1, 2))
        distances[i, others] = distances[others, i] = ((there + back) / 2).float().cpu()

    for_each_pair(tokens, use)
    return distances.numpy()


def group_images(distances: np.ndarray, max_groups: int = MAX_GROUPS) -> Groups:
    """Divide images into groups by their distances; one group where no division separates them, or of fewer than 12.

    Parameters
    ----------
    distances : ndarray (N, N)
        Symmetric, 0 on the diagonal.
    max_groups : int

    Returns
    -------
    Groups

    Examples
    --------
    >>> places = np.concatenate([np.linspace(0, 1, 8), np.linspace(5, 6, 5)])
    >>> group_images(abs(places[:, None] - places)).labels
    array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    n_images, one = len(distances), np.zeros(len(distances), dtype=int)
    pairs = distances[np.triu_indices(n_images, 1)]
    if n_images < LEAST or not np.median(pairs) > 0:
        return Groups(one, distances, np.ones(1), 0.5)
    affinity = np.exp(-((distances / np.median(pairs)) ** 2))
    np.fill_diagonal(affinity, 0)
    degrees = affinity.sum(axis=1)
    eigenvalues = np.linalg.eigvalsh(affinity / np.sqrt(np.outer(degrees, degrees)))[::-1][: max_groups + 1]
    divisions = [_divide(affinity, k) for k in range(2, min(max_groups, n_images // SMALLEST) + 1)]
    divisions = [labels for labels in divisions if np.bincount(labels).min() >= SMALLEST]
    separations = [_separation(distances, labels) for labels in divisions]
    best = max(separations, default=0.5)
    labels = divisions[separations.index(best)] if best >= SEPARATION else one
    return Groups(labels, distances, eigenvalues, best)


def image_groups(features: Features, *, r: int = 3, max_groups: int = MAX_GROUPS, every: int = 1) -> Groups:
    """Divide the images of a batch into groups, over all layers of their features.

    Parameters
    ----------
    features : Features
        Of N images.
    r : int
        Aggregation degree.
    max_groups : int
    every : int
        Compare only every second, third, ... patch of each row and column: the patches between them are seen through
        the aggregation, and 2 takes about a sixteenth of the time.

    Returns
    -------
    Groups

    Examples
    --------
    >>> from musc_lite import extract_features, load_backbone, planted_textures
    >>> features = extract_features(planted_textures("brick", 8, 2), load_backbone("dinov2_vits14"), image_size=56)
    >>> len(image_groups(features))
    1
    """
    if every < 1:
        raise ValueError(f"every is a whole number, 1 for all patches, got {every}")
    h, w = features.grid
    layers, kept = range(len(features.layers)), torch.arange(h * w).view(h, w)[::every, ::every].flatten()
    each = [image_distances(aggregate(features.patch_tokens[:, s], features.grid, r)[:, kept]) for s in layers]
    return group_images(np.mean(each, axis=0), max_groups)


def _divide(affinity: np.ndarray, n_groups: int) -> np.ndarray:
    """Divide images into so many groups, numbered from the largest: (N,)."""
    from sklearn.cluster import SpectralClustering  # takes a while to import

    found = SpectralClustering(n_groups, affinity="precomputed", random_state=0).fit_predict(affinity)
    sizes = np.bincount(found, minlength=n_groups)
    return np.argsort(np.argsort(-sizes, kind="stable"))[found]


def _separation(distances: np.ndarray, labels: np.ndarray) -> float:
    """Return how often a pair within a group is closer than a pair of two groups: 0.5 by chance, 1 always."""
    i, j = np.triu_indices(len(labels), 1)
    is_within = labels[i] == labels[j]
    within, across = np.sort(distances[i, j][is_within]), distances[i, j][~is_within]
    if not len(within) or not len(across):
        return 0.5
    return float(np.searchsorted(within, across).mean() / len(within))


def check_groups(groups: str | int | None, scorer: BaseEstimator) -> BaseEstimator:
    """Return the scorer, or refuse before the long work what names no group, and scorers that take no references."""
    if groups is None:
        return scorer
    if groups != "largest" and (not isinstance(groups, Integral) or groups < 0):
        raise ValueError(f"groups is 'largest' or the number of a group, the largest is 0; got {groups!r}")
    if groups != "largest":
        check_group(int(groups))
    if getattr(scorer, "references", "none") is not None:
        raise ValueError(f"groups={groups!r} chooses the references itself: {scorer} has some already, or takes none")
    return scorer


def find_normal(features: Features, kept: np.ndarray, groups: str | int) -> tuple[Groups, np.ndarray | None]:
    """Find the groups of a batch, and the images of the normal one.

    Parameters
    ----------
    features : Features
        Of all images.
    kept : ndarray (N',)
        The images that are no copies.
    groups : "largest" or int
        Which group is the normal one; 0 is the largest.

    Returns
    -------
    groups : Groups
        Of the images without copies.
    normal : ndarray (n,) or None
        Indices among all images, of copies the first; None where the batch is of one kind.
    """
    found, k = image_groups(features.subset(kept)), 0 if groups == "largest" else int(groups)
    if len(found) == 1:
        return found, None
    if k >= len(found):
        raise ValueError(f"there is no group {k}: the batch holds {found}")
    warnings.warn(
        f"{found}; all images are scored by the {found.sizes[k]} of group {k} alone, so that the others "
        "stand out as a whole: look whether they are defective or another product",
        stacklevel=4,
    )
    return found, kept[found.members(k)]
