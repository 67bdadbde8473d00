"""Stage 2 by hand: what block and neighborhood size do to the features and to the scores."""

from typing import Any

import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import HEAT, map_color_limits, pca_colors, plot_image, plot_patch_map
from musc_lite.widgets.chart import Chart
from musc_lite.widgets.explorer import PICTURE, Explorer, row
from musc_lite.widgets.tiles import Tiles, color_bar, colored_layer, values_of


class NeighborhoodExplorer(Explorer):
    """Choose a block and r; see the features as colors beside the scores they give.

    Parameters
    ----------
    detector : Detector
        Fitted.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    image : int
        The image that is shown.
    layer : int
        Index of the layer among those the detector read.
    r : {1, 3, 5, 7}
        Neighborhood size; sizes that the detector did not use are scored when they are first chosen.
    scores : ndarray (N, M)
        Patch scores of this layer and r.
    """

    STATE, PLACE = ("image", "layer", "r"), ("image",)
    image = traitlets.Int()
    layer = traitlets.Int()
    r = traitlets.Enum([1, 3, 5, 7], default_value=3)

    def __init__(self, detector: Detector, **state: Any):
        super().__init__(detector)
        images, layers = self.image_menu(), detector.features_.layers
        layer = ipywidgets.SelectionSlider(options=[(str(b), s) for s, b in enumerate(layers)], description="block")
        r = ipywidgets.SelectionSlider(options=[1, 3, 5, 7], description="r")
        self._tiles = Tiles(grid=self.grid, size=PICTURE, grow=1.6, label="picture, features as colors, scores")
        self._tiles.on_enlarge(self.sharpen)
        self._chart = Chart(title="All patches by their score", xlabel="patch score", ylabel="share of each kind (%)")
        self.children = (row(images, layer, r), self._text, self._tiles, self._chart)
        self.image, self.layer = int(detector.image_scores_.argmax()), len(layers) // 2
        self.bind(image=images, layer=layer, r=r)
        self.show()
        self._ready(state)

    @traitlets.validate("layer")
    def _check_layer(self, proposal):
        n_layers = len(self.detector.features_.layers)
        if not 0 <= proposal.value < n_layers:
            raise traitlets.TraitError(f"there is no layer {proposal.value}: the detector read {n_layers}, from 0")
        return proposal.value

    def _make(self) -> tuple[np.ndarray, np.ndarray]:
        """Return colors (N, M, 3) and scores (N, M) of this layer and r."""
        s, r, detector = self.layer, self.r, self.detector

        def make() -> tuple[np.ndarray, np.ndarray]:
            tokens = self.tokens(s, r)
            if r in detector.r_:
                scores = detector.patch_scores_[detector.r_.index(r), s]
            else:
                scores = detector.get_scorer(s, r).fit_score(tokens, self.context).numpy()[self.place_of]
            return pca_colors(tokens)[self.place_of], scores

        return self.kept.get(("colors and scores", s, r), make)

    @property
    def scores(self) -> np.ndarray:
        """Patch scores of this layer and r, (N, M)."""
        return self._make()[1]

    def show(self) -> None:
        """Send features and scores of the chosen image."""
        (colors, scores), i = self._make(), self.image
        low, high = map_color_limits(scores.reshape(-1, *self.grid))
        opaque = np.full((*colors.shape[1:2], 1), 1.0)
        rgba = np.rint(255 * np.concatenate([colors[i], opaque], axis=1)).astype(np.uint8)
        with self._tiles.hold_sync():
            self._tiles.pictures = [self.large(i)]
            self._tiles.tiles = [
                {"picture": 0, "of": i, "title": self.detector.names_[i]},
                {"picture": 0, "of": i, "title": "features as colors", "layer": rgba.tobytes()},
                {
                    "picture": 0,
                    "of": i,
                    "title": "score",
                    "layer": colored_layer(scores[i], HEAT, low, high, opacity=0.85),
                    "values": values_of(scores[i]),
                    "unit": "score",
                    "bar": color_bar(HEAT, low, high, "score, of all images"),
                },
            ]
        self._chart.data = self.histograms(scores, self.defective_patches)
        block = self.detector.features_.layers[self.layer]
        sentence = f"block {block}, r = {self.r}: highest patch score {scores[i].max():.2f} in image {i}"
        if self.defective_patches is not None and self.defective_patches.any():
            sentence += f"; patch AP {average_precision_score(self.defective_patches.ravel(), scores.ravel()):.2f}"
        self.say(sentence)
        self._chart.label = sentence

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return the score of every patch."""
        return ["image", "patch", "score"], [(*at, round(float(x), 4)) for at, x in np.ndenumerate(self.scores)]

    def draw(self) -> Figure:
        """Draw the picture, its features and its scores."""
        (colors, scores), i = self._make(), self.image
        figure = Figure(figsize=(8, 2.7), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
        plot_image(self.seen(i), mask=self.seen_mask(i), ax=axes[0])
        plot_patch_map(colors[i], self.grid, ax=axes[1])
        plot_patch_map(scores[i], self.grid, label="score", ax=axes[2])
        axes[0].set_title(f"image {i}")
        axes[1].set_title(f"block {self.detector.features_.layers[self.layer]}, r = {self.r}")
        axes[2].set_title(f"at most {scores[i].max():.2f}")
        return figure
