"""Mutual scoring in the plane: points that are moved by hand, and the scores that follow."""

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from musc_lite.exercises import toy_world
from musc_lite.reports.html import read_web
from musc_lite.reports.plots import COLORS, HEAT, plot_plane
from musc_lite.stages.mutual_scoring import interval_average, nearest_distances, nearest_patches
from musc_lite.widgets.base import Shown

N_COLORS = 64  # of the scale


class ToyWorld(Shown, anywidget.AnyWidget):
    """Move the patches of a small batch in the plane, and see how they score each other.

    Each point is a patch and bears the number of its image. Drag one by mouse or finger; or choose it in the menu, and
    move it by the arrow keys, with Shift ten times as far. Lines lead from the chosen point to the nearest point of
    each other image: solid where they make its score, dashed where they are left out. The slider says how many do.

    Parameters
    ----------
    points : (N, M, 2), optional
        Tokens of M patches of N images, at least 2 images; by default `musc_lite.exercises.toy_world`.

    Attributes
    ----------
    points : list
        Where the points are, N lists of M pairs; can be set.
    selected : (int, int)
        Image and patch of the chosen point.
    closest : int
        Over how many of the other images, nearest first, a score is the mean.
    scores : list
        Of all points, N lists of M numbers, by `nearest_distances` and `interval_average`.
    links : list of dict
        Of the chosen point, nearest image first: "image", "patch" and "distance" of the nearest point there, and
        whether it "counts".
    sentence : str
        The score of the chosen point in words.

    Examples
    --------
    ``world = ToyWorld()``, and ``world`` as the last line of a cell shows it; ``world.closest = 1`` moves the slider.
    """

    _esm = read_web("widgets/toy_world.js")
    _css = read_web("widgets/toy_world.css", "widgets/shown.css")

    points: traitlets.List[list] = traitlets.List().tag(sync=True)
    beginning: traitlets.List[list] = traitlets.List().tag(sync=True)
    selected = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    closest = traitlets.Int(1).tag(sync=True)
    scores: traitlets.List[list] = traitlets.List().tag(sync=True)
    links: traitlets.List[dict] = traitlets.List().tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)
    high = traitlets.Float().tag(sync=True)
    heat = traitlets.List([to_hex(color) for color in HEAT(np.linspace(0, 1, N_COLORS))]).tag(sync=True)

    def __init__(self, points: ArrayLike | None = None):
        tokens = np.asarray(toy_world() if points is None else points, dtype=float)
        if tokens.ndim != 3 or tokens.shape[-1] != 2 or len(tokens) < 2 or not tokens.shape[1]:
            raise ValueError(f"points in the plane of at least 2 images are (N, M, 2) numbers, got {tokens.shape}")
        self.n_images, self.n_patches, _ = tokens.shape
        super().__init__(
            points=tokens.tolist(),
            beginning=tokens.tolist(),
            selected=(0, self.n_patches - 1),
            closest=max(1, round(0.6 * (self.n_images - 1))),
            high=float(nearest_distances(tokens).mean(dim=-1).max()),  # no score of the beginning is higher
        )
        self._answer()
        self.observe(lambda _: self._answer(), ("points", "selected", "closest"))

    @traitlets.validate("points")
    def _check_points(self, proposal):
        shape = (self.n_images, self.n_patches, 2)
        try:
            points = np.asarray(proposal.value, dtype=float)
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.shape != shape or not np.isfinite(points).all():
            raise traitlets.TraitError(f"the points of this world are {shape} finite numbers, got {proposal.value}")
        return points.tolist()

    @traitlets.validate("selected")
    def _check_selected(self, proposal):
        i, m = proposal.value
        if not (0 <= i < self.n_images and 0 <= m < self.n_patches):
            raise traitlets.TraitError(
                f"there is no patch (image {i}, patch {m}): {self.n_images} images of {self.n_patches} patches"
            )
        return proposal.value

    @traitlets.validate("closest")
    def _check_closest(self, proposal):
        if not 1 <= proposal.value < self.n_images:
            raise traitlets.TraitError(
                f"a score is the mean over 1 to {self.n_images - 1} other images, got {proposal.value}"
            )
        return proposal.value

    @property
    def interval(self) -> tuple[float, float]:
        """The closest images as an interval for `interval_average`."""
        return 0.0, min(1.0, (self.closest + 0.5) / (self.n_images - 1))  # the half: an end is rounded down

    def _answer(self) -> None:
        """Score all points, and send what follows for the chosen one."""
        tokens, (i, m) = torch.tensor(self.points, dtype=torch.float64), self.selected
        scores = interval_average(nearest_distances(tokens), self.interval)  # (N, M)
        far, patches = nearest_patches(tokens, i, m)
        others = far.argsort(stable=True)[:-1].tolist()  # the last is image i itself, infinitely far
        with self.hold_sync():
            self.scores = scores.tolist()
            self.links = [
                {"image": j, "patch": int(patches[j]), "distance": float(far[j]), "counts": place < self.closest}
                for place, j in enumerate(others)
            ]
            taken = ", ".join(f"{link['distance']:.2f}" for link in self.links[: self.closest])
            left_out = ", ".join(f"{link['distance']:.2f}" for link in self.links[self.closest :])
            self.sentence = (
                f"image {i}, patch {m}: score {scores[i, m]:.2f}, the mean of {taken}; left out: {left_out or 'none'}; "
                f"rank {int((scores > scores[i, m]).sum()) + 1} of {scores.numel()}"
            )

    def draw(self) -> Figure:
        """Draw the plane, and the scores of all points."""
        figure, scores = Figure(figsize=(8, 3.2), layout="constrained"), np.array(self.scores)
        left, right = figure.subplots(1, 2, width_ratios=(2.4, 1))
        plot_plane(
            self.points, scores, selected=self.selected, n_closest=self.closest, high=self.high, label="score", ax=left
        )
        images = np.repeat(np.arange(self.n_images), self.n_patches)
        colors = HEAT(np.clip(scores.ravel() / max(self.high, 1e-12), 0, 1))
        right.scatter(scores.ravel(), images, c=colors, s=45, edgecolor="gray", linewidth=0.6)
        i, m = self.selected
        right.scatter(scores[i, m], i, s=130, facecolor="none", edgecolor=COLORS["defective"], linewidth=2)
        right.set(xlabel="score", ylabel="image", yticks=range(self.n_images), xlim=(0, None))
        right.invert_yaxis()
        figure.suptitle(self.sentence, fontsize="small")
        return figure

    def __repr__(self) -> str:
        return f"ToyWorld({self.n_images} images of {self.n_patches} patches)"
