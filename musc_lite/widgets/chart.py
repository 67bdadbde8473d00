"""A small chart that follows every click: matplotlib draws the course's figures, a browser draws this one."""

from collections.abc import Callable

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike

from musc_lite.reports.html import read_web


class Chart(anywidget.AnyWidget):
    """Lines, points and histograms on one pair of axes; what lies under the pointer is read out.

    Parameters
    ----------
    data : list of dict
        What `series` and `histogram` return.
    shaded : list of float
        Empty, or where a shaded band begins and ends on the x axis.
    rules : list of float
        Where vertical dashed lines stand.
    xticks : list of (float, str)
        Places on the x axis and their names, instead of numbers.
    title, xlabel, ylabel, label : str
        Above the chart, at its axes, and what a screen reader says.
    rule_name : str
        What the first rule is, where it can be moved.
    width, height : int
        In pixels.
    movable, clickable : bool
        Whether the first rule can be dragged, and bars and points can be picked: True once `on_move`, `on_pick` was
        called.
    """

    _esm = read_web("widgets/chart.js")
    _css = read_web("widgets/chart.css")

    data = traitlets.List(traitlets.Dict()).tag(sync=True)
    shaded = traitlets.List(traitlets.Float()).tag(sync=True)
    rules = traitlets.List(traitlets.Float()).tag(sync=True)
    xticks = traitlets.List(traitlets.Tuple(traitlets.Float(), traitlets.Unicode())).tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    xlabel = traitlets.Unicode().tag(sync=True)
    ylabel = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    rule_name = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(330).tag(sync=True)
    height = traitlets.Int(240).tag(sync=True)
    movable = traitlets.Bool().tag(sync=True)
    clickable = traitlets.Bool().tag(sync=True)

    def on_move(self, call: Callable[[float], None]) -> None:
        """Call call(x) while the user moves the first rule."""
        self.movable = True

        def hear(_widget, message: dict, _buffers) -> None:
            if "rule" in message:
                call(float(message["rule"]))

        self.on_msg(hear)

    def on_pick(self, call: Callable[[int, int], None]) -> None:
        """Call call(entry, index) when the user picks a bar or a point of an entry of `data`."""
        self.clickable = True

        def hear(_widget, message: dict, _buffers) -> None:
            if "entry" in message:
                call(int(message["entry"]), int(message["index"]))

        self.on_msg(hear)


def series(name: str, x: ArrayLike, y: ArrayLike, color: str, kind: str = "line", **more: object) -> dict:
    """Make one entry of a chart, x and y of the same length: a "line", a "dashed" one, "stairs", "steps" or "points".

    Each y of stairs holds until the next x; "steps" are stairs with the area below them.

    Parameters
    ----------
    name : str
        In the legend; "" leaves it out.
    x, y : (n,)
    color : str
    kind : str
    **more
        "labels", n texts to be read out; "hollow": points that are rings, so that kinds differ by more than color;
        "strong": True lifts a line above the others, False takes it back behind them.
    """
    x, y = (np.round(np.asarray(values, dtype=float), 4).tolist() for values in (x, y))
    return {"name": name, "x": x, "y": y, "color": color, "kind": kind, **more}


def histogram(name: str, values: ArrayLike, edges: ArrayLike, color: str) -> dict:
    """Make one entry of a chart: which percentage of all values lies between each two edges."""
    counts, edges = np.histogram(np.asarray(values), np.asarray(edges))
    return series(name, edges, 100 * np.append(counts, counts[-1]) / max(np.size(values), 1), color, kind="steps")
