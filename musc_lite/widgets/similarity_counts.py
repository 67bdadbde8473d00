"""The key observation of stage 3 under the finger: normal patches find their like in many images, defects in few."""

import math

import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure

from musc_lite.detector import Detector
from musc_lite.results.plots import VIRIDIS, plot_histogram, plot_image, plot_patch_map
from musc_lite.stages.mutual_scoring import similar_patch_counts, similarity_counts
from musc_lite.widgets.chart import Chart
from musc_lite.widgets.explorer import PICTURE, FeatureExplorer, row
from musc_lite.widgets.tiles import Tiles, colored_layer

__all__ = ["SimilarityCounts"]

THRESHOLDS = np.round(np.arange(0.02, 2.001, 0.02), 2).tolist()
N_BARS = 40  # at most
TITLES = {"images": "other images that hold a similar patch", "patches": "similar patches in all other images"}


class SimilarityCounts(FeatureExplorer):
    """Move the threshold and see how many other images, or patches, are similar to each patch.

    Parameters
    ----------
    detector : Detector
        Fitted.

    Attributes
    ----------
    features : (int, int)
        Index of the layer, and r. Distances are computed once for each.
    threshold : float
        Largest distance that counts as similar: 0.02, 0.04, ... 2.
    image : int
        The image that is shown.
    what : {"images", "patches"}
        Which of the two counts.
    counts : ndarray (N, M)
        The count of every patch: `similarity_counts` or `similar_patch_counts`.
    """

    NEEDS = ("nearest",)
    threshold = traitlets.Enum(THRESHOLDS, default_value=1.0)
    image = traitlets.Int()
    what = traitlets.Enum(list(TITLES), default_value="images")

    def __init__(self, detector: Detector):
        super().__init__(detector)
        images = self.image_menu()
        threshold = ipywidgets.SelectionSlider(options=[(f"{t:.2f}", t) for t in THRESHOLDS], description="threshold")
        # Patches are counted everywhere: where the scorer looks at a part of them only, that would be another story.
        parts = ("references", "n_components", "window")
        restricted = any(getattr(self.scorer, part, None) is not None for part in parts)
        counted = [(title, name) for name, title in TITLES.items() if name == "images" or not restricted]
        what = ipywidgets.Dropdown(options=counted, description="count")
        what.layout.width = "400px"
        self._tiles = Tiles(grid=self.grid, size=PICTURE, label="the picture, and the count of each patch over it")
        self._chart = Chart(ylabel="share of each kind (%)")
        self._tiles.on_pick(self._say)
        self.children = (row(images, self.feature_menu, threshold, what), self._text, row(self._tiles, self._chart))
        self.image = int(detector.image_scores_.argmax())
        distances = self.sorted_distances().numpy()
        usual = float(np.quantile(distances[np.isfinite(distances)], 0.75))
        self.threshold = min(THRESHOLDS, key=lambda t: abs(t - usual))
        self.bind(image=images, threshold=threshold, what=what)
        self.observe(lambda _: self.show(), "features")
        self.show()

    @property
    def counts(self) -> np.ndarray:
        """The chosen count of every patch, (N, M)."""
        if self.what == "images":
            return similarity_counts(self.sorted_distances(), self.threshold).numpy()
        tokens = self.tokens(*self.features)
        counts = self.kept.get(("counts", *self.features), lambda: similar_patch_counts(tokens, THRESHOLDS).numpy())
        return counts[..., THRESHOLDS.index(self.threshold)]

    def _largest(self, counts: np.ndarray) -> int:
        """Give the end of the scale: all other images, or as many similar patches as any patch has."""
        return self.sorted_distances().shape[-1] if self.what == "images" else max(int(counts.max()), 1)

    def show(self) -> None:
        """Send the counts at this threshold."""
        counts = self.counts
        largest = self._largest(counts)
        with self._tiles.hold_sync():
            self._tiles.pictures = [self.picture(self.image, PICTURE)]
            layer = colored_layer(counts[self.image], VIRIDIS, 0, largest)
            name = self.detector.names_[self.image]
            self._tiles.tiles = [
                {"picture": 0, "title": name},
                {"picture": 0, "title": f"0 (dark) to {largest:,} (yellow)", "layer": layer},
            ]
        with self._chart.hold_sync():
            self._chart.data = self.histograms(counts, self.defective_patches, count_edges(largest))
            self._chart.xlabel = TITLES[self.what]
            self._chart.label = f"histogram: {TITLES[self.what]} at threshold {self.threshold:.2f}"
        medians = f"median {np.median(counts):,.0f}"
        if self.defective_patches is not None and self.defective_patches.any():
            defective = self.defective_patches
            medians = f"median normal patch {np.median(counts[~defective]):,.0f}, "
            medians += f"defective {np.median(counts[defective]):,.0f}"
        self.say(f"{TITLES[self.what]} at threshold {self.threshold:.2f}: {medians}")

    def _say(self, tile: int, patch: int) -> None:
        self.say(f"patch {patch} of image {self.image}: {self.counts[self.image, patch]:,} {TITLES[self.what]}")

    def draw(self) -> Figure:
        """Draw the picture, its counts and their histogram."""
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes, counts = figure.subplots(1, 3, width_ratios=(1, 1.25, 1.6)), self.counts
        plot_image(self.seen(self.image), mask=self.seen_mask(self.image), ax=axes[0])
        plot_patch_map(counts[self.image], self.grid, low=0, label=self.what, cmap="viridis", ax=axes[1])
        defective = None if self.defective_patches is None else self.defective_patches.ravel()
        edges = count_edges(self._largest(counts))
        plot_histogram(counts.ravel(), defective, xlabel=TITLES[self.what], bins=edges, ax=axes[2])
        axes[0].set_title(f"image {self.image}")
        axes[1].set_title(f"closer than {self.threshold:.2f}")
        return figure


def count_edges(largest: int) -> np.ndarray:
    """Give the edges of at most `N_BARS` bars that hold the counts 0 to largest, each bar as many counts as the next.

    Examples
    --------
    >>> count_edges(5)
    array([-0.5,  0.5,  1.5,  2.5,  3.5,  4.5,  5.5])
    >>> count_edges(99)[[0, 1, -2, -1]]  # three counts a bar; the last holds 99 alone
    array([ -0.5,   2.5,  98.5, 101.5])
    """
    per_bar = math.ceil((largest + 1) / N_BARS)
    n_bars = math.ceil((largest + 1) / per_bar)
    return per_bar * np.arange(n_bars + 1) - 0.5
