"""Scores as scikit-learn's outlier detectors give them: one threshold, in both signs."""

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from musc_lite.data.coerce import Images

__all__ = ["OutlierAnswers"]


class OutlierAnswers(OutlierMixin):
    """What scikit-learn asks of an outlier detector, answered by ``scores_``, `score_images` and ``threshold_``."""

    def fit_predict(self, X: Images, y: object = None) -> np.ndarray:
        """Fit, and tell which images of the batch are outliers, ``labels_``; `predict` would let each find itself."""
        return self.fit(X).labels_

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

    @property
    def labels_(self) -> np.ndarray:
        """Which images of the batch are outliers: -1 outlier, 1 inlier, (N,)."""
        return np.where(self.scores_.is_outlier, -1, 1)

    @property
    def offset_(self) -> float:
        """The threshold in scikit-learn's sign."""
        return -self.threshold_

    @offset_.setter
    def offset_(self, value: float) -> None:
        self.threshold_ = -value
