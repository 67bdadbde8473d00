"""What came in day by day, beside the images that are trusted: whether good photos still look like them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musc_lite.monitoring.watch_log import Watched
from musc_lite.reports.plots import COLORS
from musc_lite.stages.conformal import Drift, find_drift
from musc_lite.utils.errors import DataNotFoundError
from musc_lite.utils.files import atomic_write, ensure_dir

MAX_LABELED_DAYS = 20  # each of them has its counts below; of more days, about this many names fit on the axis
MAX_WIDTH = 24.0  # inches


@dataclass(frozen=True, eq=False)
class Day:
    """The scores of some images against one reference.

    Attributes
    ----------
    name : str
        Such as a date.
    image_scores : ndarray (N,)
    reference : str
        What they were scored against, with its SHA-256.
    """

    name: str
    image_scores: np.ndarray
    reference: str = ""

    @classmethod
    def read(cls, results: str | Path) -> "Day":
        """Read what `musc-lite apply` wrote to a folder.

        Raises
        ------
        DataNotFoundError
            If there is no results.json, or it is of something else.
        """
        path = Path(results) / "results.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            scores = np.array([each["score"] for each in found["images"]], dtype=float)
            return cls(Path(results).resolve().name, scores, found["about"].get("reference", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataNotFoundError(f"{results} holds no {path.name} of `musc-lite apply`") from error

    @classmethod
    def of_watch(cls, watched: Sequence[Watched]) -> "list[Day]":
        """Sort what a watch has scored by the date, leaving out what could not be read."""
        by_date: dict[str, list[float]] = defaultdict(list)
        for each in watched:
            if each.score is not None:
                by_date[each.time[:10]].append(each.score)
        return [cls(date, np.array(scores), watched[-1].reference) for date, scores in sorted(by_date.items())]


def drift_of_days(days: Sequence[Day], calibration: np.ndarray, threshold: float) -> list[Drift]:
    """Hold each day against the trusted images: `find_drift`."""
    return [find_drift(day.image_scores, calibration, threshold) for day in days]


def plot_days(days: Sequence[Day], calibration: np.ndarray, threshold: float, ax: Axes | None = None) -> Axes:
    """Draw a column of scores for each day beside that of the trusted images.

    Parameters
    ----------
    days : sequence of Day
        At least one.
    calibration : (n,)
        Scores of the trusted images.
    threshold : float
        Images that score above it are flagged; drawn as a line.
    ax : Axes, optional

    Returns
    -------
    Axes
        A day that drifts has its name in the color of defects; beyond 20 days, a triangle below its scores.
    """
    ax = plt.gca() if ax is None else ax
    drifts, rng = drift_of_days(days, calibration, threshold), np.random.default_rng(0)
    columns = [("trusted", np.asarray(calibration, dtype=float)), *((day.name, day.image_scores) for day in days)]
    low, high = np.quantile(columns[0][1], (0.05, 0.95))
    ax.axhspan(low, high, color=COLORS["normal"], alpha=0.12, linewidth=0, label="where 9 of 10 trusted ones lie")
    ax.axhline(threshold, color=COLORS["threshold"], linewidth=1.5, label="threshold")
    for k, (_, scores) in enumerate(columns):
        called = scores > threshold if k else np.zeros(len(scores), dtype=bool)
        x = k + rng.uniform(-0.22, 0.22, len(scores))  # side by side, so that equal ones are seen
        for chosen, color in ((~called, "normal"), (called, "defective")):
            ax.scatter(x[chosen], scores[chosen], s=16, color=COLORS[color], alpha=0.75, linewidths=0)
        ax.plot([k - 0.32, k + 0.32], [np.median(scores)] * 2, color="black", lw=1.2, label=None if k else "median")
    drifting = [False, *(drift.is_likely for drift in drifts)]
    if len(days) > MAX_LABELED_DAYS:
        _label_some_days(ax, [name for name, _ in columns], drifting)
    else:
        counts = [f"{len(calibration)}", *(f"{drift.n_called} of {drift.n_images} called" for drift in drifts)]
        names = [
            f"{name}\n{count}" + ("\ndrift" if drifts_here else "")
            for (name, _), count, drifts_here in zip(columns, counts, drifting, strict=True)
        ]
        ax.set_xticks(range(len(columns)), names)
        for label, drifts_here in zip(ax.get_xticklabels(), drifting, strict=True):
            if drifts_here:
                label.set(color=COLORS["defective"], fontweight="bold")
    ax.set(ylabel="image score", xlim=(-0.6, len(columns) - 0.4))
    ax.legend(loc="upper left", fontsize="small", framealpha=0.9)
    return ax


def _label_some_days(ax: Axes, names: Sequence[str], drifting: Sequence[bool]) -> None:
    """Write every k-th name at the axis, and mark each day that drifts with a triangle."""
    step = -(-len(names) // MAX_LABELED_DAYS)
    ax.set_xticks(range(0, len(names), step), names[::step], rotation=45, ha="right", rotation_mode="anchor")
    where = np.flatnonzero(drifting)
    if len(where):
        at_bottom: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.scatter(where, np.full(len(where), 0.02), marker="^", color=COLORS["defective"], label="drift", **at_bottom)


def write_days(path: str | Path, days: Sequence[Day], calibration: np.ndarray, threshold: float) -> None:
    """Write what `plot_days` draws as a picture, at most 24 inches wide; the ending says which kind of file."""
    width = min(max(6.0, 1.2 * (len(days) + 1)), MAX_WIDTH)
    figure = Figure(figsize=(width, 4.2), dpi=120, layout="constrained")
    plot_days(days, calibration, threshold, figure.subplots())
    path = ensure_dir(Path(path).parent) / Path(path).name
    with atomic_write(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix(".") or "png")
