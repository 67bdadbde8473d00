"""Set the thresholds of images and pixels by hand."""

import math
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from musc_lite.detector.detector import Detector
from musc_lite.detector.explain import find_evidence
from musc_lite.reports.evidence_pictures import draw_evidence
from musc_lite.reports.plots import COLORS, KINDS, LINE_COLORS, map_color_limits, overlay, plot_image, plot_ranking
from musc_lite.results.pr_curve import precision_recall_stairs
from musc_lite.results.scores import Scores
from musc_lite.widgets.chart import Chart, series
from musc_lite.widgets.explorer import THUMBNAIL, Explorer, row
from musc_lite.widgets.status_bar import StatusBar
from musc_lite.widgets.tiles import Tiles, jpeg, painted

CLOSE = 448  # pixels


class ThresholdExplorer(Explorer):
    """Move the image and the pixel threshold; see the gallery, the confusion tables and precision against recall.

    The line in the histogram of the image scores is the image threshold: drag it.

    Parameters
    ----------
    detector : Detector or Scores
        Fitted; or scores of any method, such as `Scores.from_maps` or `score_images` gives, which must know their
        images.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    threshold : float
        Images that score above it are flagged; at first the detector's own.
    pixel_threshold : float
        Pixels above it are flagged; at first the 99th percentile of the maps.
    image : int or None
        The image that is shown closely: a click in the gallery chooses it. Of a detector around its strangest patch, of
        scores alone with its map.
    """

    ACCEPTS_SCORES = True
    STATE, PLACE = ("threshold", "pixel_threshold", "image"), ("image",)

    threshold = traitlets.Float()
    pixel_threshold = traitlets.Float()
    image = traitlets.Int(None, allow_none=True)

    def __init__(self, detector: Detector | Scores, **state: Any):
        super().__init__(detector)
        scores, maps, labels = self.shown.image_scores, self.shown.anomaly_maps, self.images.labels
        masks = self.shown.masks()
        self._sorted_pixels = None if masks is None else _by_kind(maps, masks)
        sliders = []
        begin = {"image": _within_reach(self.shown), "pixel": float(np.quantile(maps, 0.99))}
        for name, values in (("image", scores), ("pixel", maps)):
            low, high = min(float(values.min()), begin[name]), max(float(values.max()), begin[name])
            step = (high - low) / 200 or 0.01  # counted from where it begins, which a browser would round to a step
            ends = begin[name] - _steps(begin[name] - low, step), begin[name] + _steps(high - begin[name], step)
            slider = ipywidgets.FloatSlider(min=ends[0], max=ends[1], step=step, readout_format=".3f")
            slider.description, slider.layout.width = f"{name} threshold", "420px"
            slider.style.description_width = "110px"
            sliders.append(slider)
        self._tiles = Tiles(grid=self.grid, size=THUMBNAIL, pictures=self.thumbnails(), label="images by score")
        self._tiles.arrows, self._tiles.grow = "tiles", 1.5
        self._bars = Chart(title="Images by score", xlabel="image score", ylabel="share of each kind (%)")
        self._bars.data, self._bars.rule_name = self.histograms(scores, labels, bins=20), "image threshold"
        self._bars.on_move(lambda value: self.set_trait("threshold", value))
        self._chart = Chart(title="Precision against recall", xlabel="recall", ylabel="precision")
        self._tables = ipywidgets.HTML()
        self._curves = []
        if labels is not None and 0 < labels.sum() < len(labels):
            self._curves.append(_curve("images", _by_kind(scores, labels), LINE_COLORS[0]))
        if masks is not None and self._sorted_pixels is not None and masks.any():
            self._curves.append(_curve("pixels", self._sorted_pixels, LINE_COLORS[3]))
        beside = [self._bars, self._tables, *([self._chart] if self._curves else [])]
        self._tiles.on_pick(lambda tile, _: self.set_trait("image", int(self.shown.ranking[tile])))
        self._words = StatusBar()
        self._closely = ipywidgets.VBox(layout={"display": "none"})
        gallery = ipywidgets.Box([self._tiles], layout={"max_height": "420px", "overflow": "auto"})
        self.children = (row(*sliders), self._text, row(*beside), gallery, self._closely)
        self.threshold, self.pixel_threshold = begin["image"], begin["pixel"]
        self.observe(lambda _: self._look_closely(), "image")
        self.bind(threshold=sliders[0], pixel_threshold=sliders[1])
        self.show()
        self._ready(state)

    @property
    def place(self) -> tuple[int, None]:
        """The image that is shown closely; where there is none, the one that stands out most."""
        return int(self.shown.ranking[0]) if self.image is None else self.image, None

    def select_patch(self, image: int, patch: int | None) -> None:
        """Show another image closely, where one is shown."""
        if self.image is not None:
            self.image = image

    def _look_closely(self) -> None:
        """Show the chosen image around its strangest patch, beside what it was compared with."""
        if self.image is None:
            self._closely.layout.display = "none"
            return
        text, pictures = self._evidence(self.image) if hasattr(self, "detector") else self._map_of(self.image)
        shown = [ipywidgets.Image(value=jpeg(p, p.size, quality=85), format="jpeg") for p in pictures]
        self._closely.children, self._words.value = (self._words, row(*shown)), text
        self._closely.layout.display = None

    def _evidence(self, i: int) -> tuple[str, list[Image.Image]]:
        """Return and show what makes an image anomalous."""
        (evidence,) = find_evidence(self.detector, [i], self.tokens)
        text = f"{self.shown.names[i]}: the patch that is least like the other images"
        if evidence.compared is not None:
            near = self.shown.names[evidence.compared]
            text += f", and its closest likeness in an image that is not flagged: {near}, {evidence.distance:.2f} away"
        return text, draw_evidence(evidence, self.images, self.detector.features_.resolved_view)

    def _map_of(self, i: int) -> tuple[str, list[Image.Image]]:
        """Name an image, and show it beside its map."""
        image = self.seen(i)
        image.thumbnail((CLOSE, CLOSE))
        low, high = map_color_limits((self.shown.batch or self.shown).anomaly_maps)
        over = Image.fromarray(overlay(image, self.shown.anomaly_maps[i], low, high))
        return f"{self.shown.names[i]}: the image, and its anomaly map over it", [image, over]

    @property
    def called(self) -> np.ndarray:
        """Which images are flagged as defective, (N,) bool."""
        return self.shown.image_scores > self.threshold

    @property
    def confusion(self) -> dict[str, np.ndarray]:
        """Confusion tables [[TN, FP], [FN, TP]] of "images" and "pixels", as far as labels and masks exist."""
        tables = {}
        if self.images.labels is not None:
            tables["images"] = confusion_matrix(self.images.labels, self.called, labels=[0, 1])
        if self._sorted_pixels is not None:
            below = [np.searchsorted(values, self.pixel_threshold, side="right") for values in self._sorted_pixels]
            tables["pixels"] = np.array([[b, len(v) - b] for b, v in zip(below, self._sorted_pixels, strict=True)])
        return tables

    def show(self) -> None:
        """Send the gallery, the tables and the points on the curves."""
        scores, over = self.shown.image_scores, self.shown.anomaly_maps > self.pixel_threshold
        called, tables = self.called, self.confusion
        self._bars.rules = [self.threshold]
        self._tiles.tiles = [
            {
                "picture": i,
                "title": f"{scores[i]:.2f}",
                "name": self.shown.names[i],
                "over": painted(over[i], COLORS["defective"]),
                "frame": COLORS["defective"] if called[i] else "",
            }
            for i in np.argsort(-scores, kind="stable").tolist()
        ]
        points = [(name, *_precision_and_recall(table)) for name, table in tables.items() if table[1].sum()]
        with self._chart.hold_sync():
            dots = [series("", [r], [p], COLORS["defective"], kind="points") for _, p, r in points]
            self._chart.data = [*self._curves, *dots]
            self._chart.label = "; ".join(f"{name}: precision {p:.2f}, recall {r:.2f}" for name, p, r in points)
        self._tables.value = "".join(_html(name, table) for name, table in tables.items())
        sentence = f"{called.sum()} of {len(called)} images are flagged as defective"
        sentence += "".join(f"; {name}: precision {p:.2f}, recall {r:.2f}" for name, p, r in points)
        self.say(sentence)

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return every image's score, and whether it is flagged."""
        columns = self.shown.names, self.shown.image_scores.round(4).tolist(), self.called.tolist()
        rows = [(i, *of_image) for i, of_image in enumerate(zip(*columns, strict=True))]
        return ["image", "name", "score", "flagged"], rows

    def draw(self) -> Figure:
        """Draw the ranking with its threshold, and the most anomalous images with the pixels flagged as defective."""
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.2, 1)).flat
        plot_ranking(self.shown.image_scores, self.threshold, self.images.labels, ax=above.subplots())
        ranking = np.argsort(-self.shown.image_scores, kind="stable")[:6].tolist()
        height, width = self.shown.anomaly_maps.shape[1:]
        for ax, i in zip(below.subplots(1, 6), ranking, strict=False):
            pixels = np.asarray(self.seen(i).resize((width, height)))
            over = (self.shown.anomaly_maps[i] > self.pixel_threshold)[..., None]
            plot_image(np.where(over, (0xD5, 0x5E, 0x00), pixels), mask=self.seen_mask(i), ax=ax)
            ax.set_title(f"{self.shown.image_scores[i]:.2f}")
        for ax in below.axes:
            ax.set_axis_off()
        return figure


def _within_reach(scores: Scores) -> float:
    """Return the threshold; just above all scores where there is none."""
    return float(scores.threshold if np.isfinite(scores.threshold) else scores.image_scores.max())


def _steps(length: float, step: float) -> float:
    """Round a length up to whole steps, and one more."""
    return step * (math.ceil(length / step) + 1)


def _by_kind(values: np.ndarray, defective: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort the values of what is normal, and those of what is defective."""
    return np.sort(values[defective == 0]), np.sort(values[defective == 1])


def _curve(name: str, by_kind: tuple[np.ndarray, np.ndarray], color: str) -> dict:
    return series(name, *precision_recall_stairs(*by_kind), color, kind="stairs")


def _precision_and_recall(table: np.ndarray) -> tuple[float, float]:
    """Precision is 1 where nothing is flagged, as in scikit-learn's curve."""
    (_, false_alarms), (missed, found) = table
    called = found + false_alarms
    return (found / called if called else 1.0), found / (found + missed)


def _html(name: str, table: np.ndarray) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{kind}</th>'
        + "".join(f'<td style="text-align:right; padding:2px 8px">{value:,}</td>' for value in values)
        + "</tr>"
        for kind, values in zip(KINDS, table.tolist(), strict=True)
    )
    head = "".join(f'<th style="padding:2px 8px">{word}</th>' for word in ("not flagged", "flagged"))
    head = f'<tr><th scope="col">label</th>{head}</tr>'
    return f'<table style="margin:4px 16px 4px 0"><caption><b>{name}</b></caption>{head}{rows}</table>'
