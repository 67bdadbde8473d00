"""Stage 3 by hand: which of the sorted distances make the score."""

from typing import Any

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score

from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import plot_histogram
from musc_lite.stages.mutual_scoring import interval_bounds
from musc_lite.widgets.chart import Chart
from musc_lite.widgets.explorer import row
from musc_lite.widgets.feature_explorer import FeatureExplorer


class IntervalExplorer(FeatureExplorer):
    """Drag both ends of the interval, image by image; see the scores of patches and images, and metrics with labels.

    Parameters
    ----------
    detector : Detector
        Fitted.
    **state
        The traits below, to begin elsewhere: `code` writes them.

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
    STATE = ("features", "interval")
    interval = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.3))

    def __init__(self, detector: Detector, **state: Any):
        super().__init__(detector)
        n_others = self.sorted_distances().shape[-1]
        self._ends = ipywidgets.IntRangeSlider(min=1, max=n_others, description="other images, nearest first")
        self._ends.style.description_width, self._ends.layout.width = "200px", "560px"
        self._patches = Chart(title="Patches", xlabel="patch score", ylabel="share of each kind (%)", width=400)
        self._images = Chart(title="Images", xlabel="image score, before re-scoring", width=400)
        self._images.ylabel = self._patches.ylabel
        charts = row(self._patches, self._images)
        self.children = (row(self.feature_menu, self._ends), self._text, self.work, charts)
        self.interval = self.scorer.interval
        self._ends.observe(lambda change: self._choose(*change.new), "value")
        self.observe(lambda _: self.show(), ("features", "interval"))
        self.show()
        self._ready(state)

    def _choose(self, first: int, last: int) -> None:
        """Take the images from the first to the last, counted from 1."""
        n_others = self.sorted_distances().shape[-1]
        if self.bounds(n_others) != (first - 1, last):
            self.interval = share_of(first - 1, n_others), share_of(last, n_others)

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
        """Return which of so many sorted distances the interval holds: [first, last)."""
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
        return torch.stack(means).numpy()[self.place_of]

    def show(self) -> None:
        """Send histograms and metrics of this interval, when the distances are there."""
        self.with_distances(self._show)

    def _show(self) -> None:
        scores, labels = self.scores, self.images.labels
        n_others = self.sorted_distances().shape[-1]
        first, last = self.bounds(n_others)
        self._ends.value = first + 1, last
        distances = self.sorted_distances()
        ends = float(distances.min()), float(distances[distances.isfinite()].max())  # of every interval: axes stay
        self._patches.data = self.histograms(scores, self.defective_patches, np.linspace(*ends, 31))
        self._images.data = self.histograms(scores.max(axis=1), labels, np.linspace(*ends, 31))
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

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return the score of every image, the highest of its patches."""
        scores = self.scores.max(axis=1).round(4).tolist()
        return ["image", "name", "score"], [*zip(range(len(scores)), self.detector.names_, scores, strict=True)]

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


def share_of(k: int, n: int) -> float:
    """Return the share of n images that `interval_bounds` takes for k of them, rounding and all.

    Examples
    --------
    >>> int(50 * (29 / 50)), int(50 * share_of(29, 50))
    (28, 29)
    """
    share = k / n
    return share if int(n * share) == k else float(np.nextafter(share, 1))
