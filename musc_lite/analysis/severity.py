"""How bad is a defect? By its size and by its depth, which the score of an image, one patch of it, does not tell apart.

The severity of a region is its patches' excess over what is usual in images that are not flagged, and so the product
of two things that can be looked at apart:

    severity = sum over patches m of max(s_m - u, 0) / M = (area / M) * depth,   u = 90th percentile of usual patches

It orders defects of one batch, no more: a scratch and a stain of one severity are not equally harmful. (That a score
should follow severity is the question of MAD-Bench: Cao et al., "Are anomaly scores telling the whole story?", arXiv
2411.14515.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from musc_lite.analysis.regions import Regions, mean_patch_scores
from musc_lite.utils.deprecation import renamed_attributes

USUAL = 0.9  # quantile


@renamed_attributes(depths="contrast")
@dataclass(frozen=True, eq=False)
class Severity:
    """How bad the regions are, K of them.

    Attributes
    ----------
    areas : ndarray (K,)
        Share of the image's patches.
    depths : ndarray (K,)
        Mean excess of a patch's score over what is usual.
    usual : float
        The score that is exceeded.
    """

    areas: np.ndarray
    contrast: np.ndarray
    usual: float

    @property
    def values(self) -> np.ndarray:
        """Area times depth, (K,)."""
        return self.areas * self.contrast

    def __repr__(self) -> str:
        return f"Severity({len(self.areas)} regions, over {self.usual:.3f})"


def severity(regions: Regions, patch_scores: ArrayLike, stand_out: ArrayLike) -> Severity:
    """Compute the severity of regions: area, contrast and their product.

    Parameters
    ----------
    regions : Regions
        See `find_regions`, `DefectClasses.regions`.
    patch_scores : (N, M) or (..., N, M)
        Those that the regions were found by.
    stand_out : (N,) bool
        The other images say what is usual; if there are none, all do.

    Returns
    -------
    Severity

    Raises
    ------
    ValueError
        If scores and flags are not those of the same images.

    Examples
    --------
    >>> from musc_lite.analysis.regions import find_regions
    >>> scores = [[1, 1, 1, 1, 1], [1, 5, 4, 1, 1]]
    >>> found = severity(find_regions(scores, (1, 5), [1]), scores, [False, True])
    >>> found.areas, found.contrast, found.values
    (array([0.4]), array([3.5]), array([1.4]))
    """
    scores, stand_out = mean_patch_scores(patch_scores, regions.grid), np.asarray(stand_out, dtype=bool)
    if stand_out.shape != scores.shape[:1] or regions.images.max(initial=-1) >= len(scores):
        raise ValueError(
            f"the scores are those of {len(scores)} images: give stand_out of as many, got {stand_out.shape}, and "
            f"regions of these images, got {regions!r}"
        )
    usual = float(np.quantile(scores if stand_out.all() else scores[~stand_out], USUAL))
    excess = np.clip(scores - usual, 0, None)
    contrast = [excess[i, patches].mean() for i, patches in zip(regions.images, regions.patches, strict=True)]
    return Severity(regions.areas / scores.shape[1], np.array(contrast, dtype=float), usual)
