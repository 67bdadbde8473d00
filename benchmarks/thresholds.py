"""What a threshold without labels finds, and what it calls by mistake, at 0, 5, 20 and 50 % defective images.

    python benchmarks/thresholds.py                                                # planted-defect textures
    python benchmarks/thresholds.py --textiles ROOT --tiles ROOT --board ROOT --toy ROOT

Batches of at most 60 images are drawn from each data set (all of its normal images at most), scored with the embedded
backbone's defaults, and cut by each rule. A cell holds the mean share of the defective images found / of the normal
images called, in percent, over the draws. All rules but the first say how many images stand out by the scores before
re-scoring; the images called are the first so many after it. The rule that ships was chosen on the textures and on
textiles `local`; the other sets were looked at afterwards.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import musc_lite
from musc_lite.data.synthetic import PHOTOS
from musc_lite.neighbors.brute_force import pairwise_min_distances
from musc_lite.stages.mutual_scoring import interval_bounds
from musc_lite.stages.thresholds import _count_upper_group, _lower_half_limit, count_outliers

SHARES = (0.0, 0.05, 0.2, 0.5)
LARGEST = 60  # images of a batch


def median_and_deviation(scores: np.ndarray) -> int:
    """Count by the rule of version 0.1."""
    median = np.median(scores)
    return int((scores > median + 3 * 1.4826 * np.median(np.abs(scores - median))).sum())


def otsu(scores: np.ndarray) -> int:
    """Count by the cut that leaves least variance within its two sides."""
    ranked = np.sort(scores)[::-1]
    cuts = range(1, len(ranked))
    return 1 + int(np.argmin([k * ranked[:k].var() + (len(ranked) - k) * ranked[k:].var() for k in cuts]))


RULES: dict[str, Callable[[np.ndarray], int]] = {
    "0.1's rule": median_and_deviation,
    "lower half": lambda scores: int((scores > _lower_half_limit(scores)).sum()),
    "mixture": _count_upper_group,
    "shipped: the larger": count_outliers,
    "largest gap": lambda scores: 1 + int(np.diff(np.sort(scores)[::-1])[: max(1, len(scores) // 2)].argmin()),
    "Otsu": otsu,
}


def distances(images: musc_lite.ImageSet, backbone: musc_lite.Backbone, image_size: int) -> tuple[Tensor, Tensor]:
    """Measure all pairs once: (L, N, N, M) for L layers and degrees; and class tokens."""
    features = musc_lite.extract_features(images, backbone, image_size=image_size)
    steps = [(s, r) for s in range(len(features.layers)) for r in backbone.default_r]
    tokens = (musc_lite.aggregate(features.patch_tokens[:, s], features.grid, r) for s, r in steps)
    return torch.stack([pairwise_min_distances(each).half() for each in tokens]), features.class_tokens


def score(nearest: Tensor, class_tokens: Tensor, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score a batch of the images, as `MuSc` does: before and after re-scoring."""
    among = nearest[:, batch][:, :, batch].float()  # (L, n, n, M); an image is infinitely far from itself
    first, last = interval_bounds(len(batch) - 1, (0.0, 0.3))
    patch_scores = among.topk(last, dim=2, largest=False, sorted=True).values[:, :, first:].mean(dim=(0, 2))  # (n, M)
    side = round(patch_scores.shape[1] ** 0.5)
    before = musc_lite.image_scores_from_maps(musc_lite.upsample_maps(patch_scores, (side, side), 14 * side))
    return before.numpy(), musc_lite.rescore(before, class_tokens[batch]).numpy()


def draw(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a batch with a share of defective images, as large as the set allows."""
    normal, defective = (rng.permutation(np.flatnonzero(labels == kind)) for kind in (0, 1))
    size = min(LARGEST, int(len(normal) / (1 - share)), int(len(defective) / share) if share else LARGEST)
    n_defective = max(1, round(share * size)) if share else 0
    return np.r_[normal[: size - n_defective], defective[:n_defective]]


def measure(name: str, sets: list[musc_lite.ImageSet], backbone, image_size: int, n_draws: int) -> None:
    """Print the table's rows of one data set."""
    cells: dict[str, list[str]] = {rule: [] for rule in RULES}
    measured = [(np.asarray(images.labels), *distances(images, backbone, image_size)) for images in sets]
    for share in SHARES:
        rng, results = np.random.default_rng(0), {rule: [] for rule in RULES}
        for labels, nearest, class_tokens in measured:
            for _ in range(n_draws):
                batch = draw(labels, share, rng)
                before, after = score(nearest, class_tokens, batch)
                for rule, count in RULES.items():
                    ranking = np.argsort(-after, kind="stable")
                    called = labels[batch][ranking[: count(after if rule == "0.1's rule" else before)]]
                    n_defective = (labels[batch] == 1).sum()
                    found = (called == 1).sum() / n_defective if n_defective else np.nan
                    results[rule].append((found, (called == 0).sum() / (labels[batch] == 0).sum()))
        for rule in RULES:
            found, alarms = 100 * np.mean(results[rule], axis=0)
            cells[rule].append(f"{alarms:.0f}" if share == 0 else f"{found:.0f} / {alarms:.0f}")
    for rule in RULES:
        print(f"| {name} | {rule} | {' | '.join(cells[rule])} |", flush=True)


def data_sets(options: argparse.Namespace) -> Iterator[tuple[str, list[musc_lite.ImageSet], int]]:
    """Return a title, sets of images to draw from, and the image size."""
    for name in PHOTOS:
        sets = (musc_lite.planted_textures(name, 120, 60, seed=seed) for seed in range(options.seeds))
        yield name, list(sets), 224
    for kind in ("local", "global") if options.textiles else ():
        images = musc_lite.load_mvtec(options.textiles, kind)
        shuffled = np.random.default_rng(0).permutation(len(images))
        chosen = [shuffled[images.labels[shuffled] == label][:80] for label in (0, 1)]
        yield f"textiles {kind}", [images.subset(np.concatenate(chosen))], 224
    if options.tiles:
        yield "magnetic tiles", [musc_lite.load_magnetic_tile(options.tiles)], 224
    for folder, sizes in ((options.board, (224, 448)), (options.toy, (224,))):
        for size in sizes if folder else ():
            yield f"{Path(folder).name}, {size} px", [musc_lite.load_folder(folder)], size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("textiles", "tiles", "board", "toy"):
        parser.add_argument(f"--{option}", help=f"folder of {option}")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3, help="of each texture")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    backbone = musc_lite.load_backbone("dinov2_vits14")
    print(f"| data | rule | {' | '.join(f'{100 * s:.0f} %' for s in SHARES)} |\n|---|---|{'---|' * len(SHARES)}")
    for name, sets, image_size in data_sets(options):
        measure(name, sets, backbone, image_size, options.draws)
