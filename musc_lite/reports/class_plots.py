"""Pictures of kinds of defect."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.data.roi import crop
from musc_lite.reports.plots import LINE_COLORS, plot_image
from musc_lite.results.scores import Scores

SIDE = 224  # pixels of a picture, at most


def plot_class_gallery(
    classes: DefectClasses, scores: Scores, n_columns: int = 6, figure: Figure | None = None
) -> np.ndarray:
    """Draw some images of each kind of defect with the box of their strongest region, a row a kind, typical ones first.

    Parameters
    ----------
    classes : DefectClasses
    scores : Scores
        Of the same images, which must be known.
    n_columns : int
        Images of a kind, at most.
    figure : matplotlib Figure, optional
        An empty one; by default a new one.

    Returns
    -------
    (kinds, n_columns) array of matplotlib Axes
        Without rows where no image is flagged.

    Raises
    ------
    ValueError
        If the scores are those of other images.
    """
    images, n_rows = scores.required_images, len(classes)
    if len(images) != len(classes.labels):
        raise ValueError(f"the classes are those of {len(classes.labels)} images, the scores of {len(images)}")
    if not n_rows:
        return np.empty((0, n_columns), dtype=object)
    figure = plt.figure(layout="constrained") if figure is None else figure
    figure.set_size_inches(1.3 * n_columns, 1.55 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for kind, row in enumerate(axes):
        members = classes.members(kind)
        for ax, k in zip(row, members, strict=False):
            image = crop(images[int(classes.regions.images[k])], scores.region)
            image.thumbnail((SIDE, SIDE))
            _plot_region(image, classes, int(k), ax)
        n_images = f"{len(members)} image{'s' * (len(members) > 1)}"
        row[0].set_title(f"kind {kind}: {n_images}", fontsize=9, loc="left", color=LINE_COLORS[kind % len(LINE_COLORS)])
    return axes


def _plot_region(image: Image.Image, classes: DefectClasses, k: int, ax: Axes) -> None:
    """Draw the part of a photo that was looked at, with the box of region k in its class's color."""
    plot_image(image, ax=ax)
    rows, columns = classes.regions.grid
    top, left, bottom, right = classes.regions.boxes[k]
    x, y = image.width / columns, image.height / rows
    color = LINE_COLORS[classes.region_labels[k] % len(LINE_COLORS)]
    corner, size = (left * x - 0.5, top * y - 0.5), ((right - left) * x, (bottom - top) * y)
    ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=3.2, clip_on=False))
    ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=1.8, clip_on=False))
