"""What a result is worth, when labels or masks exist: all by scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import label as label_regions
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from musc_lite.results.scores import Scores


class Metrics(SimpleNamespace):
    """Scores in 0..1, higher is better; NaN where labels or masks are missing or all of one kind.

    Attributes
    ----------
    image_auroc, image_f1_max, image_ap : float
        Image level: how well image scores tell defective images from normal ones.
    pixel_auroc, pixel_f1_max, pixel_ap : float
        Pixel level: the same for all pixels of all maps.
    aupro : float
        Area under the per-region-overlap curve up to a false positive rate of 0.3: small defects count as much
        as large ones.
    """

    def __init__(self, **values: float):
        if unknown := values.keys() - METRICS.keys():
            raise TypeError(f"no metric is named {', '.join(sorted(unknown))}; there are {', '.join(METRICS)}")
        super().__init__(**dict.fromkeys(METRICS, np.nan) | values)

    def asdict(self) -> dict[str, float]:
        """Return the numbers under their names."""
        return dict(vars(self))


def evaluate(
    labels: ArrayLike | None = None,
    image_scores: ArrayLike | None = None,
    masks: ArrayLike | None = None,
    maps: ArrayLike | None = None,
) -> Metrics:
    """Compare scores with labels, and maps with masks; either pair may be left out.

    Parameters
    ----------
    labels : (N,), optional
        0 normal, 1 defective.
    image_scores : (N,), optional
        Higher is more anomalous.
    masks : (N, H, W), optional
        True on defective pixels.
    maps : (N, H, W), optional
        Higher is more anomalous.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If shapes disagree, labels are not 0 and 1, or scores are not finite.

    Notes
    -----
    Differs from the reference: an undefined metric is NaN (published code: 0); AUPRO uses every threshold
    (published code: 200 of them).

    Examples
    --------
    >>> metrics = evaluate(labels=[0, 0, 1, 1], image_scores=[0.1, 0.4, 0.35, 0.8])
    >>> metrics.image_auroc, round(metrics.image_f1_max, 3), metrics.pixel_auroc
    (0.75, 0.8, nan)
    """
    compared = {}
    if labels is not None and image_scores is not None:
        compared["image"] = _checked("labels", labels, "image_scores", image_scores, ndim=1)
    if masks is not None and maps is not None:
        compared["pixel"] = _checked("masks", masks, "maps", maps, ndim=3)
    return Metrics(
        **{
            name: metric.compute(*compared[metric.level])
            for name, metric in METRICS.items()
            if metric.level in compared
        }
    )


def evaluate_scores(scores: Scores) -> Metrics:
    """Compare scores and maps with the labels and masks that their images have, as far as they have any."""
    images, maps = scores.images, scores.anomaly_maps
    masks = scores.masks()
    labels = None if images is None else images.labels
    return evaluate(labels, scores.image_scores, masks, None if masks is None else maps)


def f1_max(truth: ArrayLike, scores: ArrayLike) -> float:
    """Find the best F1 score over all thresholds.

    Parameters
    ----------
    truth, scores : (n,)
        0 or 1, and the scores that should tell them apart.

    Returns
    -------
    float

    Examples
    --------
    >>> f1_max([0, 1, 1], [0.2, 0.1, 0.9])
    0.8
    """
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)))


def aupro(masks: ArrayLike, maps: ArrayLike, max_fpr: float = 0.3) -> float:
    """Area under the per-region-overlap curve, over the false positive rates from 0 to `max_fpr`.

    The per-region overlap at a threshold is the found share of each connected defect region, averaged over all
    regions. That is a true positive rate in which each pixel weighs one over its region's size, so scikit-learn's
    ROC curve with these weights gives the curve at every threshold; equal scores are one threshold, and the order
    of the images does not matter. A constant map gives chance, max_fpr / 2.

    Parameters
    ----------
    masks : (N, H, W)
        True on defective pixels; a region is 8-connected.
    maps : (N, H, W)
    max_fpr : float
        Where the integral ends; the area is divided by it.

    Returns
    -------
    float
        NaN without a defective or without a normal pixel.

    Examples
    --------
    >>> masks = np.zeros((2, 4, 4), bool)
    >>> masks[0, 0, 0] = masks[1, 2:, 2:] = True
    >>> round(aupro(masks, masks.astype(float)), 3), round(aupro(masks, np.zeros((2, 4, 4))), 3)
    (1.0, 0.15)
    """
    masks, maps = np.asarray(masks, dtype=bool), np.asarray(maps)
    if masks.all() or not masks.any():
        return np.nan
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = True  # neighbors within an image, never across images
    regions, _ = label_regions(masks, structure=in_plane)
    weights = 1.0 / np.bincount(regions.ravel())[regions]  # each region, and the normal pixels, weigh 1 in all
    fpr, overlap, _ = roc_curve(masks.ravel(), maps.ravel(), sample_weight=weights.ravel())
    inside = fpr < max_fpr
    fpr_up_to_max = np.append(fpr[inside], max_fpr)
    overlap_up_to_max = np.append(overlap[inside], np.interp(max_fpr, fpr, overlap))
    return float(auc(fpr_up_to_max, overlap_up_to_max) / max_fpr)


def _of_both(metric: Callable) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a metric of flat arrays that is NaN where all are of one kind: there is nothing to tell apart."""

    def compute(truth: np.ndarray, scores: np.ndarray) -> float:
        return np.nan if truth.all() or not truth.any() else float(metric(truth.ravel(), scores.ravel()))

    return compute


def _checked(
    truth_name: str, truth: ArrayLike, scores_name: str, scores: ArrayLike, ndim: int
) -> tuple[np.ndarray, np.ndarray]:
    truth, scores = np.asarray(truth), np.asarray(scores)
    if truth.shape != scores.shape or truth.ndim != ndim:
        shape = "(N,)" if ndim == 1 else "(N, H, W)"
        raise ValueError(
            f"{truth_name} and {scores_name} need the same shape {shape}, got {truth.shape} and {scores.shape}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"{truth_name} must be 0 (normal) or 1 (defective), got {np.unique(truth)[:5]}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{scores_name} hold NaN or infinite values")
    return truth.astype(bool), scores


@dataclass(frozen=True)
class Metric:
    """A number of a result that has labels or masks.

    Attributes
    ----------
    title : str
        In tables and reports.
    level : {"image", "pixel"}
        Whether it compares labels with image scores, or masks with maps.
    compute : callable
        compute(truth, scores), both (N,) or (N, H, W), returns a float.
    """

    title: str
    level: Literal["image", "pixel"]
    compute: Callable[[np.ndarray, np.ndarray], float]


# A new metric is a function and a line here; reports, the benchmark and comparisons show it.
METRICS: dict[str, Metric] = {
    "image_auroc": Metric("image AUROC", "image", _of_both(roc_auc_score)),
    "image_f1_max": Metric("image F1-max", "image", _of_both(f1_max)),
    "image_ap": Metric("image AP", "image", _of_both(average_precision_score)),
    "pixel_auroc": Metric("pixel AUROC", "pixel", _of_both(roc_auc_score)),
    "pixel_f1_max": Metric("pixel F1-max", "pixel", _of_both(f1_max)),
    "pixel_ap": Metric("pixel AP", "pixel", _of_both(average_precision_score)),
    "aupro": Metric("AUPRO", "pixel", aupro),
}
IN_TERMINAL = ("image_auroc", "pixel_auroc", "aupro")  # what fits into a line
