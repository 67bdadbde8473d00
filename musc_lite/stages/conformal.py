"""A conformal threshold: it limits how often good images are flagged, from a calibration set of good images.

An image that was neither compared with nor looked at before has the p-value (split conformal prediction)

    p = (1 + number of the n trusted images that score at least as high) / (n + 1)

If it is good, and like the trusted ones (exchangeable with them), then p <= rate happens with a probability of at most
that rate, whatever the distribution of the scores: its rank among n + 1 images is as likely to be any as any other.
(Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; for outliers Bates, Candès, Lei, Romano and
Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 2023.)
"""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import ArrayLike

from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import renamed_attributes

DRIFT_LEVEL = 0.01  # of days without drift this share is warned of
ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996


def p_values(image_scores: ArrayLike, calibration: ArrayLike) -> np.ndarray:
    """Return the share of images, trusted ones and itself, that score at least as high.

    Parameters
    ----------
    image_scores : (N,)
        Higher is more anomalous.
    calibration : (n,)
        Scores of the trusted images, against the same reference.

    Returns
    -------
    ndarray (N,)
        From 1 / (n + 1) to 1; small is anomalous.

    Examples
    --------
    >>> p_values([0.1, 0.5, 0.9], calibration=[0.2, 0.5, 0.3])
    array([1.  , 0.5 , 0.25])
    """
    calibration = np.sort(np.asarray(calibration, dtype=float))
    below = np.searchsorted(calibration, np.asarray(image_scores, dtype=float), side="left")
    return (1 + len(calibration) - below) / (len(calibration) + 1)


def conformal_threshold(calibration: ArrayLike, rate: float) -> float:
    """Return the score above which exactly the images with a p-value of at most the rate lie.

    Parameters
    ----------
    calibration : (n,)
        Scores of the trusted images.
    rate : float
        In (0, 1).

    Returns
    -------
    float
        One of the scores: the k-th highest, k = floor(rate (n + 1)).

    Raises
    ------
    ValueError
        If there are too few trusted images for the rate: n >= 1 / rate - 1 are needed.

    Examples
    --------
    >>> conformal_threshold([0.3, 0.1, 0.2, 0.4], rate=0.4)
    0.3
    """
    scores = np.sort(np.asarray(calibration, dtype=float))[::-1]
    ConformalThreshold(rate).check_trusted(len(scores))
    return float(scores[_n_above(rate, len(scores)) - 1])


@renamed_attributes(draw="compute", n_needed="min_calibration_size")
class ConformalThreshold(Component):
    """Set the threshold so that at most this fraction of good images is flagged: `conformal_threshold`.

    Parameters
    ----------
    rate : float
        In (0, 1).
    """

    by_calibration = True  # whether `compute` uses the calibration images

    def __init__(self, rate: float = 0.05):
        self.rate = rate

    @property
    def min_calibration_size(self) -> int:
        """How many trusted images such a rate needs at least.

        Examples
        --------
        >>> ConformalThreshold(0.05).min_calibration_size, ConformalThreshold(0.3).min_calibration_size
        (19, 3)
        """
        return ceil(1 / self.rate - 1 - ROUNDING)

    def check(self) -> None:
        """Raise an error for a value that is no rate."""
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 < self.rate < 1:
            raise ValueError(f"a false alarm rate lies between 0 and 1, such as 0.05, got {self.rate!r}")

    def check_trusted(self, n_trusted: int) -> None:
        """Raise an error for too few trusted images."""
        self.check()
        if n_trusted < self.min_calibration_size:
            needs = f"a false alarm rate of {self.rate:g} needs at least {self.min_calibration_size} images"
            raise ValueError(
                f"{needs} that are known to be good and are not compared with, got {n_trusted}: give more, or ask for "
                f"a rate of {min_false_alarm_rate(n_trusted):g} or more"
                if n_trusted
                else f"{needs} that are known to be good and are not part of the batch: fit(batch, trusted=images), or "
                "verdicts in fit_reference"
            )

    def provenance(self) -> dict[str, str]:
        """Name the promise."""
        return {"threshold": f"false alarm rate {self.rate:g}"}

    def compute(self, image_scores: ArrayLike, map_scores: ArrayLike, calibration: ArrayLike | None = None) -> float:
        """Return the threshold; the scores (N,) of the batch, after and before re-scoring, do not matter."""
        return conformal_threshold(() if calibration is None else calibration, self.rate)


def min_false_alarm_rate(n_trusted: int) -> float:
    """Return the lowest rate, in thousandths, for which so many trusted images are enough.

    Examples
    --------
    >>> min_false_alarm_rate(9), min_false_alarm_rate(19)
    (0.1, 0.05)
    """
    return ceil(1000 / (n_trusted + 1) - ROUNDING) / 1000


@dataclass(frozen=True)
class Drift:
    """Whether the good images of a day still look like the trusted ones."""

    p_value: float  # of a two-sided Kolmogorov-Smirnov test: the day's scores below the threshold, the trusted ones'
    n_called: int  # images above it, which are left out of that test: a day with more defects is no drift
    n_images: int
    n_trusted: int
    p_called: float  # how likely so many calls, or more, are if all images of the day are like the trusted ones

    @property
    def is_likely(self) -> bool:
        """Whether to warn, at the level `DRIFT_LEVEL`."""
        return self.p_value < DRIFT_LEVEL


def find_drift(image_scores: ArrayLike, calibration: ArrayLike, threshold: float) -> Drift:
    """Compare the scores of a day with those of the trusted images.

    Parameters
    ----------
    image_scores : (N,)
        Of the day.
    calibration : (n,)
        Of the trusted images.
    threshold : float
        Images that score above it are flagged.

    Examples
    --------
    >>> trusted = np.linspace(0, 1, 40)
    >>> find_drift(trusted[::2], trusted, 0.95).is_likely, find_drift(trusted[::2] / 9, trusted, 0.95).is_likely
    (False, True)
    """
    from scipy.stats import betabinom, ks_2samp

    scores, trusted = np.asarray(image_scores, dtype=float), np.asarray(calibration, dtype=float)
    quiet, expected = scores[scores <= threshold], trusted[trusted < threshold]  # the threshold is one of them
    p_value = float(ks_2samp(quiet, expected).pvalue) if len(quiet) and len(expected) else 1.0
    n_called, k = len(scores) - len(quiet), int((trusted >= threshold).sum())
    p_called = betabinom.sf(n_called - 1, len(scores), k, len(trusted) + 1 - k) if k else 1.0
    return Drift(p_value, n_called, len(scores), len(trusted), float(p_called))


def _n_above(rate: float, n_trusted: int) -> int:
    """Count the trusted images that score as high as the threshold or higher."""
    return floor(rate * (n_trusted + 1) + ROUNDING)
