"""What images that are known to be good are worth: as the only references, and for a false alarm rate.

    python benchmarks/trusted.py --tiles ROOT --board ROOT --toy ROOT --textiles ROOT [--plot FILE]

Curve: image AUROC of all images but the trusted ones, scored by 1, 2, 5, 10, 20, 40 trusted images drawn among the good
ones (as many as leave five), mean and standard deviation over draws; beside it the same images scored by each other,
zero-shot. This is the few-shot setting, with full-shot methods' advantage of known good images.

False alarms: the good images are divided at random into references, trusted images and photos of a later day. How often
are the photos of that day called, on average over the divisions, and how often is drift warned of, where there is none?

The embedded backbone's defaults, one look at all pairs of images for each set (`musc_lite.MuSc` gives the same scores).
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from thresholds import distances
from torch import Tensor

import musc_lite
from musc_lite.stages.conformal import ConformalThreshold, conformal_threshold, find_drift
from musc_lite.stages.mutual_scoring import interval_bounds
from musc_lite.stages.rescoring import RsCIN
from musc_lite.stages.thresholds import choose_threshold

COUNTS = (1, 2, 5, 10, 20, 40)
RATES = (0.05, 0.1, 0.2)
LEFT = 5  # good images at least that are scored


class Pairs:
    """A data set of which every image was compared with every other, once."""

    def __init__(self, images: musc_lite.ImageSet, backbone: musc_lite.Backbone, pooling: str | float):
        nearest, self.class_tokens = distances(images, backbone, 224)  # (L, N, N, M)
        self.nearest = nearest.permute(1, 0, 3, 2).float().numpy().copy()  # (N, L, M, N): of each image to the others
        self.labels, self.pooling = np.asarray(images.labels), pooling

    def score(self, new: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Score images by others, before re-scoring; an image among its references is left out of them."""
        itself = np.isin(new, references)  # there it is infinitely far
        parts = np.empty((len(new), self.nearest.shape[2]), dtype=np.float32)
        for inside in (False, True):
            if (itself == inside).any():
                _, n_kept = interval_bounds(len(references) - inside, (0.0, 0.3))
                among = self.nearest[new[itself == inside]][..., references]  # (n, L, M, J)
                parts[itself == inside] = np.partition(among, n_kept - 1)[..., :n_kept].mean(axis=(1, 3))
        side = round(parts.shape[1] ** 0.5)
        maps = musc_lite.upsample_maps(parts, (side, side), 14 * side)
        return musc_lite.image_scores_from_maps(maps, self.pooling).numpy()

    def score_new(self, new: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Score images against a batch that was fitted, after re-scoring."""
        batch, each = (torch.from_numpy(self.score(some, references)) for some in (references, new))
        tokens: Tensor = self.class_tokens
        return RsCIN().rescore_new(each, tokens[new], batch, tokens[references]).numpy()


def curve(pairs: Pairs, n_draws: int) -> dict[str, list[float]]:
    """Return image AUROC by the number of trusted images: of each draw; "zero-shot": scored by each other."""
    everything, found = np.arange(len(pairs.labels)), {"zero-shot": [auroc(pairs, np.arange(len(pairs.labels)), None)]}
    for count in COUNTS:
        rng = np.random.default_rng(0)
        for _ in range(n_draws):
            good = rng.permutation(np.flatnonzero(pairs.labels == 0))
            if len(good) >= count + LEFT:
                rest = np.setdiff1d(everything, good[:count])
                found.setdefault(str(count), []).append(auroc(pairs, rest, good[:count]))
    return found


def auroc(pairs: Pairs, new: np.ndarray, references: np.ndarray | None) -> float:
    """Score images by the references, None: by each other."""
    return float(roc_auc_score(pairs.labels[new], pairs.score(new, new if references is None else references)))


def false_alarms(pairs: Pairs, rate: float, n_divisions: int) -> dict[str, np.ndarray]:
    """Divide the good images at random: shares of the later day called, of the defective found, and drift warned of."""
    found: dict[str, list[float]] = {name: [] for name in ("calibrated", "found", "auto", "auto found", "drift")}
    rng, n_trusted = np.random.default_rng(0), ConformalThreshold(rate).min_calibration_size
    bad = np.flatnonzero(pairs.labels == 1)
    for _ in range(n_divisions):
        good = rng.permutation(np.flatnonzero(pairs.labels == 0))
        trusted, rest = good[:n_trusted], good[n_trusted:]
        references, later = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        calibration, today, defective = (pairs.score_new(some, references) for some in (trusted, later, bad))
        threshold = conformal_threshold(calibration, rate)
        before = torch.from_numpy(pairs.score(references, references))
        after = musc_lite.rescore(before, pairs.class_tokens[references]).numpy()
        auto = choose_threshold(after, "auto", before.numpy())
        found["calibrated"].append((today > threshold).mean())
        found["found"].append((defective > threshold).mean())
        found["auto"].append((today > auto).mean())
        found["auto found"].append((defective > auto).mean())
        found["drift"].append(find_drift(today, calibration, threshold).is_likely)
    return {name: np.array(values) for name, values in found.items()}


def data_sets(options: argparse.Namespace) -> Iterator[tuple[str, musc_lite.ImageSet, str | float]]:
    """Return a title, the images and a pooling."""
    if options.tiles:
        yield "magnetic tiles", musc_lite.load_magnetic_tile(options.tiles), "max"
    for name, folder in (("boards", options.board), ("toys", options.toy)):
        if folder:
            yield name, musc_lite.load_folder(folder), "max"
    for kind, pooling in (("global", "max"), ("global", "mean"), ("local", "max")) if options.textiles else ():
        images = musc_lite.load_mvtec(options.textiles, kind)
        shuffled = np.random.default_rng(0).permutation(len(images))
        chosen = [shuffled[images.labels[shuffled] == label][:n] for label, n in ((0, 70), (1, 30))]
        yield f"textiles {kind}, {pooling}", images.subset(np.concatenate(chosen)), pooling


def draw(curves: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw all curves, each with its zero-shot value as a dashed line."""
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for k, (name, found) in enumerate(curves.items()):
        counts = [count for count in found if count != "zero-shot"]
        means, deviations = (np.array([f(found[count]) for count in counts]) for f in (np.mean, np.std))
        places = [int(count) for count in counts]
        ax.plot(places, means, "o-", color=f"C{k}", label=name)
        ax.fill_between(places, means - deviations, means + deviations, color=f"C{k}", alpha=0.15, linewidth=0)
        ax.axhline(found["zero-shot"][0], color=f"C{k}", linestyle="--", linewidth=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(COUNTS, [str(count) for count in COUNTS])
    ax.set(xlabel="trusted images, the only references", ylabel="image AUROC, before re-scoring", ylim=(0.3, 1.01))
    ax.set_title("dashed: zero-shot, the batch by itself; bands: one standard deviation", fontsize="medium")
    ax.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("tiles", "board", "toy", "textiles"):
        parser.add_argument(f"--{option}", help=f"folder of {option}")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--plot", type=Path, help="write the curve as a picture")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    backbone, curves, rows = musc_lite.load_backbone("dinov2_vits14"), {}, []
    print(f"| data | zero-shot | {' | '.join(map(str, COUNTS))} |\n|---|---|{'---|' * len(COUNTS)}")
    for name, images, pooling in data_sets(options):
        pairs = Pairs(images, backbone, pooling)
        curves[name] = found = curve(pairs, options.draws)
        few = [found.get(str(count)) for count in COUNTS]
        cells = ["–" if each is None else f"{np.mean(each):.3f} ± {np.std(each):.3f}" for each in few]
        print(f"| {name} | {found['zero-shot'][0]:.3f} | {' | '.join(cells)} |", flush=True)
        n_good = int((pairs.labels == 0).sum())
        for rate in RATES:
            n_trusted = ConformalThreshold(rate).min_calibration_size
            if n_good - n_trusted >= 2 * LEFT:
                result = false_alarms(pairs, rate, options.divisions)
                means = {key: values.mean() for key, values in result.items()}
                error = result["calibrated"].std() / np.sqrt(options.divisions)
                alarms = f"{means['calibrated']:.3f} ± {error:.3f} | {means['found']:.2f}"
                auto = f"{means['auto']:.3f} | {means['auto found']:.2f}"
                rows.append(f"| {name} | {rate} | {n_trusted} | {alarms} | {auto} | {means['drift']:.3f} |")
    print(
        "\n| data | rate asked | trusted | false alarms ± standard error | found | false alarms by auto | found by "
        "auto | drift warned of |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(rows))
    if options.plot:
        draw(curves, options.plot)
