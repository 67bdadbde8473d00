"""A picture of what recurs in a batch."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from musc_lite.reports.plots import plot_image
from musc_lite.scorers.recurring import Recurring


def plot_recurring(
    found: Sequence[Recurring],
    images: Sequence[Image.Image],
    grid: tuple[int, int],
    n_columns: int = 6,
    figure: Figure | None = None,
) -> np.ndarray:
    """Draw what recurs, a row a thing: images that share it, a frame around the patch that recurs most.

    Parameters
    ----------
    found : sequence of Recurring
        One or more.
    images : ImageSet, or sequence of PIL images
        Those that were compared, whole.
    grid : (h, w)
        Rows and columns of patches.
    n_columns : int
        Images of a row, at most: those whose patches recur most.
    figure : matplotlib Figure, optional
        An empty one; by default a new one.

    Returns
    -------
    (things, n_columns) array of matplotlib Axes
    """
    figure = plt.figure(layout="constrained") if figure is None else figure
    figure.set_size_inches(1.4 * n_columns, 1.7 * len(found))
    axes = figure.subplots(len(found), n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for thing, row in zip(found, axes, strict=True):
        for ax, k in zip(row, np.argsort(-thing.jumps, kind="stable"), strict=False):
            plot_image(images[int(thing.images[k])], patches=[int(thing.patches[k])], grid=grid, ax=ax)
        row[0].set_title(f"shared by {len(thing)} images", fontsize=9, loc="left")
    return axes
