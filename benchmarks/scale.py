"""How seconds and memory grow with the number of images, for mutual scoring and each scorer of the shelf.

    python benchmarks/scale.py [--sizes 100 300 1000 3000] [--picture out/scale.png]

One layer at one r, M = 256 patches of C = 384 channels, all cores of this machine; each run in a process of its own,
whose peak of resident memory is counted above the tokens. What would take longer than `--longest`, ten minutes, by the
size before it and the scorer's own cost, is not run: its seconds are that estimate, marked by a ~ and by a hollow
mark. Tokens are noise: what a product costs does not depend on them.
"""

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import FuncFormatter
from memory import peak
from mutual_scoring import machine

import musc_lite
from musc_lite.scorers.base import ScoringContext
from musc_lite.scorers.recurring import RecurringScorer
from musc_lite.utils.precision import resolve_precision

M, C = 256, 384
SCORERS = {
    "mutual, exact": musc_lite.MutualScorer(),
    "mutual, bfloat16": musc_lite.MutualScorer(),
    "mutual, 64 components": musc_lite.MutualScorer(n_components=64),
    "mutual, 100 references": musc_lite.MutualScorer(references=100),
    "recurring": RecurringScorer(),
    "nearest": musc_lite.NearestScorer(),
    "memory bank, a tenth": musc_lite.MemoryBankScorer(),
    "subspace, 95 %": musc_lite.SubspaceScorer(),
    "Gaussian": musc_lite.GaussianScorer(),
}


def run(name: str, n_images: int) -> dict[str, float]:
    """Score noise once and give the seconds and the gigabytes above the tokens; begin in a fresh process."""
    tokens = torch.randn(n_images, M, C, generator=torch.Generator().manual_seed(0))
    precision = "bfloat16" if "bfloat16" in name else "float32"
    warm = torch.randn(2, M, C)
    musc_lite.MutualScorer().fit_score(warm, ScoringContext((16, 16), precision=precision))
    before, start = peak(), time.perf_counter()
    SCORERS[name].fit_score(tokens, ScoringContext((16, 16), precision=precision))
    return {"seconds": time.perf_counter() - start, "gigabytes": peak() - before}


def measure(name: str, sizes: list[int], longest: float) -> list[dict[str, float | bool]]:
    """Run the sizes in turn, or estimate what would take too long by the size before it."""
    rows: list[dict] = []
    for n_images in sizes:
        seconds, scorer = 0.0, SCORERS[name]
        if rows:
            work, before = (scorer.cost((n, M, C)).products for n in (n_images, rows[-1]["images"]))
            seconds = rows[-1]["seconds"] * max(work / before, n_images / rows[-1]["images"])
        if seconds > longest:
            rows.append({"images": n_images, "seconds": seconds, "gigabytes": float("nan"), "measured": False})
        else:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append({"images": n_images, **pool.apply(run, (name, n_images)), "measured": True})
        cell = rows[-1]
        print(f"{name}, {n_images}: {'' if cell['measured'] else '~'}{cell['seconds']:.1f} s", file=sys.stderr)
    return rows


def table(found: dict[str, list[dict]], sizes: list[int]) -> str:
    """Write seconds / GB for each scorer and size, as Markdown."""
    lines = ["| seconds / GB | " + " | ".join(f"N = {n:,}" for n in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name, rows in found.items():
        cells = [
            f"{row['seconds']:.1f} / {row['gigabytes']:.2f}" if row["measured"] else f"~{row['seconds']:.0f} / "
            for row in rows
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: dict[str, list[dict]], sizes: list[int], path: Path) -> None:
    """Draw seconds and memory beside each other, both scales logarithmic."""
    plt.style.use("musc_lite.course")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    colors = plt.get_cmap("tab10").colors
    for (name, rows), color, marker in zip(found.items(), colors, "osD^vPX<>", strict=False):
        for ax, what in zip(axes, ("seconds", "gigabytes"), strict=True):
            drawn = [row for row in rows if row[what] > 0]
            ax.plot([row["images"] for row in drawn], [row[what] for row in drawn], color=color, linewidth=1.2)
            for row in drawn:
                face = color if row["measured"] else "white"
                ax.plot(row["images"], row[what], marker, color=color, markerfacecolor=face, markersize=6)
        axes[0].plot([], [], marker + "-", color=color, label=name)
    for ax, title in zip(axes, ("seconds for one layer and one r", "GB of memory beside the tokens"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel="images", title=title)
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--longest", type=float, default=600, help="seconds that one run may take")
    parser.add_argument("--picture", type=Path, default=Path("out/scale.png"))
    parser.add_argument("--from-json", type=Path, help="draw what an earlier run has written beside its picture")
    given = parser.parse_args()
    if given.from_json:
        results = json.loads(given.from_json.read_text())
    else:
        names = [*SCORERS]
        if resolve_precision("auto", torch.device("cpu")) != "bfloat16":
            names.remove("mutual, bfloat16")
            print("this processor is not faster in bfloat16: left out\n")
        results = {name: measure(name, given.sizes, given.longest) for name in names}
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        given.picture.with_suffix(".json").write_text(json.dumps(results))
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(table(results, given.sizes))
    draw(results, given.sizes, given.picture)
    print(f"\n{given.picture}")
