"""Two figures of the paper, on data at hand: who finds a similar patch, and where the interval should end.

    python benchmarks/paper_figures.py [--seeds 0 1 2 3 4] [--tiles data/magnetic_tile] [--parts data/parts]

Tokens of block 7 of DINOv2 ViT-S/14 at 224 px, r = 3, as in notebook 03. Prints two Markdown tables and writes their
figures, notebooks/similar_patches.png and notebooks/interval_ends.png:

- in which share of the other images a patch finds one closer than 0.5, normal against defective patches; photos of
  parts have no masks: of each the patch that finds its like in the fewest;
- image AUROC (largest patch score) and patch AP for each end of the interval (0, end): the mean and the range over
  seeds of `planted_textures`, and over as many draws of half of the magnetic tiles.

Tiles and parts are left out where no folder is given (`data_scripts/get_magnetic_tile.py`, `get_boards_and_toys.py`).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

import musc_lite
from musc_lite.data.synthetic import PHOTOS
from musc_lite.reports.plots import LINE_COLORS, plot_histogram

IMAGE_SIZE, LAYER, R, THRESHOLD = 224, 7, 3, 0.5
ENDS = [0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0]
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@dataclass
class Batch:
    """Nearest distances of one batch, with what is known of it."""

    distances: Tensor  # (N, M, N - 1)
    labels: np.ndarray  # (N,)
    defective: np.ndarray | None  # (N, M)

    @property
    def similar(self) -> np.ndarray:
        """The share of the other images that hold a similar patch, (N, M)."""
        counts = musc_lite.similarity_counts(self.distances, THRESHOLD)
        return counts.numpy() / self.distances.shape[-1]


def batch_of(images: musc_lite.ImageSet, backbone: musc_lite.Backbone) -> Batch:
    """Extract, aggregate, and let all patches look for their nearest."""
    features = musc_lite.extract_features(images, backbone, image_size=IMAGE_SIZE, cache_dir=NOTEBOOKS / "features")
    tokens = musc_lite.aggregate(features.patch_tokens[:, features.layers.index(LAYER)], features.grid, R)
    masks = images.masks(IMAGE_SIZE) if images.has_masks else None
    defective = None if masks is None else musc_lite.defective_patches(masks, features.grid)
    return Batch(musc_lite.nearest_distances(tokens), images.labels, defective)


def half(batch: Batch, seed: int) -> Batch:
    """Draw half of the images."""
    n = len(batch.labels)
    kept = np.sort(np.random.default_rng(seed).permutation(n)[: n // 2])
    others = [np.delete(np.arange(n), i) for i in range(n)]
    rows = [batch.distances[i][:, np.isin(others[i], kept)].numpy() for i in kept]
    return Batch(Tensor(np.array(rows)), batch.labels[kept], batch.defective[kept])


def sweep(batch: Batch) -> np.ndarray:
    """Measure image AUROC and patch AP for each end: (2, ends)."""
    scores = [musc_lite.interval_average(batch.distances, (0.0, end)) for end in ENDS]
    auroc = [roc_auc_score(batch.labels, each.amax(dim=1)) for each in scores]
    return np.array([auroc, [average_precision_score(batch.defective.ravel(), each.flatten()) for each in scores]])


def draw_similar(sets: dict[str, Batch]) -> None:
    """Draw the shares, a panel a set, and print their medians."""
    rows = -(-len(sets) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(8, 2.3 * rows), sharex=True, sharey=True, squeeze=False)
    print("| set | images | shown | median of normal | median of defective | AUROC |\n|---|---|---|---|---|---|")
    for ax, (name, batch) in zip(axes.flat, sets.items(), strict=False):
        normal_images = batch.labels == 0
        if batch.defective is None:
            shares, defective, shown = batch.similar.min(axis=1), ~normal_images, "rarest patch of each"
        else:
            known = normal_images[:, None] | batch.defective
            shares, defective, shown = batch.similar[known], batch.defective[known], "patches"
        plot_histogram(shares, defective, xlabel="share of other images", bins=np.linspace(0, 1, 21), ax=ax)
        ax.set_title(f"{name}: {shown}", fontsize=9)
        medians = [np.median(shares[defective == kind]) for kind in (False, True)]
        apart = roc_auc_score(defective, -shares)
        print(f"| {name} | {len(batch.labels)} | {shown} | {medians[0]:.2f} | {medians[1]:.2f} | {apart:.2f} |")
    for ax in axes.flat[1 : len(sets)]:
        ax.get_legend().remove()
    figure.savefig(NOTEBOOKS / "similar_patches.png", dpi=100)


def draw_ends(swept: dict[str, np.ndarray]) -> None:
    """Draw mean and range of (draws, 2, ends) for each set, and print them."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    print(f"\n| set | metric | {' | '.join(f'{end:.0%}' for end in ENDS)} |\n|---|---|{'---|' * len(ENDS)}")
    for (name, values), color in zip(swept.items(), LINE_COLORS, strict=False):
        for k, (ax, metric) in enumerate(zip(axes, ("image AUROC", "patch AP"), strict=True)):
            mean, low, high = values[:, k].mean(axis=0), values[:, k].min(axis=0), values[:, k].max(axis=0)
            ax.plot(ENDS, mean, marker="o", markersize=4, color=color, label=name)
            ax.fill_between(ENDS, low, high, color=color, alpha=0.15, linewidth=0)
            ax.set(xlabel="end of the interval", ylabel=metric)
            cells = [f"{m:.2f} ({a:.2f} to {b:.2f})" for m, a, b in zip(mean, low, high, strict=True)]
            print(f"| {name} | {metric} | {' | '.join(cells)} |")
    for ax in axes:
        ax.axvline(0.3, color="gray", linestyle=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(swept))
    figure.savefig(NOTEBOOKS / "interval_ends.png", dpi=100)


def main() -> None:
    """Print both tables and write both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--tiles", type=Path)
    parser.add_argument("--parts", type=Path)
    options = parser.parse_args()
    backbone = musc_lite.load_backbone("dinov2_vits14")
    plt.style.use("musc_lite.course")
    shown, swept = {}, {}
    for name in PHOTOS:
        batches = [batch_of(musc_lite.planted_textures(name, seed=seed), backbone) for seed in options.seeds]
        shown[name], swept[name] = batches[0], np.array([sweep(batch) for batch in batches])
    if options.tiles:
        shown["tiles"] = batch_of(musc_lite.load_magnetic_tile(options.tiles), backbone)
        swept["tiles"] = np.array([sweep(half(shown["tiles"], seed)) for seed in options.seeds])
    for name in ("board", "toy") if options.parts else ():
        shown[f"{name}s"] = batch_of(musc_lite.load_mvtec(options.parts, name), backbone)
    draw_similar(shown)
    draw_ends(swept)


if __name__ == "__main__":
    main()
