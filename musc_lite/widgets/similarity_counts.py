"""The key observation of stage 3 under the finger: normal patches find their like in many images, defects in few."""

import math
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import COLORS, VIRIDIS, plot_histogram, plot_image, plot_patch_map
from musc_lite.stages.mutual_scoring import similarity_counts
from musc_lite.stages.similarity_counts import similar_patch_counts_in_steps
from musc_lite.widgets.chart import Chart
from musc_lite.widgets.explorer import PICTURE, THUMBNAIL, row
from musc_lite.widgets.feature_explorer import PER_UNIT, Similarity
from musc_lite.widgets.tiles import Tiles, color_bar, colored_layer, values_of

N_BARS = 40  # at most
MOST_IMAGES = 24  # of a bar that are shown
TITLES = {"images": "other images that hold a similar patch", "patches": "similar patches in all other images"}


class SimilarityCounts(Similarity):
    """Move the threshold and see how many other images, or patches, are similar to each patch.

    Pick a patch, and its count is said; pick a bar of the histogram, and the images follow that hold its patches.

    Parameters
    ----------
    detector : Detector
        Fitted.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    features : (int, int)
        Index of the layer, and r. Distances are computed once for each.
    threshold : float
        Largest distance that counts as similar, in hundredths.
    image : int
        The image that is shown.
    patch : int or None
        The patch of it that is picked.
    bar : int or None
        The bar of the histogram whose patches are shown, counted from 0.
    what : {"images", "patches"}
        Which of the two counts. Patches are counted in a thread when they are first asked for.
    counts : ndarray (N, M)
        The count of every patch: `similarity_counts` or `similar_patch_counts`.
    """

    NEEDS = ("nearest",)
    STATE = ("features", "threshold", "what", "image", "patch", "bar")
    PLACE = ("image", "patch")
    image = traitlets.Int()
    patch = traitlets.Int(None, allow_none=True)
    bar = traitlets.Int(None, allow_none=True)
    what = traitlets.Enum(list(TITLES), default_value="images")

    def __init__(self, detector: Detector, **state: Any):
        super().__init__(detector)
        images = self.image_menu()
        threshold = ipywidgets.FloatSlider(min=0, max=2, step=0.01, description="threshold", readout_format=".2f")
        # Patches are counted everywhere: where the scorer looks at a part of them only, that would be another story.
        parts = ("references", "n_components", "search_window")
        restricted = any(getattr(self.scorer, part, None) is not None for part in parts)
        counted = [(title, name) for name, title in TITLES.items() if name == "images" or not restricted]
        what = ipywidgets.Dropdown(options=counted, description="count")
        what.layout.width = "400px"
        self._tiles = Tiles(grid=self.grid, size=PICTURE, grow=1.5)
        self._tiles.label, self._tiles.layout.flex = "the picture, and the count of each patch over it", "1 1 500px"
        self._chart = Chart(title="All patches by their count", ylabel="share of each kind (%)")
        self._of_bar = Tiles(grid=self.grid, size=THUMBNAIL, grow=1.5, arrows="tiles")
        self._tiles.on_pick(lambda _, patch: self.set_trait("patch", patch))
        self._tiles.on_enlarge(self.sharpen)
        self._of_bar.on_pick(self._pick_of_bar)
        self._chart.on_pick(lambda _, bar: self.set_trait("bar", None if bar == self.bar else bar))
        controls = row(images, self.feature_menu, threshold, what)
        self.children = (controls, self._text, self.work, row(self._tiles, self._chart), self._of_bar)
        self.image = int(detector.image_scores_.argmax())
        self.begin_at_default_threshold()
        self.observe(self._leave_patch, "image")
        self.bind(image=images, threshold=threshold, what=what)
        self.observe(lambda _: self.show(), ("features", "patch", "bar"))
        self.show()
        self._ready(state)

    @traitlets.validate("patch")
    def _check_patch(self, proposal):
        n_patches = self.grid[0] * self.grid[1]
        if proposal.value is not None and not 0 <= proposal.value < n_patches:
            raise traitlets.TraitError(f"there is no patch {proposal.value}: an image has {n_patches}, from 0")
        return proposal.value

    def _leave_patch(self, _) -> None:
        with self.without_history():
            self.patch = None

    @property
    def place(self) -> tuple[int, int | None]:
        """The image, and the patch that is picked."""
        return self.image, self.patch

    def select_patch(self, image: int, patch: int | None) -> None:
        """Show an image, and pick a patch."""
        self.image = image  # which picks none
        self.patch = patch

    @property
    def counts(self) -> np.ndarray:
        """The chosen count of every patch, (N, M)."""
        if self.what == "images":
            return similarity_counts(self.sorted_distances(), self.threshold).numpy()[self.place_of]
        counts = self.kept.get(("counts", *self.features), self._count_patches)
        return counts[..., round(self.threshold * PER_UNIT)].numpy()[self.place_of]

    def _count_patches(self, progress: Callable[[int], object] = lambda _: None) -> Tensor:
        return similar_patch_counts_in_steps(self.tokens(*self.features), PER_UNIT, progress=progress)

    def _largest(self, counts: np.ndarray) -> int:
        """Return the end of the scale: all other images, or as many similar patches as any patch has."""
        return self.sorted_distances().shape[-1] if self.what == "images" else max(int(counts.max()), 1)

    def show(self) -> None:
        """Send the counts at this threshold, when they are there."""
        self.with_distances(self._show_counted)

    def _show_counted(self) -> None:
        if self.what == "images":
            self._show()
        else:
            n_pairs = len(self.unique) * (len(self.unique) - 1) // 2
            self.when_made(("counts", *self.features), self._count_patches, self._show, n_pairs)

    def _show(self) -> None:
        counts = self.counts
        largest, name = self._largest(counts), self.detector.names_[self.image]
        edges, layer = count_edges(largest), colored_layer(counts[self.image], VIRIDIS, 0, largest)
        marks = [] if self.patch is None else [[self.patch, COLORS["defective"]]]
        read = {"of": self.image, "values": values_of(counts[self.image]), "unit": TITLES[self.what]}
        scale = {"bar": color_bar(VIRIDIS, 0, largest, f"similar {self.what}", digits=0)}
        with self._tiles.hold_sync():
            self._tiles.pictures = [self.large(self.image)]
            self._tiles.tiles = [
                {"picture": 0, "title": f"image {self.image}:", "name": name, "marks": marks, **read},
                {"picture": 0, "title": TITLES[self.what], "layer": layer, "marks": marks, **read, **scale},
            ]
        with self._chart.hold_sync():
            self._chart.data = self.histograms(counts, self.defective_patches, edges)
            self._chart.xlabel = TITLES[self.what]
            self._chart.label = f"histogram: {TITLES[self.what]} at threshold {self.threshold:.2f}"
            self._chart.shaded = [] if self.bar is None else edges[self.bar : self.bar + 2].tolist()
        self._show_bar(counts, edges)
        self.say(self._sentence(counts))

    def _sentence(self, counts: np.ndarray) -> str:
        """Return the count of the patch that is picked, or the usual ones."""
        if self.patch is not None:
            return f"patch {self.patch} of image {self.image}: {counts[self.image, self.patch]:,} {TITLES[self.what]}"
        medians = f"median {np.median(counts):,.0f}"
        if self.defective_patches is not None and self.defective_patches.any():
            defective = self.defective_patches
            medians = f"median normal patch {np.median(counts[~defective]):,.0f}, "
            medians += f"defective {np.median(counts[defective]):,.0f}"
        return f"{TITLES[self.what]} at threshold {self.threshold:.2f}: {medians}"

    def _show_bar(self, counts: np.ndarray, edges: np.ndarray) -> None:
        """Send the images that hold most patches of the bar, with these marked."""
        if self.bar is None or self.bar + 1 >= len(edges):
            self._of_bar.tiles, self._of_bar.pictures, self._in_bar = [], [], []
            return
        low, high = edges[self.bar : self.bar + 2]
        held = (counts > low) & (counts < high)  # (N, M)
        per_image = held.sum(axis=1)
        images = [i for i in np.argsort(-per_image, kind="stable")[:MOST_IMAGES].tolist() if per_image[i]]
        cover = np.array([0xD5, 0x5E, 0x00, 0x90], dtype=np.uint8)
        between = f"{math.ceil(low)}" if high - low == 1 else f"{math.ceil(low)} to {math.floor(high)}"
        self._in_bar = images
        self._of_bar.pictures = [self.picture(i, THUMBNAIL) for i in images]
        self._of_bar.label = f"images with patches that have {between} {TITLES[self.what]}"
        self._of_bar.tiles = [
            {
                "picture": place,
                "number": f"{per_image[i]}",
                "title": "patches in",
                "name": f"image {i}",
                "layer": (held[i, :, None] * cover).tobytes(),
            }
            for place, i in enumerate(images)
        ]

    def _pick_of_bar(self, tile: int, patch: int) -> None:
        self.select_patch(self._in_bar[tile], patch)

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return the count of every patch."""
        return ["image", "patch", TITLES[self.what]], [(*at, int(n)) for at, n in np.ndenumerate(self.counts)]

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
    """Return the edges of at most `N_BARS` bars that hold the counts 0 to largest, each bar as many counts as the next.

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
