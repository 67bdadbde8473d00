"""Draw the picture at the top of the README: python benchmarks/product_picture.py notebooks/product.jpg.

Twenty-five photographs of one cup (scikit-image's, CC0), each shifted, turned and lit a little differently; one has a
chip painted into its rim. They are scored by mutual comparison, without labels.
"""

import sys

import numpy as np
import skimage.data
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageEnhance

import musc_lite
from musc_lite.reports.plots import map_color_limits, plot_anomaly_map, plot_image

CUP = (170, 70, 450, 350)  # left, top, right, bottom


def photographs(n_images: int = 25, defective: int = 13, seed: int = 0) -> list[Image.Image]:
    """Return square photographs of the cup in slightly different poses; one of them is chipped."""
    cup, rng = Image.fromarray(skimage.data.coffee()), np.random.default_rng(seed)
    found = []
    for i in range(n_images):
        photo = cup.copy()
        if i == defective:
            ImageDraw.Draw(photo).ellipse((258, 187, 284, 207), fill=cup.getpixel((270, 217)))
        angle, (x, y), light = rng.uniform(-2, 2), rng.integers(-4, 5, 2).tolist(), rng.uniform(0.95, 1.05)
        photo = photo.rotate(angle, Image.Resampling.BICUBIC, center=(310, 210), translate=(x, y))
        found.append(ImageEnhance.Brightness(photo.crop(CUP)).enhance(light))
    return found


if __name__ == "__main__":
    photos = photographs()
    detector = musc_lite.MuSc(image_size=448).fit(photos)
    maps, scores = detector.anomaly_maps_, detector.image_scores_
    ranking = np.argsort(-scores)
    low, high = map_color_limits(maps)
    figure = Figure(figsize=(10, 3.7), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.7, 6.3))
    for i, (ax, photo) in enumerate(zip(left.subplots(5, 5).flat, photos, strict=True)):
        plot_image(photo, ax=ax)
        if i == ranking[0]:
            frame = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor="#d55e00", linewidth=5)
            ax.add_patch(frame)
    left.suptitle("25 photos, no labels", fontsize=11)
    first, second = right.subplots(1, 2)
    plot_image(photos[ranking[0]], ax=first)
    first.set_title(
        f"rank 1: score {scores[ranking[0]]:.2f}\n(the others: up to {scores[ranking[1]]:.2f})", fontsize=11
    )
    plot_anomaly_map(photos[ranking[0]], maps[ranking[0]], low=low, high=high, ax=second)
    second.set_title("its anomaly map:\na chip in the rim", fontsize=11)
    figure.savefig(sys.argv[1], pil_kwargs={"quality": 88})
    print(ranking[:3], scores[ranking[:3]].round(3))
