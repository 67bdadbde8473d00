"""How few images suffice: the magnetic tiles divided into s subsets, each scored apart.

    python benchmarks/subsets.py ROOT
    python benchmarks/subsets.py ROOT --subsets 1 2 4 8 --seeds 3

Each type of defect is dealt out evenly, as the published code does. Prints a Markdown table: metrics as the mean over
seeds, and the lowest and highest image AUROC; seconds are those of scoring, features are made once.
"""

import argparse
import tempfile
import time

import numpy as np

import musc_lite
from musc_lite.benchmark import divide, score_subsets


def measure(images, detector, n_subsets, seed):
    """Divide, score, evaluate: metrics and seconds."""
    start = time.perf_counter()
    scores = score_subsets(detector, images, divide(images.names, n_subsets, seed=seed))
    seconds = time.perf_counter() - start
    masks = images.masks(scores.anomaly_maps.shape[1:])
    return musc_lite.evaluate(images.labels, scores.image_scores, masks, scores.anomaly_maps), seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder that holds MT_Free, MT_Crack, ...")
    parser.add_argument("--subsets", type=int, nargs="+", default=[1, 2, 3, 4, 6])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    images = musc_lite.load_magnetic_tile(arguments.root)
    print(f"{images}\n")
    columns = ("s", "images each", "image AUROC", "lowest to highest", "image AP", "pixel AUROC", "pixel AP", "AUPRO")
    print(f"| {' | '.join((*columns, 'seconds'))} |\n{'|---' * 9}|")
    with tempfile.TemporaryDirectory() as cache:
        detector = musc_lite.MuSc(musc_lite.load_backbone("dinov2_vits14"), cache_dir=cache)
        musc_lite.extract_features(images, detector.backbone, cache_dir=cache)
        for s in arguments.subsets:
            seeds = range(arguments.seeds if s > 1 else 1)
            runs = [measure(images, detector, s, seed) for seed in seeds]
            aurocs = [metrics.image_auroc for metrics, _ in runs]
            names = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")
            auroc, *others = (f"{np.mean([getattr(metrics, name) for metrics, _ in runs]):.3f}" for name in names)
            spread = f"{min(aurocs):.3f} to {max(aurocs):.3f}" if s > 1 else ""
            seconds = np.mean([seconds for _, seconds in runs])
            row = (str(s), str(len(images) // s), auroc, spread, *others, f"{seconds:.0f}")
            print(f"| {' | '.join(row)} |", flush=True)
