"""From scores to decisions: the threshold, and what can be said about a ranking without labels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import renamed_attributes, renamed_parameters
from musc_lite.utils.validation import check_contamination

LEAST_FOR_MIXTURE = 20  # images: two normal distributions have five parameters
DECIMALS = 3  # of the scores that are shown
CLEAR_GAP = 4  # times the largest step below: 1 batch in 10 has one by chance, of 60 scores of one normal distribution


@dataclass(frozen=True)
class Decision:
    """A threshold, and what it was set from."""

    value: float  # images that score above it are flagged as anomalous
    rule: str = "set by hand"  # what set it, such as "contamination 'auto'"
    n_used: int | None = None  # number of images whose scores it was set from; None: it was set by hand
    calibration: bool = False  # whether these are calibration images, which are no part of the batch

    @property
    def is_automatic(self) -> bool:
        """Whether it was set from the scores of the batch itself."""
        return self.n_used is not None and not self.calibration

    @classmethod
    def by(cls, rule: Component, value: float, n_images: int, calibration: np.ndarray | None = None) -> "Decision":
        """Return what a rule set, from a batch of so many images or from the calibration images' scores."""
        name = rule.provenance().get("threshold", "of its own")
        if calibration is None or not getattr(rule, "by_calibration", False):
            return cls(value, name, n_images)
        return cls(value, name, len(calibration), calibration=True)


def choose_threshold(
    image_scores: ArrayLike, contamination: Literal["auto"] | float = "auto", map_scores: ArrayLike | None = None
) -> float:
    """Compute the threshold above which images are outliers.

    Parameters
    ----------
    image_scores : (N,)
        Higher is more anomalous.
    contamination : "auto" or float
        The expected share of defective images, in (0, 0.5]; "auto": as many images as `count_outliers` finds among the
        scores before re-scoring.
    map_scores : (N,), optional
        Scores before re-scoring, which blurs the border between the kinds; None: the image scores.

    Returns
    -------
    float
        With "auto" half way between the last image called and the next; above all scores where none is called.

    Raises
    ------
    ValueError
        If contamination is neither.

    Examples
    --------
    >>> round(choose_threshold(np.arange(10.0), 0.2), 1)
    7.2
    >>> choose_threshold([0.1, 0.9, 0.2, 0.12, 0.15])
    0.55
    """
    if contamination == "auto":
        image_scores = np.asarray(image_scores, dtype=float)
        n_called = count_outliers(image_scores if map_scores is None else map_scores)
        if not n_called:
            return float(max(image_scores.max(), _lower_half_limit(image_scores)))
        ranked = np.sort(image_scores)[::-1]
        return _between(ranked[n_called], ranked[n_called - 1])
    check_contamination(contamination)
    return float(np.quantile(np.asarray(image_scores), 1 - contamination))


def count_outliers(scores: ArrayLike) -> int:
    """Estimate the number of anomalous images in a batch from their scores, without labels.

    Two rules, and the one that sees more counts:

    - the spread: scores above the median by 3 robust standard deviations, 1.4826 times the median distance of the
      *lower* half from the median. Defective images widen the upper half only.
    - the mixture, from 20 images on: where two normal distributions explain the scores better than one (BIC), the
      scores that more likely belong to the upper one. It still sees where half of the batch is defective.

    Parameters
    ----------
    scores : (N,)
        Of one batch, best before re-scoring.

    Returns
    -------
    int
        0 to N - 1. What this finds and what it misses: `benchmarks/thresholds.py`.

    Examples
    --------
    >>> count_outliers([0.1, 0.9, 0.2, 0.12, 0.15])
    1
    """
    scores = np.asarray(scores, dtype=float)
    return max(int((scores > _lower_half_limit(scores)).sum()), _count_upper_group(scores))


@renamed_parameters(share="contamination")
@renamed_attributes(draw="compute")
class ContaminationThreshold(Component):
    """Set the threshold from the scores of the batch: `choose_threshold`.

    Parameters
    ----------
    contamination : "auto" or float
        The expected share of defective images, in (0, 0.5]; "auto": read from the scores.
    """

    by_calibration = False  # whether `compute` uses the calibration images

    def __init__(self, contamination: Literal["auto"] | float = "auto"):
        self.contamination = contamination

    def check(self) -> None:
        """Raise an error for a value that is no share."""
        check_contamination(self.contamination)

    def provenance(self) -> dict[str, str]:
        """Name the rule."""
        return {"threshold": f"contamination {self.contamination!r}"}

    def check_trusted(self, n_trusted: int) -> None:
        """Take any number of trusted images, for p-values and drift alone."""

    def compute(self, image_scores: ArrayLike, map_scores: ArrayLike, calibration: ArrayLike | None = None) -> float:
        """Return the threshold for a batch's scores (N,) after and before re-scoring; trusted images do not matter."""
        return choose_threshold(image_scores, self.contamination, map_scores)


def _lower_half_limit(scores: np.ndarray) -> float:
    median = np.median(scores)
    return float(median + 3 * 1.4826 * np.median(median - scores[scores <= median]))


def _count_upper_group(scores: np.ndarray) -> int:
    """Count the scores above the border of two groups; 0 where one normal distribution explains them as well."""
    if len(scores) < LEAST_FOR_MIXTURE or np.ptp(scores) == 0:
        return 0
    standard = ((scores - scores.mean()) / scores.std())[:, None]
    from sklearn.mixture import GaussianMixture  # takes a while to import

    one = GaussianMixture(1, reg_covar=1e-3).fit(standard)
    two = GaussianMixture(2, reg_covar=1e-3, n_init=3, random_state=0).fit(standard)
    if two.bic(standard) >= one.bic(standard):
        return 0
    lower, upper = two.means_.ravel().argsort()
    in_upper = two.predict_proba(standard)[:, upper] > 0.5
    in_upper &= standard.ravel() > two.means_[lower]  # a wide upper group reaches below the lower one too
    return int((scores >= scores[in_upper].min()).sum()) if in_upper.any() else 0


def _between(low: float, high: float) -> float:
    """Return a threshold half way, so that in the scores' own precision high lies above it and low does not."""
    return float(min(np.nextafter(np.float32(high), np.float32(-np.inf)), (low + high) / 2))


@dataclass(frozen=True)
class Gap:
    """A step between neighbors in the upper half of a ranking, beside the steps below it."""

    n_above: int  # images above it
    high: float  # the scores at its two ends, as they are shown: with `DECIMALS`
    low: float
    next: float  # the largest step below it, down to three quarters of the ranking

    @property
    def ratio(self) -> float:
        """The step per the largest below it; steps that the shown scores do not resolve count as the last digit."""
        return (self.high - self.low) / max(self.next, 10.0**-DECIMALS)

    @property
    def is_clear(self) -> bool:
        """Whether it may tell defective images from others: `CLEAR_GAP` times the largest step below it, or more."""
        return self.ratio >= CLEAR_GAP - 1e-6


def clearest_gap(image_scores: ArrayLike) -> Gap:
    """Find the step in the upper half of the ranking that is the largest multiple of the steps below it.

    Steps above it do not count: scores of defective images vary among each other.

    Parameters
    ----------
    image_scores : (N,)
        N at least 2.

    Examples
    --------
    >>> clearest_gap([0.1, 0.9, 0.2, 0.8, 0.15])
    Gap(n_above=2, high=0.8, low=0.2, next=0.05)
    """
    ranked = np.sort(np.round(np.asarray(image_scores, dtype=float), DECIMALS))[::-1]
    steps, n = np.round(-np.diff(ranked), DECIMALS), len(ranked)
    gaps = [
        Gap(k, float(ranked[k - 1]), float(ranked[k]), float(steps[k : max(k + 1, 3 * n // 4)].max(initial=0.0)))
        for k in range(1, max(1, n // 2) + 1)
    ]
    return max(gaps, key=lambda gap: gap.ratio)


@dataclass(frozen=True)
class ConfusionCounts:
    """What a threshold would call, held against labels."""

    threshold: float
    found: int  # defective images above it
    n_defective: int
    false_alarms: int  # normal images above it
    n_normal: int

    @classmethod
    def at(cls, threshold: float, labels: ArrayLike, image_scores: ArrayLike) -> "ConfusionCounts":
        """Count what a threshold calls."""
        defective, called = np.asarray(labels) == 1, np.asarray(image_scores) > threshold
        counts = ((called & defective).sum(), defective.sum(), (called & ~defective).sum(), (~defective).sum())
        return cls(float(threshold), *map(int, counts))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 0 where nothing is found."""
        return 2 * self.found / max(1, self.found + self.false_alarms + self.n_defective)

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.n_defective} defective and {self.false_alarms} of {self.n_normal} normal images "
            f"(F1 {self.f1:.2f})"
        )


def best_f1_threshold(labels: ArrayLike, image_scores: ArrayLike) -> float:
    """Find the threshold whose calls have the best F1 score: half way down from the last image called.

    Parameters
    ----------
    labels : (N,)
        0 normal, 1 defective; both must be there.
    image_scores : (N,)

    Raises
    ------
    ValueError
        If all images are of one kind.

    Examples
    --------
    >>> best_f1_threshold([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.8])
    0.5
    """
    labels, image_scores = np.asarray(labels), np.asarray(image_scores, dtype=float)
    if len(np.unique(labels)) < 2:
        raise ValueError("the best F1 needs labels of both kinds, 0 (normal) and 1 (defective)")
    from sklearn.metrics import precision_recall_curve  # takes a while to import

    precision, recall, thresholds = precision_recall_curve(labels, image_scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    lowest_called = thresholds[f1[:-1].argmax()]
    below = image_scores[image_scores < lowest_called]
    return _between(below.max() if len(below) else lowest_called, lowest_called)
