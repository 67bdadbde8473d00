"""Stage 4 by hand: window sizes, an image's neighbors, scores before and after."""

from typing import Any

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import COLORS, KINDS, plot_image, plot_slopes
from musc_lite.results.scores import Scores
from musc_lite.stages.rescoring import RsCIN, image_similarity, rescore
from musc_lite.widgets.chart import Chart, series
from musc_lite.widgets.explorer import THUMBNAIL, Explorer, row
from musc_lite.widgets.tiles import Tiles

N_NEIGHBORS = 12  # shown
WINDOWS = (1, 2, 3)  # the paper's
SIZES = (1, 2, 3, 4, 5, 6, 8, 9, 10, 15, 20, 30)


class RescoringExplorer(Explorer):
    """Choose windows; see an image's neighbors, and every image's score before and after re-scoring.

    Parameters
    ----------
    detector : Detector or Scores
        Fitted; or scores of any method, which must know their images.
    class_tokens : (N, D), optional
        One vector for each image of given scores, such as `Features.class_tokens`; a detector has its own.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    windows : tuple of int
        Sizes of the neighborhoods, the image itself counted; () turns re-scoring off.
    image : int
        The image whose neighbors are shown.
    rescored : ndarray (N,)
        Image scores with these windows: `rescore`.
    """

    ACCEPTS_SCORES = True
    STATE, PLACE = ("windows", "image"), ("image",)
    windows = traitlets.Tuple()
    image = traitlets.Int()

    @classmethod
    def supports(cls, detector: Detector) -> bool:
        """Whether the detector re-scores by windows."""
        return isinstance(detector.components_.rescoring, RsCIN)

    def __init__(self, detector: Detector | Scores, class_tokens: ArrayLike | None = None, **state: Any):
        super().__init__(detector)
        windows_at_first: tuple[int, ...] = WINDOWS
        if isinstance(detector, Detector):
            class_tokens, windows_at_first = (
                self.detector.features_.class_tokens,
                tuple(detector.components_.rescoring.rescoring_sizes),
            )
        if class_tokens is None or len(np.asarray(class_tokens)) != len(self.images):
            raise ValueError(
                f"scores alone do not say which images look alike: give class_tokens=, one vector for each of the "
                f"{len(self.images)} images, such as features.class_tokens"
            )
        self._class_tokens = torch.as_tensor(np.asarray(class_tokens))
        self._similarity = image_similarity(self._class_tokens).numpy()
        scores = self.shown.map_scores
        self._scaled = (scores - scores.min()) / max(np.ptp(scores), 1e-12)
        images = self.image_menu()
        sizes = sorted({k for k in SIZES if k <= len(self.unique)} | set(windows_at_first))
        windows = ipywidgets.SelectMultiple(options=sizes, rows=6, description="windows", layout={"width": "180px"})
        self._tiles = Tiles(
            grid=self.grid,
            size=THUMBNAIL,
            pictures=self.thumbnails(),
            label="most similar images first",
            arrows="tiles",
            grow=1.5,
        )
        self._tiles.on_pick(lambda tile, _: self.set_trait("image", self._tiles.tiles[tile]["picture"]))
        self._chart = Chart(title="Image scores before and after", xlabel="re-scoring", ylabel="image score")
        self._chart.height, self._chart.xticks = 280, [(0.0, "before"), (1.0, "after")]
        self.children = (row(images, windows), self._text, self._chart, self._tiles)
        self.windows, self.image = windows_at_first, int(scores.argmax())
        self._chart.on_pick(lambda entry, _: self.set_trait("image", entry))
        self.bind(windows=windows, image=images)
        self.show()
        self._ready(state)

    @traitlets.validate("windows")
    def _check_windows(self, proposal):
        if not all(isinstance(k, int) and k >= 1 for k in proposal.value):
            raise traitlets.TraitError(f"windows are numbers of images, at least 1 each, got {proposal.value}")
        return proposal.value

    @property
    def rescored(self) -> np.ndarray:
        """Image scores (N,) with these windows."""
        scaled, tokens = torch.from_numpy(self._scaled[self.unique]), self._class_tokens[self.unique]
        return rescore(scaled, tokens, self.windows).numpy()[self.place_of]

    def neighbors(self, n: int) -> list[int]:
        """Return the image that is shown and the n - 1 others that are most similar to it, without copies."""
        others = self.unique[self.unique != self.unique[self.place_of[self.image]]]
        ranked = others[np.argsort(-self._similarity[self.image, others], kind="stable")]
        return [self.image, *ranked[: n - 1].tolist()]

    def show(self) -> None:
        """Send neighbors and scores."""
        before, after, i, labels = self._scaled, self.rescored, self.image, self.images.labels
        similarity = self._similarity[i]
        nearest = self.neighbors(N_NEIGHBORS + 1)
        largest = max(self.windows, default=1)
        self._tiles.tiles = [
            {
                "picture": j,
                "title": f"{similarity[j]:.2f}",
                "name": f"image {j}",
                "frame": COLORS["threshold"] if place < largest else "",
            }
            for place, j in enumerate(nearest)
        ]
        kinds = ["unlabeled"] * len(before) if labels is None else [KINDS[label] for label in labels]
        lines = [
            series("", [0, 1], [before[j], after[j]], COLORS[kind], strong=j == i, labels=self._names(j))
            for j, kind in enumerate(kinds)
        ]
        for kind in dict.fromkeys(kinds):
            lines[kinds.index(kind)]["name"] = kind
        sentence = f"image {i}: {before[i]:.2f} before, {after[i]:.2f} after, "
        sentence += f"rank {1 + (before > before[i]).sum()} before, {1 + (after > after[i]).sum()} after"
        if labels is not None and 0 < labels.sum() < len(labels):
            sentence += (
                f"; image AUROC {roc_auc_score(labels, before):.3f} before, {roc_auc_score(labels, after):.3f} after"
            )
        with self._chart.hold_sync():
            self._chart.data, self._chart.label = lines, sentence
        self.say(sentence)

    def _names(self, j: int) -> list[str]:
        return [f"image {j} before", f"image {j} after"]

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return every image's score before and after."""
        scores = zip(self._scaled.round(4).tolist(), self.rescored.round(4).tolist(), strict=True)
        rows = [(j, self.shown.names[j], *both) for j, both in enumerate(scores)]
        return ["image", "name", "before", "after"], rows

    def draw(self) -> Figure:
        """Draw the image, its neighbors and the slopes."""
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False).flat
        for ax, j in zip(left.subplots(2, 2).flat, self.neighbors(4), strict=False):
            plot_image(self.seen(j), mask=self.seen_mask(j), ax=ax)
            ax.set_title(f"image {j}: {self._similarity[self.image, j]:.2f}")
        plot_slopes(self._scaled, self.rescored, self.images.labels, ax=right.subplots())
        return figure
