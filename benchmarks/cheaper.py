"""What cheaper mutual scoring saves and what it costs: references, principal components, a window.

    python benchmarks/cheaper.py               # planted-defect textures
    python benchmarks/cheaper.py --tiles ROOT  # and 120 magnetic tiles

For each data set of 120 images (256 patches, DINOv2 ViT-S/14, default layers and r): how many times as fast as the
published way (torch.cdist of one image against all others) scoring one layer is, methods taking turns, median of the
rounds, two threads; and image AUROC, pixel AP and rank correlation of the patch scores with the exact ones, over all
layers and r, before re-scoring.
"""

import argparse
import statistics

import numpy as np
import torch
from mutual_scoring import published_scores, seconds
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

import musc_lite
from musc_lite.stages.mutual_scoring import mutual_scores

WAYS = {
    "exact": {},
    "half precision": {"half": True},
    "references=40": {"references": 40},
    "references=20": {"references": 20},
    "n_components=128": {"n_components": 128},
    "n_components=64": {"n_components": 64},
    "references=40, n_components=128": {"references": 40, "n_components": 128},
    "references=40, n_components=64": {"references": 40, "n_components": 64},
    "references=20, n_components=64": {"references": 20, "n_components": 64},
    "search_window=1": {"search_window": 1},
    "search_window=2": {"search_window": 2},
    "search_window=4": {"search_window": 4},
}
ROUNDS = 3


def score(tokens, half=False, **options):
    """Score by one of the ways."""
    return mutual_scores(tokens.half() if half else tokens, **options)


def compare(name, images, backbone, ways):
    """Print a Markdown table for one data set."""
    features = musc_lite.extract_features(images, backbone)
    all_tokens = [
        musc_lite.aggregate(features.patch_tokens[:, s], features.grid, r)
        for s in range(len(features.layers))
        for r in backbone.default_r
    ]
    masks = images.masks(features.image_size)
    print(
        f"\n{name}: {images}\n\n| | times as fast | image AUROC | pixel AP | rank correlation |\n|---|---|---|---|---|"
    )
    one, exact, times = all_tokens[-1], None, {way: [] for way in ways}
    for _ in range(ROUNDS):
        published = seconds(published_scores, one)
        for way, options in ways.items():
            times[way].append(published / seconds(lambda tokens, chosen=options: score(tokens, **chosen), one))
    for way, options in ways.items():
        patch_scores = torch.stack([score(tokens, **options) for tokens in all_tokens]).mean(dim=0)
        exact = patch_scores if exact is None else exact
        maps = musc_lite.upsample_maps(patch_scores, features.grid, features.image_size)
        image_auroc = roc_auc_score(images.labels, musc_lite.image_scores_from_maps(maps))
        pixel_ap = average_precision_score(masks.ravel(), maps.ravel())
        correlation = spearmanr(patch_scores.ravel(), exact.ravel()).statistic
        print(
            f"| {way} | {statistics.median(times[way]):.1f} | {image_auroc:.3f} | {pixel_ap:.3f} | {correlation:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", help="folder of the magnetic tile data set")
    parser.add_argument("--only", default="", help="measure the exact way and those whose name holds this word")
    arguments = parser.parse_args()
    ways = {way: options for way, options in WAYS.items() if arguments.only in way or way == "exact"}
    torch.set_num_threads(2)
    backbone = musc_lite.load_backbone("dinov2_vits14")
    if arguments.tiles:
        tiles = musc_lite.load_magnetic_tile(arguments.tiles)
        compare("magnetic tiles", tiles.subset(np.random.default_rng(0).permutation(len(tiles))[:120]), backbone, ways)
    for texture in ("brick", "gravel"):
        compare(texture, musc_lite.planted_textures(texture, n_images=120, n_defective=36), backbone, ways)
