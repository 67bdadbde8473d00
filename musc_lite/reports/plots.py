"""Pictures of results: arrays in, matplotlib axes (or RGB arrays) out; nothing here saves or shows.

One palette, safe for color-blind readers, and readable on light and dark pages.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image, ImageColor
from scipy.ndimage import binary_dilation
from sklearn.decomposition import PCA

from musc_lite.stages.maps import typical_p95
from musc_lite.stages.mutual_scoring import interval_bounds, nearest_patches

COLORS = {"normal": "#0072B2", "defective": "#D55E00", "unlabeled": "#777777", "threshold": "#009E73"}  # Okabe and Ito
HEAT = matplotlib.colormaps["inferno"]  # scores and distances
VIRIDIS = matplotlib.colormaps["viridis"]  # similarities and counts
LINE_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe and Ito too
OUTLINE = "#56B4E9"  # of true defects
CALM = 0.4  # of the color scale: a typical image's highest pixel lies there at most
LEAST_RANGE = 0.02
KINDS = ("normal", "defective")  # what the labels 0 and 1 stand for


def map_color_limits(maps: ArrayLike) -> tuple[float, float]:
    """Choose one color scale for the maps of a whole batch, so that normal images stay calm.

    Parameters
    ----------
    maps : (N, H, W)
        Anomaly maps of one batch.

    Returns
    -------
    low, high : float
        Only the highest twentieth of a typical image's pixels is colored, and its highest pixel lies at two fifths of
        the scale or below, so that a batch without defects is not painted red. The scale reaches the batch's 99.9th
        percentile, and at least 0.02: less means nothing between unit vectors. What is usual is taken from high
        pixels, since most pixels of a photo may be background.

    Examples
    --------
    >>> map_color_limits(np.arange(101.0).reshape(1, 1, 101))
    (95.0, 107.5)
    """
    maps = np.asarray(maps)
    low, highest = typical_p95(maps), np.median(maps.max(axis=(1, 2)))
    return low, float(max(np.percentile(maps, 99.9), low + (highest - low) / CALM, low + LEAST_RANGE))


def overlay(image: Image.Image | ArrayLike, anomaly_map: ArrayLike, low: float, high: float) -> np.ndarray:
    """Lay an anomaly map over its image, the more opaque the more anomalous.

    Parameters
    ----------
    image : PIL image or (H', W', 3) array of uint8
        Of any size and shape.
    anomaly_map : (H, W)
        Stretched over the image: the backbone may have seen it in another shape.
    low, high : float
        Color scale, usually `map_color_limits` of the whole batch.

    Returns
    -------
    ndarray (H', W', 3) of uint8

    Examples
    --------
    >>> gray = np.full((2, 2, 3), 128, np.uint8)
    >>> overlay(gray, np.zeros((2, 2)), low=0.0, high=1.0).tolist() == gray.tolist()
    True
    """
    pixels = np.asarray(image) / 255  # (H', W', 3)
    stretched = resize_array(anomaly_map, pixels.shape[:2], Image.Resampling.BILINEAR)
    heat = np.clip((stretched - low) / (high - low), 0, 1)  # (H', W')
    opacity = 0.85 * heat[..., None] ** 0.75
    blended = (1 - opacity) * pixels + opacity * HEAT(0.25 + 0.7 * heat)[..., :3]
    return np.rint(255 * blended).astype(np.uint8)


def draw_mask_outline(image: Image.Image, mask: ArrayLike) -> Image.Image:
    """Draw the outer border of a mask (H, W) on an image of any size."""
    pixels = np.array(image)
    mask = resize_array(mask, pixels.shape[:2], Image.Resampling.NEAREST) > 0
    pixels[binary_dilation(mask, iterations=2) & ~mask] = ImageColor.getrgb(OUTLINE)
    return Image.fromarray(pixels)


def resize_array(values: ArrayLike, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Resize a map or mask (H, W) to another size (H', W')."""
    values = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(values.resize(size[::-1], resampling))


def plot_anomaly_map(
    image: Image.Image | ArrayLike,
    anomaly_map: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    mask: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an image under its anomaly map, with the outline of its true defect where a mask is given.

    Parameters
    ----------
    image : PIL image or (H', W', 3) array
    anomaly_map : (H, W)
    low, high : float, optional
        Color scale; by default from this map's upper quartile to its highest value, which tells where the image differs
        from itself.
        Maps of one batch are to be compared: give all of them the `map_color_limits` of the whole batch.
    mask : (H, W), optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    own_low, own_high = np.percentile(np.asarray(anomaly_map), [75, 100])
    low = own_low if low is None else low
    high = max(own_high, low + LEAST_RANGE) if high is None else high
    pixels = overlay(image, anomaly_map, low, high)
    return plot_image(pixels, mask=mask, ax=ax)


def plot_image(
    image: Image.Image | ArrayLike,
    *,
    mask: ArrayLike | None = None,
    patches: Iterable[int] = (),
    grid: tuple[int, int] | None = None,
    color: str = COLORS["defective"],
    ax: Axes | None = None,
) -> Axes:
    """Draw an image, with the outline of its true defect and a frame around some of its patches.

    Parameters
    ----------
    image : PIL image or (H', W', 3) array
    mask : (H, W), optional
    patches : ints
        Which patches get a frame, counted row by row of the grid.
    grid : (h, w), optional
        Rows and columns of patches; needed for the frames.
    color : str
        Of the frames.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    pixels, patches = np.asarray(image), list(patches)
    if patches and grid is None:
        raise ValueError("to frame patches, give the grid (h, w) they are counted on, such as features.grid")
    ax.imshow(pixels)
    if mask is not None and np.any(mask):
        outline = resize_array(mask, pixels.shape[:2], Image.Resampling.NEAREST)
        ax.contour(outline, levels=[0.5], colors=OUTLINE, linewidths=1.5)
    h, w = (1, 1) if grid is None else grid
    for m in patches:
        height, width = pixels.shape[0] / h, pixels.shape[1] / w
        corner = (m % w * width - 0.5, m // w * height - 0.5)
        for line_color, line_width in (("white", 4), (color, 2)):  # a white rim keeps the frame visible on any image
            ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=line_color, linewidth=line_width))
    ax.set_axis_off()
    return ax


def plot_gallery(
    images: Sequence,
    anomaly_maps: ArrayLike,
    image_scores: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    masks: Sequence[ArrayLike] | np.ndarray | None = None,
    n_columns: int = 6,
    n_rows: int = 2,
    scale: tuple[float, float] | None = None,
) -> np.ndarray:
    """Draw the most anomalous images of a batch under their maps, all on one color scale.

    Parameters
    ----------
    images : sequence of N images
    anomaly_maps : (N, H, W)
    image_scores : (N,)
        Higher is more anomalous.
    names : N strings, optional
        Written above each image, beside its score; of long ones the end.
    masks : (N, H, W), optional
        Outlines of the true defects.
    n_columns, n_rows : int
        At most, of the gallery, which makes a new figure. Where it cannot show all images, the last row of several
        holds the most normal ones, as a comparison.
    scale : (float, float), optional
        Color scale; by default the `map_color_limits` of these maps. New images look right on that of their old batch.

    Returns
    -------
    (rows, columns) array of matplotlib Axes
        As many as the images need: one row of N where they fit into one, rows of nearly equal length where they fit
        into several. Axes without an image are empty, and come last.
    """
    anomaly_maps, image_scores = np.asarray(anomaly_maps), np.asarray(image_scores)
    ranking, width = np.argsort(image_scores)[::-1], 1.5  # inches
    n_rows = min(n_rows, math.ceil(len(ranking) / n_columns))
    n_columns = min(n_columns, math.ceil(len(ranking) / n_rows))
    n_normal = n_columns if n_rows > 1 and len(ranking) > n_rows * n_columns else 0
    shown = [*ranking[: n_rows * n_columns - n_normal], *ranking[len(ranking) - n_normal :]]
    low, high = map_color_limits(anomaly_maps) if scale is None else scale
    size = (width * n_columns, 1.75 * n_rows)
    _, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, i in zip(axes.flat, shown, strict=False):
        mask = None if masks is None else masks[i]
        plot_anomaly_map(images[int(i)], anomaly_maps[i], low=low, high=high, mask=mask, ax=ax)
        title = _shortened(f"{image_scores[i]:.2f} ", "" if names is None else names[i], 8, 72 * width - 14)
        ax.set_title(title, fontsize=8, parse_math=False)
    return axes


def pca_colors(tokens: ArrayLike) -> np.ndarray:
    """Color patches by their first three principal components, so that patches alike in the backbone look alike.

    Parameters
    ----------
    tokens : (N, M, C)
        Patch tokens of one layer; the components are those of all N images together.

    Returns
    -------
    ndarray (N, M, 3)
        Red, green and blue in 0..1; the 2nd to the 98th percentile of each component span the range.

    Examples
    --------
    >>> pca_colors(np.random.default_rng(0).random((2, 9, 5))).shape
    (2, 9, 3)
    """
    tokens = np.asarray(tokens, dtype=np.float64)
    components = PCA(3, svd_solver="full").fit_transform(tokens.reshape(-1, tokens.shape[-1]))  # (N M, 3)
    low, high = np.percentile(components, (2, 98), axis=0)
    return np.clip((components - low) / (high - low), 0, 1).reshape(*tokens.shape[:2], 3)


def plot_patch_map(
    values: ArrayLike,
    grid: tuple[int, int],
    *,
    low: float | None = None,
    high: float | None = None,
    label: str = "",
    cmap: str = "inferno",
    ax: Axes | None = None,
) -> Axes:
    """Draw one value, or one color, per patch on the patch grid.

    Parameters
    ----------
    values : (M,) or (M, 3)
        Numbers, or red, green and blue in 0..1 such as `pca_colors` gives.
    grid : (h, w)
        Rows and columns of patches.
    low, high : float, optional
        Color scale; the range of the values where not given.
    label : str
        Beside the color bar, which is drawn for numbers where a label is given.
    cmap : str
        matplotlib's name; "inferno" for scores and distances, "viridis" for similarities and counts.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    on_grid = np.asarray(values).reshape(*grid, *np.shape(values)[1:])
    picture = ax.imshow(on_grid, vmin=low, vmax=high, cmap=cmap, interpolation="nearest")
    if label:
        ax.figure.colorbar(picture, ax=ax, label=label, shrink=0.8)
    ax.set_axis_off()
    return ax


def plot_patch_maps(
    values: ArrayLike,
    grid: tuple[int, int],
    titles: Sequence[str] | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    label: str = "",
    cmap: str = "inferno",
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw patch maps that are to be compared, side by side on one color scale with one bar.

    Parameters
    ----------
    values : (K, M)
        One number per patch of each map.
    grid : (h, w)
        Rows and columns of patches.
    titles : sequence of K str, optional
        Over the maps.
    low, high : float, optional
        Color scale; the range of all values where not given.
    label : str
        Beside the color bar, which stands right of the last map.
    cmap : str
        matplotlib's name; "inferno" for scores and distances, "viridis" for similarities and counts.
    axes : sequence of K matplotlib Axes, optional
        A row of a figure of its own where not given.

    Returns
    -------
    list of K matplotlib Axes
    """
    values = np.asarray(values)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    if axes is None:
        axes = plt.subplots(1, len(values), figsize=(8, 8 / len(values) * grid[0] / grid[1] + 0.3), squeeze=False)[1][0]
    axes = list(axes)
    for ax, one in zip(axes, values, strict=True):
        plot_patch_map(one, grid, low=low, high=high, cmap=cmap, ax=ax)
    for ax, title in zip(axes, titles or [], strict=bool(titles)):
        ax.set_title(title)
    axes[0].figure.colorbar(axes[0].images[0], ax=axes, label=label, shrink=0.8, pad=0.01)
    return axes


def plot_plane(
    points: ArrayLike,
    scores: ArrayLike | None = None,
    *,
    selected: tuple[int, int] | None = None,
    n_closest: int = 0,
    high: float | None = None,
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw patches whose tokens are points in the plane, each with the number of its image.

    Parameters
    ----------
    points : (N, M, 2)
        Such as `musc_lite.exercises.toy_world` gives.
    scores : (N, M), optional
        Color the points.
    selected : (int, int), optional
        Image and patch that get a ring, and a line to the nearest point of each other image.
    n_closest : int
        How many of these lines are solid, nearest image first: those that make the score. The others are dashed.
    high : float, optional
        End of the color scale, which begins at 0; the highest score where not given.
    label : str
        Beside the color bar, which is drawn where a label is given.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    points = np.asarray(points, dtype=float)  # (N, M, 2)
    values = np.zeros(points.shape[:2]) if scores is None else np.asarray(scores, dtype=float)
    high = float(values.max()) if high is None else high
    if selected is not None:
        far, where = nearest_patches(points, *selected)
        for place, j in enumerate(far.argsort().tolist()[:-1]):  # the last is its own image, infinitely far
            style, color = ("-", "threshold") if place < n_closest else ("--", "unlabeled")
            x, y = np.stack([points[selected], points[j, int(where[j])]]).T
            ax.plot(x, y, linestyle=style, color=COLORS[color], linewidth=2, zorder=1)
        x, y = points[selected]
        ax.scatter(x, y, s=330, facecolor="none", edgecolor=COLORS["defective"], linewidth=2.5)
    x, y = points.reshape(-1, 2).T
    cmap = ListedColormap([COLORS["unlabeled"]]) if scores is None else HEAT
    drawn = ax.scatter(
        x, y, s=120, c=values.ravel(), cmap=cmap, vmin=0, vmax=high, edgecolor="white", linewidth=0.8, zorder=2
    )
    if label:
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8)
    for (i, m), value in np.ndenumerate(values):
        color = "black" if value > 0.6 * high else "white"
        ax.annotate(
            str(i), (points[i, m, 0], points[i, m, 1]), ha="center", va="center_baseline", size=7, color=color, zorder=3
        )
    ax.set(xticks=[], yticks=[], aspect="equal")
    return ax


def plot_distances(
    distances: Mapping[str, ArrayLike], interval: tuple[float, float] = (0.0, 0.3), ax: Axes | None = None
) -> Axes:
    """Draw the distances of some patches to all other images, nearest first, with the interval shaded.

    Parameters
    ----------
    distances : dict of name to (J,)
        For each patch its distance to the nearest patch of each of J images, such as one row of
        `nearest_distances`. The names "normal" and "defective" have their own colors.
    interval : (float, float)
        See `interval_average`; the mean over the shaded part is drawn dotted: the score of the patch.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    for name, values in distances.items():
        nearest_first = np.sort(np.asarray(values))
        n_others = len(nearest_first)
        first, last = interval_bounds(n_others, interval)
        (line,) = ax.plot(
            np.arange(1, n_others + 1), nearest_first, marker="o", markersize=3, label=name, color=COLORS.get(name)
        )
        score = nearest_first[first:last].mean()
        ax.hlines(score, first + 0.5, last + 0.5, color=line.get_color(), linestyle=":", linewidth=2.5)
        ax.annotate(f"{score:.2f}", (last + 0.5, score), xytext=(4, -11), textcoords="offset points", size=9)
    top = 1.1 * max(np.asarray(values).max() for values in distances.values())
    ax.axvspan(first + 0.5, last + 0.5, color=COLORS["threshold"], alpha=0.15, linewidth=0, label="interval")
    ax.set(xlabel="other images, nearest first", ylabel="distance", ylim=(0, top))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def plot_distance_matrix(
    distances: ArrayLike, rows: Sequence[str], interval: tuple[float, float] = (0.0, 0.3), ax: Axes | None = None
) -> Axes:
    """Draw nearest distances as a matrix: a row for each patch, a column for each other image, nearest first.

    Parameters
    ----------
    distances : (P, J)
        Distances of P patches to J images, in any order of the images.
    rows : P strings
        What each patch is.
    interval : (float, float)
        See `interval_average`; lines mark where it begins and ends.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    nearest_first = np.sort(np.asarray(distances), axis=1)
    sns.heatmap(nearest_first, cmap=HEAT, yticklabels=list(rows), cbar_kws={"label": "distance"}, ax=ax)
    n_others = nearest_first.shape[1]
    for edge in interval_bounds(n_others, interval):
        if 0 < edge < n_others:
            ax.axvline(edge, color=COLORS["threshold"], linewidth=2.5)
    ax.set(xlabel="other images, nearest first", xticks=[])
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


def plot_histogram(
    values: ArrayLike,
    defective: ArrayLike | None = None,
    *,
    xlabel: str = "",
    bins: int | Sequence[float] | np.ndarray = 30,
    ax: Axes | None = None,
) -> Axes:
    """Draw how values are distributed, normal against defective, each kind as shares of its own.

    Parameters
    ----------
    values : (n,)
        Of patches, pixels or images.
    defective : (n,) bool, optional
        Which of them are defective.
    xlabel : str
    bins : int or sequence of float
        Number or edges of the bins.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    values = np.asarray(values)
    kinds = _kinds(defective, len(values))
    hue_order = [kind for kind in (*KINDS, "unlabeled") if kind in kinds]
    sns.histplot(
        x=values,
        hue=kinds,
        hue_order=hue_order,
        palette=COLORS,
        bins=bins,
        stat="percent",
        common_norm=False,
        element="step",
        alpha=0.35,
        ax=ax,
    )
    ax.set(xlabel=xlabel, ylabel="share of each kind (%)" if defective is not None else "share (%)")
    if legend := ax.get_legend():
        legend.set_frame_on(False)
    sns.despine(ax=ax)
    return ax


def plot_lines(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    marker: str = "o",
    ax: Axes | None = None,
) -> Axes:
    """Draw curves: what a result becomes as one thing is swept, or a ROC or precision-recall curve.

    Parameters
    ----------
    lines : dict of name to (x, y)
        Drawn in this order, in colors and line styles that take turns.
    xlabel, ylabel : str
    marker : str
        matplotlib's; "" for curves of many points.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    for (name, (x, y)), color, style in zip(lines.items(), cycle(LINE_COLORS), cycle(["-", "--", "-.", ":"])):
        ax.plot(x, y, label=name, color=color, linestyle=style, marker=marker, markersize=5)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def plot_slopes(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    names: tuple[str, str] = ("before", "after"),
    ax: Axes | None = None,
) -> Axes:
    """Draw one line per image from its score before to its score after a change.

    Parameters
    ----------
    before, after : (N,)
        On one scale.
    labels : (N,), optional
        0 normal, 1 defective; colors the lines.
    names : (str, str)
        What stands under the two ends.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    before, after = np.asarray(before), np.asarray(after)
    kinds = _kinds(labels, len(before))
    for kind, style in (("unlabeled", "-"), ("normal", "-"), ("defective", "--")):
        here = kinds == kind
        if here.any():
            ends = np.stack([before[here], after[here]])  # (2, n)
            lines = ax.plot(ends, color=COLORS[kind], linestyle=style, marker="o", markersize=4, linewidth=1.2)
            lines[0].set_label(kind)
    ax.set(xticks=[0, 1], xticklabels=names, xlim=(-0.15, 1.15), ylabel="image score")
    if labels is not None:
        _legend_above(ax)
    sns.despine(ax=ax)
    return ax


def plot_ranking(
    image_scores: ArrayLike, threshold: float, labels: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Draw all image scores, most anomalous first, with the threshold.

    Parameters
    ----------
    image_scores : (N,)
    threshold : float
        Scores above it are outliers.
    labels : (N,), optional
        0 normal, 1 defective; colors the points.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    order = np.argsort(image_scores)[::-1]
    kinds = _kinds(labels, len(order))[order]
    hue_order = list(KINDS) if labels is not None else ["unlabeled"]
    sns.scatterplot(
        x=np.arange(1, len(order) + 1),
        y=np.asarray(image_scores)[order],
        hue=kinds,
        style=kinds,
        hue_order=hue_order,
        style_order=hue_order,
        palette=COLORS,
        markers={"normal": "o", "defective": "X", "unlabeled": "o"},
        s=36,
        ax=ax,
    )
    ax.axhline(threshold, color=COLORS["threshold"], linestyle="--", linewidth=1.5, label="threshold")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="rank", ylabel="image score")
    ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def plot_comparison(
    ours: Mapping[str, float], published: Mapping[str, float], name: str = "image AUROC", ax: Axes | None = None
) -> Axes:
    """Draw a metric of each category beside the published figure.

    Parameters
    ----------
    ours, published : dict of str to float
        Metric in 0..1 by category; categories without a published figure have one point.
    name : str
        Which metric.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    ax.scatter(list(ours.values()), list(ours), color=LINE_COLORS[0], label="musc_lite", zorder=3)
    for category, value in published.items():
        ax.plot([value, ours[category]], [category] * 2, color="0.8", linewidth=2, zorder=1)
    if published:
        ax.scatter(list(published.values()), list(published), color=LINE_COLORS[1], marker="D", s=24, label="published")
        _legend_above(ax)
    ax.set(xlabel=name, ylim=(len(ours) - 0.5, -0.5))
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    sns.despine(ax=ax, left=True)
    ax.tick_params(axis="y", length=0)
    return ax


def _kinds(labels: ArrayLike | None, n: int) -> np.ndarray:
    """Name the kind of each of n things: normal or defective by its label, unlabeled without labels."""
    if labels is None:
        return np.full(n, "unlabeled")
    return np.array(KINDS)[np.asarray(labels).astype(int)]


def _shortened(before: str, name: str, size: float, width: float) -> str:
    """Leave out as much of the beginning of a name as makes a line of this font size too wide, in points."""
    font, shown = FontProperties(size=size), name
    while shown and text_to_path.get_text_width_height_descent(before + shown, font, ismath=False)[0] > width:
        name = name[1:]
        shown = "…" + name if name else ""
    return before + shown


def _legend_above(ax: Axes) -> None:
    """Put the legend over the axes, where it covers no data."""
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.3)
