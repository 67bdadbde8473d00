"""Where boxes lie: how much of a defective photo is called defective, and how well that fits its mask.

    python benchmarks/defects.py brick=0 grass=0 gravel=0 boards=FOLDER toys=FOLDER tiles=FOLDER textiles=FOLDER

Two rules for the threshold of an image's map: half way from its median to its highest value; and that, but at least
three tenths of the way from what is high in a usual image (`typical_p95`) to the highest value, as
`find_defects` does. Each defective photo is asked, whether it stands out or not. 224 px, default settings; textures
by their seed.
"""

import sys
import warnings

import numpy as np
from views import load

import musc_lite
from musc_lite.results.segmentation import pixel_threshold
from musc_lite.stages.maps import typical_p95


def measure(images: musc_lite.ImageSet) -> list[list[float]]:
    """Return for both rules the share of a photo that is called (median), and precision, recall and F1 of pixels."""
    detector = musc_lite.MuSc().fit(images)
    maps, rows = detector.anomaly_maps_, []
    masks = images.masks(maps.shape[1:]) > 0 if images.has_masks else np.zeros(maps.shape, bool)
    for usual in (-np.inf, typical_p95(maps)):
        called = [(maps[i] > pixel_threshold(maps[i], usual), masks[i]) for i in np.flatnonzero(images.labels)]
        fits = []
        for over, mask in called:
            if mask.any():
                hit = (over & mask).sum()
                fits.append((hit / over.sum(), hit / mask.sum(), 2 * hit / (over.sum() + mask.sum())))
        areas = [over.mean() for over, _ in called]
        rows.append([float(np.median(areas)), *(np.mean(fits, axis=0).tolist() if fits else [np.nan] * 3)])
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("set            rule                 photo called  precision  recall     F1")
    for argument in sys.argv[1:] or ("brick=0", "grass=0", "gravel=0"):
        name, _, folder = argument.partition("=")
        for rule, (area, *fit) in zip(("half way", "above usual high too"), measure(load(name, folder)), strict=True):
            print(f"{name:14} {rule:20} {area:12.3f} " + " ".join(f"{value:8.2f}" for value in fit))
