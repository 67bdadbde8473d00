"""A line for three days, end to end by the commands that a user types: what verdicts are worth.

    python benchmarks/three_days.py --board ROOT --toy ROOT [--divisions 3]

The photos of a set are divided at random into three days, without labels. On the first day half of them are there; they
score each other (`musc-lite fit`). Verdicts are given on none, ten or twenty of them, drawn at random: the bad ones
leave the reference, and a false alarm rate, the lowest that so many good ones allow, draws the line (where all photos
have a verdict, half of the good ones stay in the reference). The photos of the second and third day are scored against
it (`musc-lite apply`). Mean and range over the divisions.

Trusted images must be drawn like those that come later. Good ones from the bottom of the ranking alone would promise
too much: `--from-the-bottom` shows it.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from musc_lite import Verdict, load_folder, write_verdicts

VERDICTS = (0, 10, 20)
OPTIONS = {"board": ["--region", "auto", "--tiles", "2"], "toy": ["--image-size", "aspect"]}


def run(*arguments: str | Path) -> float:
    """Run a command, give its seconds."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "musc_lite.cli", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - began


def divide(root: Path, days: Path, seed: int) -> tuple[list[Path], dict[str, int]]:
    """Copy the photos of a set into three folders, half of them into the first; give these and the true labels."""
    images, folders = load_folder(root), [days / f"day {k}" for k in (1, 2, 3)]
    order = random.Random(seed).sample(range(len(images)), len(images))
    truth = {}
    for place, i in enumerate(order):
        folder = folders[min(2, max(0, 4 * place // len(order) - 1))]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{place:03}{images.sources[i].suffix}"
        shutil.copy(images.sources[i], folder / name)
        truth[name] = int(images.labels[i])
    return folders, truth


def read(results: Path, truth: dict[str, int]) -> dict[str, float]:
    """Return image AUROC, the share of good photos that is called and that of bad ones that is found."""
    found = json.loads((results / "results.json").read_text())["images"]
    labels = np.array([truth[each["image"]] for each in found])
    scores, called = (np.array([each[key] for each in found]) for key in ("score", "outlier"))
    return {
        "AUROC": float(roc_auc_score(labels, scores)),
        "false alarms": float(called[labels == 0].mean()),
        "found": float(called[labels == 1].mean()),
    }


def give_verdicts(path: Path, names: list[str], truth: dict[str, int], n: int) -> int:
    """Write verdicts on the first n photos; give the number of good ones."""
    verdicts = [Verdict(name, ("good", "bad")[truth[name]]) for name in names[:n]]
    write_verdicts(path, verdicts)
    return sum(each.verdict == "good" for each in verdicts)


def three_days(root: Path, options: list[str], seed: int, from_the_bottom: bool, rows: list[dict]) -> None:
    """Run one division, and add what came out of each day."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (first, *later), truth = divide(root, work / "photos", seed)
        run("score", first, "-o", work / "score", *options)
        ranked = [each["image"] for each in json.loads((work / "score" / "results.json").read_text())["images"]]
        rows.append({"day": 1, "verdicts": 0, "rate": np.nan, **read(work / "score", truth)})
        names = ranked[::-1] if from_the_bottom else random.Random(seed).sample(ranked, len(ranked))
        for n in VERDICTS:
            line, more, rate = work / f"{n}.musc", [], np.nan
            if n:
                n_good = give_verdicts(work / f"{n}.csv", names, truth, n)
                rate = 1 / ((n_good if n < len(names) else n_good // 2) + 1)  # some photos must be left to score by
                more = ["--verdicts", work / f"{n}.csv", "--false-alarm-rate", f"{rate + 1e-6:.6f}"]
            fitted = run("fit", first, "-o", line, *options, *more)
            for k, day in enumerate(later, start=2):
                seconds = run("apply", line, day, "-o", work / f"out {n} {k}")
                result = read(work / f"out {n} {k}", truth)
                rows.append({"day": k, "verdicts": n, "rate": rate, **result, "fit": fitted, "apply": seconds})


def cell(rows: list[dict], key: str, digits: int = 2) -> str:
    """Write mean and range."""
    values = [row[key] for row in rows if key in row and np.isfinite(row[key])]
    if not values:
        return "–"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", type=Path)
    parser.add_argument("--toy", type=Path)
    parser.add_argument("--divisions", type=int, default=3)
    parser.add_argument("--from-the-bottom", action="store_true", help="verdicts on the least anomalous photos")
    given = parser.parse_args()
    keys = ("rate", "AUROC", "false alarms", "found", "fit", "apply")
    print("| set | day | verdicts | rate asked | image AUROC | false alarms | found | fit (s) | apply (s) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in ("board", "toy"):
        if root := getattr(given, name):
            rows: list[dict] = []
            for seed in range(given.divisions):
                three_days(root, OPTIONS[name], seed, given.from_the_bottom, rows)
            for n in VERDICTS:
                for day in (1, 2, 3) if not n else (2, 3):
                    some = [row for row in rows if row["day"] == day and row["verdicts"] == n]
                    numbers = " | ".join(cell(some, key, 0 if key in ("fit", "apply") else 2) for key in keys)
                    print(f"| {name} | {day} | {n} | {numbers} |", flush=True)
