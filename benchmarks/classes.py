"""Kinds of defect: how well the images that stand out are sorted, without a label.

    python benchmarks/classes.py SET ...

Sets: `tiles=FOLDER` (the magnetic tiles, five kinds), `brick=SEED`, `grass=SEED`, `gravel=SEED` (80 planted textures,
30 of them defective, five kinds). Default settings, 224 pixels. Printed for each set: NMI (normalized mutual
information), ARI (adjusted Rand index) and F1 after Hungarian matching (micro average: the share of images in the
matching class)

- with the true set of defective images and the number of kinds given, beside two baselines, class tokens and the mean
  of all patches, clustered in the same way;
- the same where the number of kinds is looked for, with the number found;
- over all images, normal ones being one more class, with the images that the detector calls.

Then how well the regions meet the true masks, on patches: intersection over union by the threshold that is used, by
Otsu's and by main element binarization.
"""

import argparse

import numpy as np
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment
from skimage.filters import threshold_otsu
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import musc_lite
from musc_lite.analysis.regions import HALF

K = 5  # kinds
TOUCHING = np.ones((3, 3))


def load(name: str, where: str) -> tuple[musc_lite.ImageSet, np.ndarray]:
    """Load a set and the kind of each image."""
    if name == "tiles":
        images = musc_lite.load_magnetic_tile(where)
        return images, np.array([file.split("/")[0] for file in images.names])
    images = musc_lite.planted_textures(name, 80, 30, seed=int(where))
    return images, np.array([file.split("_")[-1] for file in images.names])


def agreement(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compare two ways of sorting: NMI, ARI, F1."""
    (_, rows), (_, columns) = np.unique(found, return_inverse=True), np.unique(true, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=int)
    np.add.at(table, (rows, columns), 1)
    matched = table[linear_sum_assignment(-table)].sum() / len(true)
    return np.array([normalized_mutual_info_score(true, found), adjusted_rand_score(true, found), matched])


def main_element(scores: np.ndarray, low: float, high: float, grid: tuple[int, int], n_levels: int = 64) -> float:
    """Find the lowest threshold of the longest run of thresholds that leave the same number of regions (MEBin)."""
    levels = np.linspace(high, low, n_levels, endpoint=False)
    counts = [label((scores > t).reshape(grid), TOUCHING)[1] for t in levels]
    best, start = (0, 0), 0
    for end in range(1, n_levels + 1):
        if end == n_levels or counts[end] != counts[start]:
            if counts[start]:
                best = max(best, (end - start, end - 1))
            start = end
    return levels[best[1]]


def overlaps(scores: np.ndarray, images: musc_lite.ImageSet, features: musc_lite.Features) -> np.ndarray:
    """Return the mean intersection over union with the true masks, by three thresholds."""
    shares = musc_lite.patch_shares(images.masks(features.image_size), features.grid)
    low, high, found = scores.max(axis=1).min(), scores.max(), []
    for i in np.flatnonzero(images.labels):
        true = shares[i] >= min(0.25, shares[i].max())
        half = np.median(scores[i]) + HALF * (scores[i].max() - np.median(scores[i]))
        thresholds = half, threshold_otsu(scores[i]), main_element(scores[i], low, high, features.grid)
        marked = [scores[i] > t for t in thresholds]
        found.append([(true & m).sum() / (true | m).sum() for m in marked])
    return np.mean(found, axis=0)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET")
    backbone, regions = musc_lite.load_backbone("dinov2_vits14"), {}
    print("| set | way | images | kinds | NMI | ARI | F1 |\n|---|---|---|---|---|---|---|")
    for each in parser.parse_args().sets:
        images, kinds = load(*each.split("=", 1))
        detector = musc_lite.MuSc(backbone).fit(images)
        features, scores, defective = detector.features_, detector.patch_scores_, images.labels == 1
        tokens = [
            musc_lite.aggregate(features.patch_tokens[:, s], features.grid, 1) for s in range(len(features.layers))
        ]
        whole = np.concatenate([t.mean(dim=1).numpy() for t in tokens], axis=1)[defective]
        given, found = (musc_lite.defect_classes(features, scores, defective, k).labels[defective] for k in (K, None))
        called = detector.scores_.is_outlier
        by_called = [musc_lite.defect_classes(features, scores, called, k).labels for k in (K, None)]
        rows = {
            "class tokens, 5": (kinds[defective], musc_lite.cluster_vectors(features.class_tokens[defective], K)),
            "mean of all patches, 5": (kinds[defective], musc_lite.cluster_vectors(whole, K)),
            "regions, 5": (kinds[defective], given),
            "regions, number found": (kinds[defective], found),
            f"all images, {called.sum()} called, 5": (kinds, by_called[0]),
            f"all images, {called.sum()} called, number found": (kinds, by_called[1]),
        }
        for way, (true, sorted_) in rows.items():
            numbers = " | ".join(f"{value:.3f}" for value in agreement(true, sorted_))
            print(f"| {each.split('/')[0]} | {way} | {len(true)} | {sorted_.max() + 1} | {numbers} |", flush=True)
        regions[each.split("=")[0] + each[-1:]] = overlaps(scores.mean(axis=(0, 1)), images, features)
    print("\n| set | half way | Otsu | main element |\n|---|---|---|---|")
    for name, values in regions.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


if __name__ == "__main__":
    main()
