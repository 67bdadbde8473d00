"""Draw the picture at the top of the README: python benchmarks/overview_picture.py notebooks/overview.jpg."""

import sys

import numpy as np
from matplotlib.figure import Figure

import musc_lite
from musc_lite.data.synthetic import PHOTOS
from musc_lite.reports.plots import map_color_limits, plot_anomaly_map

if __name__ == "__main__":
    figure = Figure(figsize=(10, 3.9), dpi=110, layout="constrained")
    rows = figure.subplots(2, 6)
    backbone = musc_lite.load_backbone("dinov2_vits14")
    for column, name in enumerate(PHOTOS):
        images = musc_lite.planted_textures(name)
        detector = musc_lite.MuSc(backbone).fit(images)
        low, high = map_color_limits(detector.anomaly_maps_)
        masks = images.masks(224)
        ranked = np.argsort(-detector.image_scores_)
        second = next(i for i in ranked[1:] if images.names[i][-4:] != images.names[ranked[0]][-4:])
        calm = ranked[len(ranked) // 2]
        for cell, i in enumerate([ranked[0], second] if column < 2 else [ranked[0], calm]):
            above, below = rows[:, 2 * column + cell]
            plot_anomaly_map(images[i], np.zeros((224, 224)), low=low, high=high, mask=masks[i], ax=above)
            plot_anomaly_map(images[i], detector.anomaly_maps_[i], low=low, high=high, ax=below)
            above.set_title(images.names[i].replace("_", " "), fontsize=9)
            below.set_title(f"score {detector.image_scores_[i]:.2f}", fontsize=9)
    figure.savefig(sys.argv[1])
