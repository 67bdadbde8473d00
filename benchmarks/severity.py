"""Does severity follow how bad a planted defect is: its rank agreement (Spearman) beside that of the image score.

    python benchmarks/severity.py [--seeds 0 1]

For each texture and kind of defect a batch of 30 normal images and 20 with one defect each: of rising size (0.4 to 10 %
of the picture, at full strength) or of rising contrast (a quarter to all of it, at 3 %). Each lies at a random place of
another crop. The truth is the area of the mask, or the strength. Default settings, 224 pixels.
"""

import argparse
from unittest.mock import patch

import numpy as np
from scipy.stats import spearmanr

import musc_lite
from musc_lite.data import synthetic

N_GOOD, N_RISING = 30, 20
KINDS = ("hole", "foreign", "stain", "blur")  # those that are spots


def plant(clean: np.ndarray, kind: str, name: str, area: float, strength: float, seed: list[int]) -> tuple:
    """Plant a defect of some area and strength: (H, W, 3) uint8, and the share of the picture that it covers."""
    with patch.object(synthetic, "AREA", (area, area)):
        defect, coverage = synthetic._PLANT[kind](np.random.default_rng(seed), clean, name)
    defect = np.clip(defect, clean.min(axis=(0, 1)), clean.max(axis=(0, 1)))
    planted = clean + strength * coverage[..., None] * (defect - clean)
    return np.rint(255 * planted).astype(np.uint8), (coverage >= synthetic.MIN_COVERAGE).mean()


def rising(name: str, kind: str, what: str, seed: int) -> tuple[musc_lite.ImageSet, np.ndarray]:
    """Make a batch whose last images get worse, and how bad these are."""
    pictures = [np.asarray(image) for image in musc_lite.planted_textures(name, N_GOOD + N_RISING, 0, seed=seed)]
    truth = []
    for k, level in enumerate(np.linspace(0, 1, N_RISING)):
        area, strength = (0.004 * 25**level, 1.0) if what == "size" else (0.03, 0.25 + 0.75 * level)
        clean = pictures[N_GOOD + k] / 255
        pictures[N_GOOD + k], share = plant(clean, kind, name, area, strength, [seed, k])
        truth.append(share if what == "size" else strength)
    return musc_lite.from_arrays(pictures), np.array(truth)


def measure(images: musc_lite.ImageSet, truth: np.ndarray, backbone: musc_lite.Backbone) -> list[float]:
    """Return the rank agreement of image score, score of the map, severity, area and depth with the truth."""
    detector = musc_lite.MuSc(backbone).fit(images)
    scores, called = detector.patch_scores_, detector.scores_.is_outlier
    regions = musc_lite.find_regions(scores, detector.features_.grid, range(N_GOOD, N_GOOD + N_RISING))
    found, strongest = musc_lite.severity(regions, scores, called), regions.strongest
    ways = [detector.image_scores_[N_GOOD:], detector.map_scores_[N_GOOD:]]
    ways += [values[strongest] for values in (found.values, found.areas, found.contrast)]
    return [float(spearmanr(way, truth).statistic) for way in ways]


def main() -> None:
    """Print a table for each way in which a defect rises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    seeds, backbone = parser.parse_args().seeds, musc_lite.load_backbone("dinov2_vits14")
    for what in ("size", "contrast"):
        print(f"\nrising {what}, mean over seeds {', '.join(map(str, seeds))}\n")
        print("| texture | kind | image score | of the map | severity | area | depth |\n|---|---|---|---|---|---|---|")
        rows = []
        for name in synthetic.PHOTOS:
            for kind in KINDS:
                found = [measure(*rising(name, kind, what, seed), backbone) for seed in seeds]
                rows.append(np.mean(found, axis=0))
                print(f"| {name} | {kind} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |", flush=True)
        print("| all | mean | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")
        print("| all | lowest | " + " | ".join(f"{value:.2f}" for value in np.min(rows, axis=0)) + " |", flush=True)


if __name__ == "__main__":
    main()
