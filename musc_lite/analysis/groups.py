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

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import SpectralClustering
from torch import Tensor

from musc_lite.search.nearest import for_each_pair
from musc_lite.stages.aggregation import aggregate
from musc_lite.stages.features import Features

__all__ = ["Groups", "group_images", "image_distances", "image_groups"]

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
        return f"Groups({self.in_words()})"

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
        """Give the images of a group, as indices."""
        return np.flatnonzero(self.labels == k)

    def in_words(self) -> str:
        """Say how many groups there are and how sure that is."""
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


def group_images(distances: np.ndarray, max_groups: int = 6) -> Groups:
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


def image_groups(features: Features, *, r: int = 3, max_groups: int = 6) -> Groups:
    """Divide the images of a batch into groups, over all layers of their features.

    Parameters
    ----------
    features : Features
        Of N images.
    r : int
        Aggregation degree.
    max_groups : int

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
    layers = range(len(features.layers))
    each = [image_distances(aggregate(features.patch_tokens[:, s], features.grid, r)) for s in layers]
    return group_images(np.mean(each, axis=0), max_groups)


def _divide(affinity: np.ndarray, n_groups: int) -> np.ndarray:
    """Divide images into so many groups, numbered from the largest: (N,)."""
    found = SpectralClustering(n_groups, affinity="precomputed", random_state=0).fit_predict(affinity)
    sizes = np.bincount(found, minlength=n_groups)
    return np.argsort(np.argsort(-sizes, kind="stable"))[found]


def _separation(distances: np.ndarray, labels: np.ndarray) -> float:
    """Say how often a pair within a group lies closer together than a pair of two groups: 0.5 by chance, 1 always."""
    i, j = np.triu_indices(len(labels), 1)
    is_within = labels[i] == labels[j]
    within, across = np.sort(distances[i, j][is_within]), distances[i, j][~is_within]
    if not len(within) or not len(across):
        return 0.5
    return float(np.searchsorted(within, across).mean() / len(within))
