"""Pictures of results: arrays in, matplotlib axes (or RGB arrays) out; nothing here saves or shows.

One palette, safe for color-blind readers, and readable on light and dark pages.
"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image

__all__ = ["COLORS", "color_range", "overlay", "plot_anomaly_map", "plot_ranking"]

COLORS = {"normal": "#0072B2", "defective": "#D55E00", "unlabeled": "#777777", "threshold": "#009E73"}  # Okabe and Ito
HEAT = matplotlib.colormaps["inferno"]


def color_range(maps: ArrayLike) -> tuple[float, float]:
    """Choose one color scale for the maps of a whole batch, so that normal images stay calm.

    Parameters
    ----------
    maps : (N, H, W)
        Anomaly maps of one batch.

    Returns
    -------
    low, high : float
        Below the upper quartile of a typical image's pixels nothing is colored; the scale ends at the batch's 99.9th
        percentile. So that a batch without defects is not painted red, it reaches at least five times as far above
        the quartile as that lies above the median, and at least 0.02: less means nothing between unit vectors.

    Examples
    --------
    >>> color_range(np.arange(101.0).reshape(1, 1, 101))
    (75.0, 200.0)
    """
    median, low = np.median(np.percentile(maps, [50, 75], axis=(1, 2)), axis=1)  # of each image; then the typical one
    return float(low), float(max(np.percentile(maps, 99.9), low + 5 * (low - median), low + 0.02))


def overlay(image: Image.Image | ArrayLike, anomaly_map: ArrayLike, low: float, high: float) -> np.ndarray:
    """Lay an anomaly map over its image, the more opaque the more anomalous.

    Parameters
    ----------
    image : PIL image or (H', W', 3) array of uint8
        Of any size and shape.
    anomaly_map : (H, W)
        Stretched over the image: the backbone saw the image as a square.
    low, high : float
        Color scale, usually `color_range` of the whole batch.

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
    stretched = stretch(anomaly_map, pixels.shape[:2], Image.Resampling.BILINEAR)
    heat = np.clip((stretched - low) / (high - low), 0, 1)  # (H', W')
    opacity = 0.85 * heat[..., None] ** 0.75
    blended = (1 - opacity) * pixels + opacity * HEAT(0.25 + 0.7 * heat)[..., :3]
    return np.rint(255 * blended).astype(np.uint8)


def stretch(values: ArrayLike, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Resize a map or mask (H, W) to another size (H', W')."""
    values = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(values.resize(size[::-1], resampling))


def plot_anomaly_map(
    image: Image.Image | ArrayLike,
    anomaly_map: ArrayLike,
    *,
    low: float,
    high: float,
    mask: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an image under its anomaly map, with the outline of its true defect where a mask is given.

    Parameters
    ----------
    image : PIL image or (H', W', 3) array
    anomaly_map : (H, W)
    low, high : float
        Color scale, usually `color_range` of the whole batch.
    mask : (H, W), optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plt.gca() if ax is None else ax
    pixels = overlay(image, anomaly_map, low, high)
    ax.imshow(pixels)
    if mask is not None and np.any(mask):
        outline = stretch(mask, pixels.shape[:2], Image.Resampling.NEAREST)
        ax.contour(outline, levels=[0.5], colors="#56B4E9", linewidths=1.5)
    ax.set_axis_off()
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
    names = np.array(["normal", "defective"])[np.asarray(labels)] if labels is not None else np.array(["unlabeled"])
    names = np.broadcast_to(names, len(order))[order]
    hue_order = ["normal", "defective"] if labels is not None else ["unlabeled"]
    sns.scatterplot(
        x=np.arange(1, len(order) + 1),
        y=np.asarray(image_scores)[order],
        hue=names,
        style=names,
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
