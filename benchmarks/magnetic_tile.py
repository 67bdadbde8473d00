"""Magnetic tiles with the paper's settings and with the embedded backbone's own.

    python benchmarks/magnetic_tile.py ROOT

ROOT is a folder of the magnetic tile data set (Huang, Qiu, Yuan 2018; `MT_Free`, `MT_Blowhole`, ...). Prints one
Markdown table at 224 px with the embedded DINOv2 ViT-S/14: image AUROC before and after re-scoring, the other
metrics, seconds of each stage.
"""

import argparse

import musc_lite
from musc_lite.results.metrics import evaluate_scores

SETTINGS = {"paper: even, r = 1, 3, 5": {"layers": "even", "r": (1, 3, 5)}, "default: middle, r = 1, 3": {}}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--cache-dir")
    arguments = parser.parse_args()
    images = musc_lite.load_magnetic_tile(arguments.root)
    backbone = musc_lite.load_backbone("dinov2_vits14")
    print(images)
    for number, (title, settings) in enumerate(SETTINGS.items()):
        detector = musc_lite.MuSc(backbone, **settings, cache_dir=arguments.cache_dir).fit(images)
        before = musc_lite.evaluate(labels=images.labels, image_scores=detector.map_scores_).image_auroc
        row = {"image_auroc before": before} | evaluate_scores(detector.scores_).asdict()
        row |= {f"{stage} (s)": value for stage, value in detector.seconds_.items()}
        if number == 0:
            print(f"| settings | {' | '.join(row)} |\n|---{'|---' * len(row)}|")
        cells = [f"{v:.1f}" if name.endswith("(s)") else f"{v:.3f}" for name, v in row.items()]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
