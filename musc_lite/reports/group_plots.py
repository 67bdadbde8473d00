"""Pictures of what a batch is made of."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from musc_lite.analysis.groups import Groups
from musc_lite.data.duplicates import unique_indices
from musc_lite.data.image_set import ImageSet
from musc_lite.reports.plots import HEAT, LINE_COLORS, plot_image
from musc_lite.results.scores import Scores
from musc_lite.utils.files import atomic_write

WIDTH, MATRIX, ROW = 7.5, 3.6, 1.45  # inches: the figure, its matrix, a row of its gallery


def plot_group_matrix(groups: Groups, ax: Axes | None = None) -> Axes:
    """Draw how far images lie apart as a matrix, ordered by group, with lines between the groups.

    Parameters
    ----------
    groups : Groups
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    order = np.concatenate([groups.members(k) for k in range(len(groups))])
    matrix = groups.distances[np.ix_(order, order)].astype(float)
    np.fill_diagonal(matrix, np.nan)
    plain = {"square": True, "xticklabels": False, "yticklabels": False}
    sns.heatmap(matrix, cmap=HEAT, cbar_kws={"label": "distance"}, ax=ax, **plain)
    ends = groups.sizes.cumsum()
    for end in ends[:-1]:
        ax.axhline(end, color=LINE_COLORS[2], linewidth=2)
        ax.axvline(end, color=LINE_COLORS[2], linewidth=2)
    ax.set_yticks(ends - groups.sizes / 2, [f"group {k}: {n}" for k, n in enumerate(groups.sizes)], rotation=0)
    ax.tick_params(length=0)
    ax.set_xlabel("images, in the same order")
    return ax


def plot_group_gallery(
    groups: Groups, images: ImageSet, n_columns: int = 6, figure: Figure | SubFigure | None = None
) -> np.ndarray:
    """Draw some images of each group, a row a group: its medoid, then others spread evenly from near it to far.

    Parameters
    ----------
    groups : Groups
    images : ImageSet
        The batch.
    n_columns : int
        Images of a group, at most.
    figure : matplotlib Figure or SubFigure, optional
        An empty one; by default a new one.

    Returns
    -------
    (groups, n_columns) array of matplotlib Axes
    """
    if figure is None:
        figure = plt.figure(figsize=(1.3 * n_columns, 1.5 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for k, row in enumerate(axes):
        members, medoid = groups.members(k), groups.medoids[k]
        by_distance = members[np.argsort(groups.distances[medoid, members], kind="stable")]
        places = np.unique(np.linspace(0, len(members) - 1, min(n_columns, len(members))).round().astype(int))
        for ax, i in zip(row, by_distance[places], strict=False):
            image = images[int(i)]
            image.thumbnail((224, 224))
            plot_image(image, ax=ax)
        row[0].set_title(f"group {k}: {len(members)} images", fontsize=9, loc="left")
    return axes


def draw_groups(groups: Groups, images: ImageSet) -> Figure:
    """Draw the matrix of `plot_group_matrix` above the gallery of `plot_group_gallery`, as one figure without pyplot.

    Parameters
    ----------
    groups : Groups
    images : ImageSet
        The batch.

    Returns
    -------
    matplotlib Figure
    """
    figure = Figure(figsize=(WIDTH, MATRIX + ROW * len(groups)), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(MATRIX, ROW * len(groups))).flat
    plot_group_matrix(groups, above.subplots())
    plot_group_gallery(groups, images, figure=below)
    return figure


def group_rows(groups: Groups, scores: Scores) -> list[dict]:
    """Return the rows of `Groups.to_frame` with the names of the images."""
    return groups.to_frame(_once(scores).names).to_dict("records")


def group_picture(groups: Groups, scores: Scores) -> bytes:
    """Draw the matrix and the gallery of `draw_groups` as a JPEG."""
    buffer = io.BytesIO()
    draw_groups(groups, _once(scores)).savefig(buffer, format="jpg", dpi=110, pil_kwargs={"quality": 85})
    return buffer.getvalue()


def write_groups(path: str | Path, groups: Groups, scores: Scores) -> None:
    """Write `group_picture` to a file."""
    with atomic_write(Path(path)) as partial:
        partial.write_bytes(group_picture(groups, scores))


def _once(scores: Scores) -> ImageSet:
    """Return the images without copies, which groups are made of."""
    images = scores.required_images
    return images if scores.copy_of is None else images.subset(unique_indices(scores.copy_of).tolist())
