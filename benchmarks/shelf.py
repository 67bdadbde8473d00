"""The shelf: all methods and the settings of mutual scoring on the same patch vectors, over several sets.

    python benchmarks/shelf.py SET=FOLDER ... [--size 448] [--only TEXT ...]
    python benchmarks/shelf.py --growth 20 40 80

Sets are given as to benchmarks/views.py: folders of photos with labels, `tiles=FOLDER`, `textiles=FOLDER` (of which
both `local` and `global` are scored, 70 normal and 30 defective images each), `brick=SEED`, `grass=SEED`,
`gravel=SEED`. Each set goes through the backbone once, square, 224 pixels if nothing else is said, all blocks. Printed
for each set and method: image AUROC before re-scoring, of the largest value of the map and of the mean of its highest
0.5 %, and seconds of scoring; then mean, worst case and mean rank over the sets, and what comes of it to choose the
method on all sets but one and to use it on that one. `--growth` prints seconds alone, for batches of n images.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

import musc_lite
from musc_lite.data.datasets import look_up

LARGEST = 100  # images of a set
MIDDLE, EVEN, DEEP = (4, 5, 6, 7, 8, 9), (2, 5, 8, 11), (4, 6, 8)
MUTUAL, BROAD = musc_lite.MutualScorer, musc_lite.MutualScorer((0.1, 0.5))
BOTH = musc_lite.Fusion([BROAD, musc_lite.SubspaceScorer()])


def part(layers, aggregation, scorer) -> dict:
    """Name the parts of a method."""
    return {"layers": layers, "aggregation": aggregation, "scorer": scorer}


def lnamd(*r: int) -> musc_lite.LNAMD:
    """Return the paper's aggregation."""
    return musc_lite.LNAMD(r)


METHODS = {
    "published: even blocks, r 1 3 5": part(EVEN, lnamd(1, 3, 5), MUTUAL()),
    "mutual, default: blocks 4-9, r 1 3": part(MIDDLE, lnamd(1, 3), MUTUAL()),
    "mutual, 0.1 to 0.5": part(MIDDLE, lnamd(1, 3), BROAD),
    "mutual, 0 to 0.1": part(MIDDLE, lnamd(1, 3), MUTUAL((0.0, 0.1))),
    "mutual, r 1": part(MIDDLE, lnamd(1), MUTUAL()),
    "mutual, r 3": part(MIDDLE, lnamd(3), MUTUAL()),
    "mutual, blocks 4 6 8": part(DEEP, lnamd(1, 3), MUTUAL()),
    "mutual, SNAMD 1 3 5": part(MIDDLE, musc_lite.SNAMD((1, 3, 5)), MUTUAL()),
    "nearest": part(MIDDLE, lnamd(1, 3), musc_lite.NearestScorer()),
    "memory bank, a tenth": part(MIDDLE, lnamd(1, 3), musc_lite.MemoryBankScorer()),
    "subspace, 95 %": part(MIDDLE, lnamd(1, 3), musc_lite.SubspaceScorer()),
    "subspace, 95 %, r 3": part(MIDDLE, lnamd(3), musc_lite.SubspaceScorer()),
    "gaussian": part(MIDDLE, lnamd(1, 3), musc_lite.GaussianScorer()),
    "gaussian, each place": part(MIDDLE, lnamd(1, 3), musc_lite.GaussianScorer(per_position=True)),
    "fusion of mutual and subspace": part(MIDDLE, lnamd(1, 3), musc_lite.Fusion()),
    "fusion of 0.1 to 0.5 and subspace": part(
        MIDDLE, lnamd(1, 3), musc_lite.Fusion([BROAD, musc_lite.SubspaceScorer()])
    ),
}


def load(name: str, folder: str) -> dict[str, musc_lite.ImageSet]:
    """Load a set, or two: {name: images}, at most 100 of each."""
    if name == "textiles":
        found = {}
        for category in ("local", "global"):
            images = look_up("textiles").load(Path(folder), category)
            kinds = [np.flatnonzero(images.labels == label)[:n] for label, n in ((0, 70), (1, 30))]
            found[f"textiles {category}"] = images.subset(np.concatenate(kinds))
        return found
    if name in ("brick", "grass", "gravel"):
        return {f"{name} {folder}": musc_lite.planted_textures(name, 40, 12, seed=int(folder))}
    images = musc_lite.load_magnetic_tile(folder) if name == "tiles" else musc_lite.load_folder(folder)
    if len(images) > LARGEST:
        images = images.subset(np.linspace(0, len(images) - 1, LARGEST).round().astype(int))
    return {name: images}


def of_layers(features: musc_lite.Features, layers: tuple[int, ...]) -> musc_lite.Features:
    """Take some layers of features."""
    places = [features.layers.index(layer) for layer in layers]
    return replace(features, patch_tokens=features.patch_tokens[:, places], layers=layers)


def score(features: musc_lite.Features, images: musc_lite.ImageSet, backbone: musc_lite.Backbone, method: str):
    """Score a batch by one method: (detector, seconds)."""
    parts, start = METHODS[method], time.perf_counter()
    detector = musc_lite.Detector(backbone, view=musc_lite.View(features.resolved_view.size), **parts)
    detector.fit_features(of_layers(features, parts["layers"]), images)
    return detector, time.perf_counter() - start


def measure(images: musc_lite.ImageSet, backbone: musc_lite.Backbone, methods: list[str], size: int) -> np.ndarray:
    """Score one set by all methods: (AUROC, AUROC of the highest 0.5 %, seconds) of each."""
    view = musc_lite.View(size)
    features = musc_lite.extract_features(images, backbone, layers=range(backbone.depth), view=view, progress=False)
    found = np.zeros((len(methods), 3))
    for k, method in enumerate(methods):
        detector, seconds = score(features, images, backbone, method)
        pooled = [musc_lite.image_scores_from_maps(detector.anomaly_maps_, pooling) for pooling in ("max", 0.005)]
        found[k] = *(musc_lite.evaluate(images.labels, p.numpy()).image_auroc for p in pooled), seconds
        print(f"| {method} | {found[k, 0]:.3f} | {found[k, 1]:.3f} | {seconds:.1f} |", flush=True)
    return found


def print_summary(methods: list[str], values: np.ndarray, names: list[str]) -> None:
    """Compare methods over sets by image AUROC, (sets, methods)."""
    ranks = np.mean([rankdata(-row) for row in values], axis=0)
    print(f"\nOver {len(values)} sets, largest value\n\n| method | mean | worst | mean rank |\n|---|---|---|---|")
    for k in np.argsort(ranks, kind="stable"):
        print(f"| {methods[k]} | {values[:, k].mean():.3f} | {values[:, k].min():.3f} | {ranks[k]:.1f} |")
    print("\nChosen by the mean over all other sets\n\n| set | method | here | the best here |\n|---|---|---|---|")
    for row, name in enumerate(names):
        k = np.delete(values, row, axis=0).mean(axis=0).argmax()
        print(f"| {name} | {methods[k]} | {values[row, k]:.3f} | {values[row].max():.3f} |")


def print_growth(methods: list[str], backbone: musc_lite.Backbone, sizes: list[int]) -> None:
    """Time methods on batches of brick."""
    print(f"\nSeconds of scoring\n\n| method |{''.join(f' {n} |' for n in sizes)}\n|---|{'---|' * len(sizes)}")
    batches = [musc_lite.planted_textures("brick", n, n // 4) for n in sizes]
    each = [musc_lite.extract_features(b, backbone, layers=range(backbone.depth), progress=False) for b in batches]
    for method in methods:
        seconds = [score(f, b, backbone, method)[1] for f, b in zip(each, batches, strict=True)]
        print(f"| {method} |{''.join(f' {s:.1f} |' for s in seconds)}", flush=True)


def main() -> None:
    """Print a table a set, and one over all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET=FOLDER")
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--only", nargs="+", default=[""], help="methods whose name holds one of these texts")
    parser.add_argument("--growth", type=int, nargs="+", default=[], help="time batches of so many images")
    given = parser.parse_args()
    methods = [method for method in METHODS if any(text in method for text in given.only)]
    backbone, results = musc_lite.load_backbone("dinov2_vits14"), {}
    for each in given.sets:
        for name, images in load(*each.split("=", 1)).items():
            print(f"\n{name}: {len(images)} images, {int(images.labels.sum())} defective, {given.size} pixels\n")
            print("| method | largest value | highest 0.5 % | scoring (s) |\n|---|---|---|---|")
            results[name] = measure(images, backbone, methods, given.size)
    if len(results) > 1:
        print_summary(methods, np.array([found[:, 0] for found in results.values()]), list(results))
    if given.growth:
        print_growth(methods, backbone, given.growth)


if __name__ == "__main__":
    main()
