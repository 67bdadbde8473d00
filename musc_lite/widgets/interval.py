"""Stage 3 by hand: which of the sorted distances make the score."""

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score

from musc_lite.detector import Detector
from musc_lite.results.plots import plot_histogram
from musc_lite.stages.mutual_scoring import interval_bounds
from musc_lite.widgets.chart import Chart
from musc_lite.widgets.explorer import FeatureExplorer, row

__all__ = ["IntervalExplorer"]


class IntervalExplorer(FeatureExplorer):
    """Drag both ends of the interval; see the scores of patches and images, and the AUROC where labels exist.

    Parameters
    ----------
    detector : Detector
        Fitted.

    Attributes
    ----------
    features : (int, int)
        Index of the layer, and r.
    interval : (float, float)
        Share of the closest images that score a patch; see `interval_average`.
    scores : ndarray (N, M)
        Patch scores with this interval.
    """

    NEEDS = ("interval", "nearest")
    interval = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.3))

    def __init__(self, detector: Detector):
        super().__init__(detector)
        ends = ipywidgets.FloatRangeSlider(min=0, max=1, step=0.01, description="interval", readout_format=".2f")
        ends.layout.width = "420px"
        self._patches = Chart(xlabel="patch score", ylabel="share of each kind (%)", width=400)
        self._images = Chart(xlabel="image score, before re-scoring", ylabel="share of each kind (%)", width=400)
        self.children = (row(self.feature_menu, ends), self._text, row(self._patches, self._images))
        self.interval = self.scorer.interval
        self.bind(interval=ends)
        self.observe(lambda _: self.show(), "features")
        self.show()

    @traitlets.validate("interval")
    def _check_interval(self, proposal):
        try:
            interval_bounds(self.sorted_distances().shape[-1], proposal.value)
        except ValueError as error:
            if proposal.value[0] == proposal.value[1]:  # both ends of the slider in one place: one image
                return proposal.value
            raise traitlets.TraitError(str(error)) from error
        return proposal.value

    def bounds(self, n_others: int) -> tuple[int, int]:
        """Say which of so many sorted distances the interval holds: [first, last)."""
        begin, end = self.interval
        if begin < end:
            return interval_bounds(n_others, self.interval)
        first = min(int(begin * n_others), n_others - 1)
        return first, first + 1

    @property
    def scores(self) -> np.ndarray:
        """Patch scores (N, M) with this interval."""
        distances = self.sorted_distances()
        n_others = distances[:, 0].isfinite().sum(dim=-1).tolist()  # an image among the references has one less
        means = [image[:, slice(*self.bounds(n))].mean(dim=-1) for image, n in zip(distances, n_others, strict=True)]
        return torch.stack(means).numpy()

    def show(self) -> None:
        """Send histograms and metrics of this interval."""
        scores, labels = self.scores, self.images.labels
        n_others = self.sorted_distances().shape[-1]
        first, last = self.bounds(n_others)
        self._patches.data = self.histograms(scores, self.defective_patches)
        self._images.data = self.histograms(scores.max(axis=1), labels, bins=15)
        sentence = f"mean over the other images {first + 1} to {last} of {n_others}, nearest first"
        for name, value in self.metrics(scores).items():
            sentence += f"; {name} {value:.2f}"
        self.say(sentence)
        self._patches.label = self._images.label = sentence

    def metrics(self, scores: np.ndarray) -> dict[str, float]:
        """Measure patch scores (N, M) where labels and masks allow it."""
        labels, defective, found = self.images.labels, self.defective_patches, {}
        if labels is not None and 0 < labels.sum() < len(labels):
            found["image AUROC"] = roc_auc_score(labels, scores.max(axis=1))
        if defective is not None and defective.any():
            found["patch AP"] = average_precision_score(defective.ravel(), scores.ravel())
        return found

    def draw(self) -> Figure:
        """Draw both histograms."""
        figure, scores, labels = Figure(figsize=(8, 2.6), layout="constrained"), self.scores, self.images.labels
        left, right = figure.subplots(1, 2)
        defective = None if self.defective_patches is None else self.defective_patches.ravel()
        plot_histogram(scores.ravel(), defective, xlabel="patch score", ax=left)
        plot_histogram(scores.max(axis=1), labels, xlabel="image score", bins=15, ax=right)
        measured = "".join(f", {name} {value:.2f}" for name, value in self.metrics(scores).items())
        figure.suptitle(f"interval {self.interval[0]:.2f} to {self.interval[1]:.2f}{measured}", fontsize="medium")
        return figure
