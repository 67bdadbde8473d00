"""Precision against recall with few corners, for a chart that a browser draws."""

import numpy as np


def precision_recall_stairs(
    normal: np.ndarray, defective: np.ndarray, tolerance: float = 0.005
) -> tuple[np.ndarray, np.ndarray]:
    """Return precision against recall as few stairs, up to some hundreds for millions of pixels.

    Parameters
    ----------
    normal, defective : (n,), (m,)
        Scores of each kind, sorted upward; at least one of the defective.
    tolerance : float
        How far the stairs may lie from the precision of any threshold: by default less than a pixel of a chart.

    Returns
    -------
    recall, precision : ndarray (k,)
        From nothing flagged to everything; each precision holds until the next recall.

    Examples
    --------
    >>> recall, precision = precision_recall_stairs(np.array([0.1, 0.3]), np.array([0.2, 0.4]))
    >>> recall, precision.round(2)  # 0.4 is found first, then 0.3 called falsely, then 0.2 found, then 0.1 called
    (array([0. , 0.5, 0.5, 1. , 1. ]), array([1.  , 0.5 , 0.67, 0.5 , 0.5 ]))
    """
    scores = np.unique(defective)
    # The precision turns where the threshold passes one of these scores: called is what lies above the threshold.
    turns = np.sort([np.inf, *scores, *np.nextafter(scores, -np.inf), -np.inf])[::-1]
    found, false_alarms = (len(values) - np.searchsorted(values, turns, side="right") for values in (defective, normal))
    called = found + false_alarms
    recall, precision = found / len(defective), np.where(called > 0, found / np.maximum(called, 1), 1.0)
    first = _narrow_runs(precision, 2 * tolerance)
    middle = (np.minimum.reduceat(precision, first) + np.maximum.reduceat(precision, first)) / 2
    begins = np.append(0.0, recall[first[1:] - 1])
    return np.append(begins, 1.0), np.append(middle, middle[-1])


def _narrow_runs(values: np.ndarray, width: float) -> np.ndarray:
    """Cut values into the fewest runs that span at most this width; give where each begins."""
    first, low, high = [0], values[0], values[0]
    for k, value in enumerate(values.tolist()):
        low, high = min(low, value), max(high, value)
        if high - low > width:
            first.append(k)
            low = high = value
    return np.array(first)
