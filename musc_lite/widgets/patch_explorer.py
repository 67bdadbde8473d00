"""Stage 3 by hand: pick a patch and see its nearest patches, the images that hold a similar one, and its score."""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import COLORS, KINDS, VIRIDIS, plot_distances, plot_image
from musc_lite.stages.mutual_scoring import interval_average, interval_bounds
from musc_lite.stages.similarity_counts import default_threshold
from musc_lite.widgets.chart import Chart, series
from musc_lite.widgets.explorer import PICTURE, THUMBNAIL, row
from musc_lite.widgets.feature_explorer import Similarity
from musc_lite.widgets.tiles import Tiles, color_bar, colored_layer, values_of

MOST_IN_REGION = 64  # patches: each asks for itself
OF_MEAN = 5  # images whose highest patch is asked for, where no scores exist: for the mean of all features


class PatchExplorer(Similarity):
    """Pick a patch and see who resembles it in the other images.

    The mouse over the large picture colors all others by how near their patches are, bright is near. Click on a patch,
    or move by the arrow keys, and the other images follow, nearest first: each bears the number of its similar patches,
    and a ring around the nearest one; those of the interval are framed. A click on a small picture chooses the second
    large one; a click in that one asks from there. Drag a rectangle, and all its patches ask together. The keys + and -
    (0: the whole) look at a large picture closer, as do Ctrl and the wheel.

    Parameters
    ----------
    detector : Detector
        Fitted.
    selected : (int, int), optional
        Image and patch to begin with; by default the most anomalous patch of `image`.
    image : int, optional
        The image to begin with; by default the most anomalous one.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    selected : (int, int)
        Image and patch that ask; can be set.
    region : () or (int, int, int, int)
        First and last row, first and last column of a rectangle of patches in the selected image that ask together;
        () where the selected one asks alone.
    features : (int, int) or None
        Index of the layer, and r; by default the middle layer. None takes the mean of the distances over all blocks and
        r of the detector. (Its interval mean is near the detector's score, not equal: that is the mean of interval
        averages.)
    threshold : float
        Largest distance that counts as similar, in hundredths.
    compared : int
        The image whose patches are colored; by default the one with the nearest patch.
    answer : PatchAnswer
        What is shown, as numbers.

    Examples
    --------
    ``PatchExplorer(detector)`` as the last line of a cell shows it; ``explorer.selected = (10, 89)`` moves it.
    """

    MEAN, NEEDS = True, ("explain", "interval")
    STATE = ("selected", "region", "features", "threshold", "compared")
    PLACE = ("selected",)
    selected = traitlets.Tuple(traitlets.Int(), traitlets.Int())
    region = traitlets.Tuple()
    compared = traitlets.Int()
    answer: "PatchAnswer"
    _pointed: int | None

    def __init__(
        self, detector: Detector, selected: tuple[int, int] | None = None, image: int | None = None, **state: Any
    ):
        super().__init__(detector)
        self._scores = self.detector.patch_scores_.mean(axis=(0, 1))  # (N, M)
        self._images = self.image_menu()
        self._slider = ipywidgets.FloatSlider(min=0, max=2, step=0.01, description="threshold", readout_format=".2f")
        self._gallery = Tiles(grid=self.grid, size=THUMBNAIL, arrows="tiles", grow=1.5)
        self._gallery.pictures, self._gallery.label = self.thumbnails(), "other images, nearest first"
        self._large = Tiles(grid=self.grid, size=PICTURE, grow=1.5, label="the patch that asks, and a second image")
        self._large.layout.flex = "1 1 500px"
        self._chart = Chart(title="The nearest patch of each image", ylabel="distance")
        self._chart.xlabel = "other images, nearest first"

        traitlets.link((self, "threshold"), (self._slider, "value"))
        self._images.observe(lambda change: self.select_patch(change.new, self.selected[1]), "value")
        self._large.on_pick(self._pick_large)
        self._large.on_point(lambda _, patch: self._point(patch))
        self._large.on_region(lambda _, region: self.set_trait("region", region))
        self._large.on_enlarge(self.sharpen)
        self._gallery.on_pick(self._pick_other)
        self._chart.on_pick(self._pick_dot)
        self.children = (
            row(self._images, self.feature_menu, self._slider),
            self._text,
            row(self._large, self._chart),
            ipywidgets.Box([self._gallery], layout={"max_height": "460px", "overflow": "auto"}),
        )
        self._gallery.layout.flex = "1 1 auto"
        self.begin_at_default_threshold()
        if selected is None:
            i = int(detector.image_scores_.argmax()) if image is None else self.check_image(image)
            selected = (i, int(self._scores[i].argmax()))
        self.selected = selected
        self.observe(self._leave_region, "selected")
        self.observe(lambda _: self._ask(), ("selected", "features", "region"))
        self.observe(lambda _: self._count(), "threshold")
        self.observe(lambda _: self.show(), "compared")
        self._ask()
        self._ready(state)

    @traitlets.validate("selected")
    def _check_selected(self, proposal):
        (i, m), n_images, n_patches = proposal.value, len(self.images), self.grid[0] * self.grid[1]
        if not (0 <= i < n_images and 0 <= m < n_patches):
            raise traitlets.TraitError(
                f"there is no patch (image {i}, patch {m}): the batch has {n_images} images of {n_patches} patches, "
                "both counted from 0"
            )
        return proposal.value

    @traitlets.validate("region")
    def _check_region(self, proposal):
        region, (h, w) = proposal.value, self.grid
        if region == ():
            return region
        top, bottom, left, right = region if len(region) == 4 else (0, -1, 0, -1)
        if not (0 <= top <= bottom < h and 0 <= left <= right < w):
            raise traitlets.TraitError(
                "a region is its first and last row, first and last column on the grid of "
                f"{h} x {w} patches, counted from 0; got {region}"
            )
        if (n := (bottom - top + 1) * (right - left + 1)) > MOST_IN_REGION:
            raise traitlets.TraitError(f"at most {MOST_IN_REGION} patches ask together, got {n}")
        return region

    @property
    def patches(self) -> list[int]:
        """The patches of the selected image that ask."""
        if self.region == ():
            return [self.selected[1]]
        top, bottom, left, right = self.region
        return [r * self.grid[1] + c for r in range(top, bottom + 1) for c in range(left, right + 1)]

    @property
    def code(self) -> str:
        """The line that shows the same again, with the patch even where it is the one to begin with."""
        is_nearest = self.compared == self.answer.others[0]
        return self._history.line(always=("selected",), never=("compared",) if is_nearest else ())

    @property
    def place(self) -> tuple[int, int]:
        """The selected image and patch."""
        return self.selected

    def select_patch(self, image: int, patch: int | None) -> None:
        """Ask from a patch; where none is given, from the most anomalous one of another image."""
        if patch is None:
            patch = self.selected[1] if image == self.selected[0] else int(self._scores[image].argmax())
        self.selected = (image, patch)

    @property
    def sentence(self) -> str:
        """The answer in words."""
        answer, n_others = self.answer, len(self.answer.others)
        n_patches = self.detector.patch_scores_[0, 0].size
        share = self.scorer.interval
        between = f"closest {share[1]:.0%}" if share[0] == 0 else f"images from {share[0]:.0%} to {share[1]:.0%}"
        who = f"region of {len(self.patches)} patches: " if self.region else ""
        return (
            f"{who}similar patches in {(answer.similar_patches > 0).sum()} of {n_others} other images at threshold "
            f"{self.threshold:.2f}, {answer.similar_patches.sum():,} patches in all; mean of the {between}: "
            f"{answer.interval_mean:.2f}; rank {answer.rank:,} of {n_patches:,}"
        )

    def _distances(self, i: int, m: int) -> tuple[Tensor, Tensor]:
        """Return the distances (N, M) of a patch to all others, the mean over the chosen features, and who counts."""
        chosen, place = self.all_features if self.features is None else [self.features], int(self.place_of[i])
        scorers = [self.detector.get_scorer(s, r) for s, r in chosen]
        explained = [x.explain(self.tokens(*at), place, m, self.context) for x, at in zip(scorers, chosen, strict=True)]
        distances = reduce(torch.add, [each.distances for each in explained]) / len(chosen)
        return distances[self.place_of], torch.from_numpy(self.unique)[explained[0].images]

    def default_threshold(self) -> float:
        """Compute the default threshold; of the mean of all from the images in the middle of the ranking."""
        if self.features is not None:
            return super().default_threshold()
        ranking = self._scores.max(axis=1).argsort()
        middle = ranking[max(0, len(ranking) // 2 - OF_MEAN // 2) :][:OF_MEAN].tolist()
        answers = [self._answer(i, [int(self._scores[i].argmax())]) for i in middle]
        return default_threshold([[found.interval_mean] for found in answers])

    def _answer(self, i: int, patches: list[int]) -> "PatchAnswer":
        asked = [self._distances(i, m) for m in patches]
        to_all = reduce(torch.minimum, [distances for distances, _ in asked])
        chosen = self.all_features if self.features is None else [self.features]
        scores = np.mean([self.patch_scores(s, r) for s, r in chosen], axis=0)  # (N, M)
        rank = int((scores > scores[i, patches].max()).sum()) + 1
        return answer(to_all, asked[0][1], self.threshold, self.scorer.interval, rank)

    def _ask(self) -> None:
        """PatchAnswer for what is selected, and show it."""
        i, _ = self.selected
        self.answer, self._pointed = self._answer(i, self.patches), None
        self._images.value = i
        nearest = int(self.answer.others[0])
        if self.compared == nearest:
            self.show()
        else:
            with self.without_history():
                self.compared = nearest  # which shows it

    def _leave_region(self, _) -> None:
        with self.without_history():
            self.region = ()

    def _count(self) -> None:
        """Count again at another threshold."""
        self.answer = self.answer.at(self.threshold)
        self.show()

    def _point(self, patch: int | None) -> None:
        """Show how near everything is to the patch under the mouse, in the order of what is selected."""
        if patch is None and self._pointed is None:
            return
        self._pointed = patch
        found = self.answer if patch is None else self._answer(self.selected[0], [patch])
        self._show_pictures(found, patch)

    def show(self) -> None:
        """Send what the answer changed to the browser."""
        self._show_pictures(self.answer)
        self._show_distances()
        self.say(self.sentence)

    def _show_pictures(self, found: "PatchAnswer", pointed: int | None = None) -> None:
        """Send both large pictures and the small ones: of the selected patch, or the one that is pointed at."""
        (i, m), j, names = self.selected, self.compared, self.detector.names_
        with self._large.hold_sync():
            self._large.pictures = [self.large(i), self.large(j)]
            asking = asking_tile(i, m, names[i], self.region, pointed)
            self._large.tiles = [asking, nearness_tile(found, j, names[j])]
        self._gallery.tiles = other_tiles(found, self.answer, is_colored=pointed is not None)

    def _show_distances(self) -> None:
        """Send the chart."""
        answer, (first, last) = self.answer, self.answer.interval
        dots, self._dots = distance_dots(answer, self.images.labels)
        ends, mean, n = [first + 0.5, last + 0.5], answer.interval_mean, len(answer.others)
        with self._chart.hold_sync():
            self._chart.data = [
                *dots,
                series("threshold", [1, n], [self.threshold] * 2, COLORS["unlabeled"], kind="dashed"),
                series(f"mean {mean:.2f}", ends, [mean] * 2, COLORS["threshold"], kind="dashed"),
            ]
            self._chart.shaded = ends
            self._chart.label = self.sentence

    def _pick_large(self, tile: int, patch: int) -> None:
        self.region = ()
        self.selected = (self.compared if tile else self.selected[0], patch)

    def _pick_other(self, tile: int, patch: int) -> None:
        self.compared = int(self.answer.others[tile])

    def _pick_dot(self, entry: int, index: int) -> None:
        self.compared = int(self.answer.others[self._dots[entry][index]])

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return the other images, nearest first."""
        answer, (first, last) = self.answer, self.answer.interval
        names = ["place", "image", "name", "distance", "nearest patch", "similar patches", "in the interval"]
        columns = zip(answer.others.tolist(), answer.distances, answer.patches, answer.similar_patches, strict=True)
        return names, [
            (place + 1, j, self.detector.names_[j], round(float(d), 4), int(m), int(n), first <= place < last)
            for place, (j, d, m, n) in enumerate(columns)
        ]

    def draw(self) -> Figure:
        """Draw the patch, its nearest patches in some other images, and its distances to all of them."""
        (i, m), answer = self.selected, self.answer
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False).flat
        axes = above.subplots(1, 5)
        plot_image(self.seen(i), mask=self.seen_mask(i), patches=[m], grid=self.grid, ax=axes[0])
        axes[0].set_title(f"image {i}\npatch {m}")
        shown = np.linspace(0, len(answer.others) - 1, 4).astype(int)
        for ax, place in zip(axes[1:], shown, strict=True):
            patch, color = int(answer.patches[place]), COLORS["normal"]
            plot_image(self.seen(int(answer.others[place])), patches=[patch], grid=self.grid, color=color, ax=ax)
            ax.set_title(f"image {answer.others[place]}\n{answer.distances[place]:.2f} away")
        ax = below.subplots()
        plot_distances({"distance": answer.distances}, self.scorer.interval, ax=ax)
        middle = self.sentence.index(";") + 1
        ax.set_title(f"{self.sentence[:middle]}\n{self.sentence[middle + 1 :]}")
        return figure


@dataclass(frozen=True)
class PatchAnswer:
    """What one patch finds in the other images, or a region: of its patches the one that is nearest counts.

    Attributes
    ----------
    to_all : ndarray (N, M)
        The distance to every patch of every image, its own image among them; infinite where the scorer does not look.
    others : ndarray (J,)
        The images that score it, nearest first; without references all others.
    distances, patches : ndarray (J,)
        The distance to the nearest patch of each of them, and which patch that is.
    similar_patches : ndarray (J,)
        How many patches of each lie within the threshold.
    interval : (int, int)
        Which of the others the interval holds: [first, last).
    interval_mean : float
        The mean distance over the interval.
    rank : int
        Place of the patch among all patches of the batch by the detector's score, 1 is the most anomalous; of a region
        that of its most anomalous patch.
    """

    to_all: np.ndarray
    others: np.ndarray
    distances: np.ndarray
    patches: np.ndarray
    similar_patches: np.ndarray
    interval: tuple[int, int]
    interval_mean: float
    rank: int

    def at(self, threshold: float) -> "PatchAnswer":
        """Count again at another threshold."""
        return replace(self, similar_patches=(self.to_all[self.others] <= threshold).sum(axis=1))


def answer(to_all: Tensor, images: Tensor, threshold: float, interval: tuple[float, float], rank: int) -> PatchAnswer:
    """Sort what was found.

    Parameters
    ----------
    to_all : Tensor (N, M)
        Distances to every patch.
    images : Tensor (J,)
        The images that count.
    threshold : float
        Largest distance that counts as similar.
    interval : (float, float)
        See `interval_average`.
    rank : int

    Returns
    -------
    PatchAnswer
    """
    nearest, patches = to_all.min(dim=1)
    others = images[nearest[images].argsort(stable=True)]
    found = PatchAnswer(
        to_all=to_all.numpy(),
        others=others.numpy(),
        distances=nearest[others].numpy(),
        patches=patches[others].numpy(),
        similar_patches=torch.zeros_like(others).numpy(),
        interval=interval_bounds(len(others), interval),
        interval_mean=float(interval_average(nearest[others], interval)),
        rank=rank,
    )
    return found.at(threshold)


RING = (COLORS["normal"], "round")  # around the nearest patch


def asking_tile(i: int, m: int, name: str, region: tuple[int, ...], pointed: int | None) -> dict:
    """Show the image that asks: its patch, or its region, and the patch under the mouse."""
    tile = {"picture": 0, "title": f"image {i}, patch {m}:", "name": name, "points": True, "of": i}
    marks = [] if region else [[m, COLORS["defective"]]]
    tile["marks"] = marks if pointed is None else [*marks, [pointed, COLORS["unlabeled"]]]
    return tile | {"region": list(region)} if region else tile


def nearness_tile(found: PatchAnswer, j: int, name: str) -> dict:
    """Color the patches of image j by how near they are."""
    nearest, (closest, usual) = int(found.to_all[j].argmin()), _scale(found)
    return {
        "picture": 1,
        "title": f"image {j}, nearest at {found.to_all[j, nearest]:.2f}:",
        "name": name,
        "layer": _near(found, j),
        "values": values_of(found.to_all[j]),
        "unit": "away",
        "bar": color_bar(VIRIDIS.reversed(), closest, usual, "distance, up to the usual one"),
        "marks": [[nearest, *RING]],
        "walk": True,
        "of": j,
    }


def other_tiles(found: PatchAnswer, order: PatchAnswer, is_colored: bool) -> list[dict]:
    """Show what was found in each other image, in the order of an answer, whose interval is framed.

    Each bears the number of its similar patches, and a ring around the nearest one.
    """
    places, (first, last), tiles = np.argsort(found.others), order.interval, []
    places = places[np.searchsorted(found.others, order.others, sorter=places)]
    for place, (j, at) in enumerate(zip(order.others.tolist(), places.tolist(), strict=True)):
        tile = {"picture": j, "title": f"{found.distances[at]:.2f} away", "name": f"image {j}"}
        tile |= {"number": f"{found.similar_patches[at]}", "marks": [[int(found.patches[at]), *RING]]}
        if first <= place < last:
            tile["frame"] = COLORS["threshold"]
        if is_colored:
            tile["layer"] = _near(found, j)
        tiles.append(tile)
    return tiles


def distance_dots(found: PatchAnswer, labels: np.ndarray | None) -> tuple[list[dict], list[np.ndarray]]:
    """Make a dot for each other image, by its label where that is known; and say which places each entry holds."""
    n = len(found.others)
    kinds = [("image", np.arange(n), "unlabeled")]
    if labels is not None:
        of_others = labels[found.others]
        kinds = [(f"{kind} image", np.flatnonzero(of_others == k), kind) for k, kind in enumerate(KINDS)]
    dots, held = [], []
    for name, places, kind in kinds:
        if len(places):
            words = [f"image {found.others[k]}, place {k + 1}" for k in places]
            look = {"labels": words, "hollow": kind == "defective"}
            dots.append(series(name, places + 1, found.distances[places], COLORS[kind], "points", **look))
            held.append(places)
    return dots, held


def _scale(found: PatchAnswer) -> tuple[float, float]:
    """Return the ends of the color scale: the nearest patch of all, and the usual distance."""
    return float(found.distances[0]), float(np.median(found.to_all[np.isfinite(found.to_all)]))


def _near(found: PatchAnswer, j: int) -> bytes:
    closest, usual = _scale(found)
    return colored_layer(-found.to_all[j], VIRIDIS, -usual, -closest, opacity=0.6)
