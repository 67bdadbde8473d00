"""The paper's tables: each category of a data set scored and compared with the published figures.

Results are kept category by category, so an interrupted run goes on where it was:

    OUTPUT/results/<category>.json    metrics, settings, and what they belong to: weights, data, versions
    OUTPUT/scores/<category>.csv      every image's score
    OUTPUT/results.csv, results.md, results.png    the table, written again after each category
"""

import csv
import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import load_backbone
from musc_lite.data.datasets import look_up
from musc_lite.data.image_set import ImageSet
from musc_lite.detector.detector import Detector
from musc_lite.reports.export_maps import write_scores
from musc_lite.reports.report import versions
from musc_lite.results.metrics import METRICS, evaluate_scores
from musc_lite.results.scores import Scores
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.component import Component
from musc_lite.utils.files import atomic_write
from musc_lite.utils.tables import to_cells

# What changes no score by more than rounding, or nothing at all.
NO_SETTINGS = ("backbone", "batch_size", "cache_dir", "contamination", "device", "max_memory", "precision", "threshold")


@dataclass(frozen=True)
class CategoryResult:
    """What one category came to.

    Attributes
    ----------
    category : str
    n_images, n_defective : int
    metrics : dict of str to float
        As `evaluate` names them, in 0..1.
    seconds : float
        For reading, features and scoring.
    run : dict
        Settings, subsets, SHA-256 of weights and data, and versions.
    """

    category: str
    n_images: int
    n_defective: int
    metrics: dict[str, float]
    seconds: float
    run: dict


def find_categories(dataset: str, root: str | Path | None) -> list[str]:
    """List the categories of a data set that are there, as `DataSet.find_categories` does."""
    return look_up(dataset).find_categories(root)


def run_benchmark(
    dataset: str,
    root: str | Path | None,
    output: str | Path,
    detector: Detector,
    *,
    categories: Sequence[str] | None = None,
    n_subsets: int = 1,
    seed: int = 0,
) -> Iterator[CategoryResult]:
    """Score one category after the other; those that are done already are read back.

    Parameters
    ----------
    dataset : str
        One of `CATALOG`.
    root : path, optional
        Where the data set is; "textures" needs none.
    output : path
        Where results are kept. Features are kept there too while a category is not finished.
    detector : Detector
        Settings.
    categories : sequence of str, optional
        Only these.
    n_subsets, seed : int
        Divide each category first, see `divide`.

    Yields
    ------
    CategoryResult
        As they come; the tables in `output` hold those yielded so far.
    """
    output, results = Path(output), []
    backbone = detector.load_backbone()
    for category in categories or find_categories(dataset, root):
        images = look_up(dataset).load(root, category)
        features = output / "features" / category
        run = {
            "dataset": dataset,
            "backbone": [backbone.name, backbone.pretrained],
            "weights_sha256": backbone.weights_sha256,
            "data_sha256": images.fingerprint(),
            "settings": _settings(detector, backbone),
            "n_subsets": n_subsets,
            "seed": seed,
            "versions": versions(),
        }
        run = json.loads(json.dumps(run, default=list))  # as it reads when it comes back
        path = output / "results" / f"{category}.json"
        result = _read(path, run)
        if result is None:
            start = time.perf_counter()
            fresh = clone(detector).set_params(backbone=backbone, cache_dir=features)  # of its own class
            scores = score_subsets(fresh, images, divide(images.names, n_subsets, seed=seed))
            metrics = evaluate_scores(scores)
            seconds = round(time.perf_counter() - start, 1)
            n_defective = 0 if images.labels is None else int(images.labels.sum())
            result = CategoryResult(category, len(images), n_defective, metrics.asdict(), seconds, run)
            write_scores(output / "scores" / f"{category}.csv", scores)
            _write(path, json.dumps(asdict(result), indent=1) + "\n")
            shutil.rmtree(features, ignore_errors=True)  # a large data set's would fill the disk
        results.append(result)
        _write_tables(output, dataset, results)
        yield result


def table(dataset: str, results: Sequence[CategoryResult]) -> str:
    """Write results as a Markdown table in percent, "ours / published" where there are published figures."""
    published_metrics = look_up(dataset).published_metrics
    shown = [name for name in METRICS if any(r.metrics[name] == r.metrics[name] for r in results)]
    rows = [(r.category, str(r.n_images), r.metrics, published_metrics(r.category)) for r in results]
    if len(results) > 1:
        compared = [known for *_, known in rows if known]
        mean = _mean(compared) if len(compared) == len(rows) else None
        rows.append(("mean", "", _mean([r.metrics for r in results]), mean))
    lines = [
        f"| category | images | {' | '.join(METRICS[name].title for name in shown)} |",
        "|---" * (2 + len(shown)) + "|",
    ]
    for category, n_images, metrics, known in rows:
        cells = [_percent(metrics[name]) + (f" / {_percent(known[name])}" if known else "") for name in shown]
        lines.append(f"| {category} | {n_images} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _settings(detector: Detector, backbone: Backbone) -> dict:
    """Name what shapes the scores, also where the backbone chooses it."""
    parts, given = detector.components, detector.get_params(deep=False)
    kept = {
        k: str(v) if isinstance(v, Component) else v for k, v in given.items() if k not in NO_SETTINGS and v is not None
    }
    return kept | {
        "image_size": parts.view.size or backbone.default_image_size,
        "layers": backbone.layers(detector.layers),
        "r": parts.aggregation.degrees(backbone.default_r),
        **({} if backbone.precision == "float32" else {"precision": backbone.precision}),
    }


def _read(path: Path, run: Mapping) -> CategoryResult | None:
    """Read a result back, unless it is of another run or not whole."""
    try:
        result = CategoryResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return result if result.run == run else None


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_tables(output: Path, dataset: str, results: Sequence[CategoryResult]) -> None:
    import matplotlib.pyplot as plt

    from musc_lite.reports.plots import plot_comparison

    data_set, run = look_up(dataset), results[0].run
    settings = "; ".join(
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in (run["settings"] | {"n_subsets": run["n_subsets"], "seed": run["seed"]}).items()
    )
    about = f"{dataset} with {run['backbone'][0]}: {settings}"
    figures = "Percent; ours / published.\n\n" if data_set.figures else "Percent.\n\n"
    _write(output / "results.md", f"{about}\n\n{figures}{table(dataset, results)}\n")
    with atomic_write(output / "results.csv") as partial, partial.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["category", "images", "defective", *METRICS, *(f"published_{name}" for name in METRICS)])
        for r in results:
            known = data_set.published_metrics(r.category) or {}
            ours = [f"{r.metrics[name]:.4f}" for name in METRICS]
            writer.writerow(
                [*to_cells([r.category]), r.n_images, r.n_defective, *ours, *(known.get(name, "") for name in METRICS)]
            )
    ours = {r.category: r.metrics["image_auroc"] for r in results}
    published = {c: known["image_auroc"] for c in ours if (known := data_set.published_metrics(c))}
    fig, ax = plt.subplots(figsize=(6, 1.2 + 0.3 * len(results)), layout="constrained")
    plot_comparison(ours, published, ax=ax)
    with atomic_write(output / "results.png") as partial:
        fig.savefig(partial, format="png", dpi=150)
    plt.close(fig)


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.1f}"


def divide(names: Sequence[str], n_subsets: int, *, seed: int = 0, by_type: bool = True) -> list[list[int]]:
    """Divide a test set into subsets of about equal size, at random.

    Parameters
    ----------
    names : N str
        Of the images; what stands before the last slash is taken for the type of defect.
    n_subsets : int
        1 to N / 2, so that each holds at least 2 images.
    seed : int
        Another seed, another division.
    by_type : bool
        Deal out each type of defect evenly, as the published code does (with its seed 0 and its order of files the
        subsets are the same ones); False: deal out all images alike.

    Returns
    -------
    list of n_subsets lists of int
        Which images belong to each.

    Raises
    ------
    ValueError
        If a subset would hold fewer than 2 images, or there are none.

    Examples
    --------
    >>> divide(["good/0", "good/1", "good/2", "good/3", "hole/0", "hole/1"], 2)
    [[1, 2, 4], [0, 3, 5]]
    """
    if n_subsets < 1:
        raise ValueError(f"n_subsets must be 1 or more, got {n_subsets}")
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(str(PurePath(name).parent) if by_type else "", []).append(i)
    shuffle = random.Random(seed).shuffle
    subsets: list[list[int]] = [[] for _ in range(n_subsets)]
    for group in groups.values():
        shuffle(group)
        for k, subset in enumerate(subsets):
            subset.extend(group[k::n_subsets])
    smallest = min(map(len, subsets))
    if smallest < 2:
        raise ValueError(
            f"mutual scoring takes at least 2 images: {len(names)} images in {n_subsets} subsets would leave one with "
            f"{smallest}; give fewer subsets"
        )
    return [sorted(subset) for subset in subsets]


def score_subsets(detector: Detector, images: ImageSet, subsets: Sequence[Sequence[int]]) -> Scores:
    """Score each subset of the images by its own images only.

    Parameters
    ----------
    detector : Detector
        Settings; it stays as it is. With a ``cache_dir`` features are made once, however the images are divided.
    images : ImageSet
        N images.
    subsets : lists of int
        Such as `divide` gives; each image in exactly one of them.

    Returns
    -------
    Scores
        In the order of `images`. As in the published code the image scores are re-scored among all images.
    """
    if sorted(i for subset in subsets for i in subset) != list(range(len(images))):
        raise ValueError(f"each of the {len(images)} images must belong to exactly one subset")
    maps: dict[int, np.ndarray] = {}
    class_tokens: dict[int, Tensor] = {}
    fresh = clone(detector)  # of its own class
    if isinstance(detector.backbone, str):
        fresh.set_params(
            backbone=load_backbone(detector.backbone, device=detector.device, precision=detector.precision)
        )
    for subset in subsets:
        fitted = clone(fresh).fit(images.subset(subset))
        for i, anomaly_map, token in zip(subset, fitted.anomaly_maps_, fitted.features_.class_tokens, strict=True):
            maps[i], class_tokens[i] = anomaly_map, token
    parts, in_order = detector.components, range(len(images))
    anomaly_maps = np.stack([maps[i] for i in in_order])
    map_scores = parts.pooling.pool(torch.from_numpy(anomaly_maps))
    image_scores = parts.rescoring.rescore(map_scores, torch.stack([class_tokens[i] for i in in_order])).numpy()
    threshold = parts.threshold.compute(image_scores, map_scores.numpy())
    decision = Decision.by(parts.threshold, threshold, len(images))
    return Scores(images.names, image_scores, map_scores.numpy(), anomaly_maps, decision=decision, images=images)
