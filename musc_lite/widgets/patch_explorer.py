"""Stage 3 by hand: pick a patch and see its nearest patches, the images that hold a similar one, and its score."""

from dataclasses import dataclass, replace
from functools import reduce

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure

from musc_lite.detector import Detector
from musc_lite.results.plots import COLORS, VIRIDIS, plot_distances, plot_image
from musc_lite.scorers.base import Explanation
from musc_lite.stages.mutual_scoring import interval_average, interval_bounds
from musc_lite.widgets.chart import Chart, series
from musc_lite.widgets.explorer import PICTURE, THUMBNAIL, FeatureExplorer, row
from musc_lite.widgets.tiles import Tiles, colored_layer

__all__ = ["Answer", "PatchExplorer"]


@dataclass(frozen=True)
class Answer:
    """What one patch finds in the other images.

    Attributes
    ----------
    to_all : ndarray (N, M)
        Its distance to every patch of every image, its own image among them; infinite where the scorer does not look.
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
        Place of the patch among all patches of the batch by the detector's score, 1 is the most anomalous.
    """

    to_all: np.ndarray
    others: np.ndarray
    distances: np.ndarray
    patches: np.ndarray
    similar_patches: np.ndarray
    interval: tuple[int, int]
    interval_mean: float
    rank: int


class PatchExplorer(FeatureExplorer):
    """Pick a patch and see who resembles it in the other images.

    Click on a patch of the large picture, or move by the arrow keys. The other images follow, nearest first, each with
    the nearest patch marked; those of the interval are framed. The second large picture colors how near each of its
    patches is, bright is near. A click on a small picture chooses that second picture; a click in it asks from there.

    Parameters
    ----------
    detector : Detector
        Fitted.
    selected : (int, int), optional
        Image and patch to begin with; by default the most anomalous patch of the most anomalous image.

    Attributes
    ----------
    selected : (int, int)
        Image and patch that ask; can be set.
    features : (int, int) or None
        Index of the layer, and r; None takes the mean of the distances over all blocks and r of the detector. (Its
        interval mean is near the detector's score, not equal: that is the mean of interval averages.)
    threshold : float
        Largest distance that counts as similar.
    compared : int
        The image whose patches are colored; by default the one with the nearest patch.
    answer : Answer
        What is shown, as numbers.

    Examples
    --------
    ``PatchExplorer(detector)`` as the last line of a cell shows it; ``explorer.selected = (10, 89)`` moves it.
    """

    MEAN, NEEDS = True, ("explain", "interval")
    selected = traitlets.Tuple(traitlets.Int(), traitlets.Int())
    threshold = traitlets.Float()
    compared = traitlets.Int()
    answer: Answer

    def __init__(self, detector: Detector, selected: tuple[int, int] | None = None):
        super().__init__(detector)
        scores = detector.patch_scores_.mean(axis=(0, 1))  # (N, M)
        self._images = self.image_menu()
        self._slider = ipywidgets.FloatSlider(min=0, max=2, step=0.01, description="threshold", readout_format=".2f")
        self._gallery = Tiles(
            pictures=self.thumbnails(), grid=self.grid, size=THUMBNAIL, label="other images, nearest first"
        )
        self._large = Tiles(grid=self.grid, size=PICTURE, label="the patch that asks, and a second image")
        self._chart = Chart(xlabel="other images, nearest first", ylabel="distance")
        self._text.layout.min_height = "2em"

        traitlets.link((self, "threshold"), (self._slider, "value"))
        self._images.observe(lambda change: self.set_trait("selected", (change.new, self.selected[1])), "value")
        self._large.on_pick(self._pick_large)
        self._gallery.on_pick(self._pick_other)
        self.children = (
            row(self._images, self.feature_menu, self._slider),
            self._text,
            row(self._large, self._chart),
            ipywidgets.Box([self._gallery], layout={"max_height": "420px", "overflow": "auto"}),
        )
        self.threshold = round(float(np.quantile(scores, 0.9)), 2)
        if selected is None:
            i = int(detector.image_scores_.argmax())
            selected = (i, int(scores[i].argmax()))
        self.selected = selected
        self.observe(lambda _: self._ask(), ("selected", "features"))
        self.observe(lambda _: self._count(), "threshold")
        self.observe(lambda _: self.show(), "compared")
        self._ask()

    @traitlets.validate("selected")
    def _check_selected(self, proposal):
        (i, m), n_images, n_patches = proposal.value, len(self.images), self.grid[0] * self.grid[1]
        if not (0 <= i < n_images and 0 <= m < n_patches):
            raise traitlets.TraitError(
                f"there is no patch (image {i}, patch {m}): the batch has {n_images} images of {n_patches} patches, "
                "both counted from 0"
            )
        return proposal.value

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal):
        if not 0 <= proposal.value <= 2:
            raise traitlets.TraitError(f"unit vectors lie 0 to 2 apart: give such a threshold, got {proposal.value}")
        return proposal.value

    @property
    def sentence(self) -> str:
        """The answer in words."""
        answer, n_others = self.answer, len(self.answer.others)
        n_patches = self.detector.patch_scores_[0, 0].size
        share = self.scorer.interval
        between = f"closest {share[1]:.0%}" if share[0] == 0 else f"images from {share[0]:.0%} to {share[1]:.0%}"
        return (
            f"similar patches in {(answer.similar_patches > 0).sum()} of {n_others} other images at threshold "
            f"{self.threshold:.2f}, {answer.similar_patches.sum():,} patches in all; mean of the {between}: "
            f"{answer.interval_mean:.2f}; rank {answer.rank:,} of {n_patches:,}"
        )

    def _explain(self, s: int, r: int, i: int, m: int) -> Explanation:
        return self.detector.scorer_at(s, r).explain(self.tokens(s, r), i, m, self.context)

    def _ask(self) -> None:
        """Answer for the selected patch, and show it."""
        i, m = self.selected
        chosen = self.all_features if self.features is None else [self.features]
        explained = [self._explain(s, r, i, m) for s, r in chosen]
        to_all = reduce(torch.add, [each.distances for each in explained]) / len(chosen)  # (N, M)
        nearest, patches = to_all.min(dim=1)
        images = explained[0].images
        others = images[nearest[images].argsort(stable=True)]
        scores = np.mean([self.patch_scores(s, r) for s, r in chosen], axis=0)  # (N, M)
        self.answer = Answer(
            to_all=to_all.numpy(),
            others=others.numpy(),
            distances=nearest[others].numpy(),
            patches=patches[others].numpy(),
            similar_patches=(to_all[others] <= self.threshold).sum(dim=1).numpy(),
            interval=interval_bounds(len(others), self.scorer.interval),
            interval_mean=float(interval_average(nearest[others], self.scorer.interval)),
            rank=int((scores > scores[i, m]).sum()) + 1,
        )
        self._images.value = i
        if self.compared == others[0]:
            self.show()
        else:
            self.compared = int(others[0])  # which shows it

    def show(self) -> None:
        """Send what the answer changed to the browser."""
        (i, m), answer, names = self.selected, self.answer, self.detector.names_
        j, first, last = self.compared, *answer.interval
        usual = np.median(answer.to_all[np.isfinite(answer.to_all)])
        near = colored_layer(-answer.to_all[j], VIRIDIS, -usual, -answer.distances[0], opacity=0.6)
        nearest = int(answer.to_all[j].argmin())
        with self._large.hold_sync():
            self._large.pictures = [self.picture(i, PICTURE), self.picture(j, PICTURE)]
            self._large.tiles = [
                {
                    "picture": 0,
                    "title": f"image {i}, patch {m}:",
                    "name": names[i],
                    "marks": [[m, COLORS["defective"]]],
                },
                {
                    "picture": 1,
                    "title": f"image {j}, nearest at {answer.to_all[j, nearest]:.2f}:",
                    "name": names[j],
                    "layer": near,
                    "marks": [[nearest, COLORS["normal"]]],
                },
            ]
        self._gallery.tiles = [
            {
                "picture": int(other),
                "title": f"{distance:.2f}: {similar} similar",
                "marks": [[int(patch), COLORS["normal"]]],
                "frame": COLORS["threshold"] if first <= place < last else "",
            }
            for place, (other, distance, patch, similar) in enumerate(
                zip(answer.others, answer.distances, answer.patches, answer.similar_patches, strict=True)
            )
        ]
        places = np.arange(1, len(answer.others) + 1)
        with self._chart.hold_sync():
            self._chart.data = [
                series("distance", places, answer.distances, COLORS["defective"]),
                series("threshold", [1, len(places)], [self.threshold] * 2, COLORS["unlabeled"], kind="dashed"),
                series(
                    f"mean {answer.interval_mean:.2f}",
                    [first + 0.5, last + 0.5],
                    [answer.interval_mean] * 2,
                    COLORS["threshold"],
                    kind="dashed",
                ),
            ]
            self._chart.shaded = [first + 0.5, last + 0.5]
            self._chart.label = self.sentence
        self.say(self.sentence)

    def _count(self) -> None:
        """Count again at another threshold."""
        similar = (self.answer.to_all[self.answer.others] <= self.threshold).sum(axis=1)
        self.answer = replace(self.answer, similar_patches=similar)
        self.show()

    def _pick_large(self, tile: int, patch: int) -> None:
        self.selected = (self.compared if tile else self.selected[0], patch)

    def _pick_other(self, tile: int, patch: int) -> None:
        self.compared = int(self.answer.others[tile])

    def draw(self) -> Figure:
        """Draw the patch, its nearest patches in some other images, and its distances to all of them."""
        (i, m), answer = self.selected, self.answer
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False).flat
        axes = above.subplots(1, 5)
        plot_image(self.seen(i), mask=self.seen_mask(i), patches=[m], grid=self.grid, ax=axes[0])
        axes[0].set_title(f"image {i}, patch {m}")
        shown = np.linspace(0, len(answer.others) - 1, 4).astype(int)
        for ax, place in zip(axes[1:], shown, strict=True):
            patch, color = int(answer.patches[place]), COLORS["normal"]
            plot_image(self.seen(int(answer.others[place])), patches=[patch], grid=self.grid, color=color, ax=ax)
            ax.set_title(f"{answer.distances[place]:.2f} in {answer.others[place]}")
        ax = below.subplots()
        plot_distances({"distance": answer.distances}, self.scorer.interval, ax=ax)
        middle = self.sentence.index(";") + 1
        ax.set_title(f"{self.sentence[:middle]}\n{self.sentence[middle + 1 :]}")
        return figure
