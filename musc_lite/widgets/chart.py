"""A small chart that follows every click: matplotlib draws the course's figures, a browser draws this one."""

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike

__all__ = ["Chart", "histogram", "series"]


class Chart(anywidget.AnyWidget):
    """Lines, points and histograms on one pair of axes.

    Parameters
    ----------
    data : list of dict
        What `series` and `histogram` return.
    shaded : list of float
        Empty, or where a shaded band begins and ends on the x axis.
    rules : list of float
        Where vertical dashed lines stand.
    xlabel, ylabel, label : str
        Axis labels, and what a screen reader says.
    width, height : int
        In pixels.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    data = traitlets.List(traitlets.Dict()).tag(sync=True)
    shaded = traitlets.List(traitlets.Float()).tag(sync=True)
    rules = traitlets.List(traitlets.Float()).tag(sync=True)
    xlabel = traitlets.Unicode().tag(sync=True)
    ylabel = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(320).tag(sync=True)
    height = traitlets.Int(220).tag(sync=True)


def series(name: str, x: ArrayLike, y: ArrayLike, color: str, kind: str = "line") -> dict:
    """Make one entry of a chart, x and y of the same length: a "line", a "dashed" one, "stairs" or "points".

    Each y of stairs holds until the next x; "steps" are stairs with the area below them.
    """
    x, y = (np.round(np.asarray(values, dtype=float), 4).tolist() for values in (x, y))
    return {"name": name, "x": x, "y": y, "color": color, "kind": kind}


def histogram(name: str, values: ArrayLike, edges: ArrayLike, color: str) -> dict:
    """Make one entry of a chart: which percentage of all values lies between each two edges."""
    counts, edges = np.histogram(np.asarray(values), np.asarray(edges))
    return series(name, edges, 100 * np.append(counts, counts[-1]) / max(np.size(values), 1), color, kind="steps")
