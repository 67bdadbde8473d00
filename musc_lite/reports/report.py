"""A result as one HTML file with its pictures inside, to look at, send and keep."""

import base64
import io
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.analysis.groups import Groups
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import left_out
from musc_lite.data.verdicts import VERDICTS, Verdict
from musc_lite.data.view import describe_patch_size
from musc_lite.reports.class_plots import plot_class_gallery
from musc_lite.reports.gallery import MOST_BOXES, annotation_payload, make_cards
from musc_lite.reports.group_plots import group_picture, group_rows
from musc_lite.reports.html import write_page
from musc_lite.reports.plots import plot_ranking
from musc_lite.results.evidence import Evidence
from musc_lite.results.metrics import METRICS, Metrics, evaluate_scores
from musc_lite.results.scores import Scores
from musc_lite.results.summary import (
    compared_with,
    describe_defect_classes,
    describe_defects_outside_roi,
    describe_groups,
    describe_scores,
)


@dataclass(frozen=True)
class Result:
    """A section of a report: scores under a heading.

    Attributes
    ----------
    name : str
        Heading.
    scores : Scores
        Such as ``detector.scores_`` or ``detector.score_images(new)``; they must know their images.
    metrics : Metrics, optional
        By default those that the images' labels and masks allow.
    evidence : sequence of Evidence
        What is shown closely, see `find_evidence`.
    classes : DefectClasses, optional
        Kinds of defect, see `defect_classes`.
    groups : Groups, optional
        Kinds of image that are to be shown, such as ``detector.groups_`` or of `image_groups`; without copies.
    verdicts : sequence of Verdict
        What was found about the images before, see `read_verdicts`: the report goes on from there.
    pixel_threshold : float, optional
        For the boxes around defects, see `find_defects`.

    Raises
    ------
    ValueError
        If the scores do not know their images.
    """

    name: str
    scores: Scores
    metrics: Metrics | None = None
    evidence: Sequence[Evidence] = ()
    classes: DefectClasses | None = None
    groups: Groups | None = None
    verdicts: Sequence[Verdict] = ()
    pixel_threshold: float | None = None

    def __post_init__(self):
        if not isinstance(self.scores, Scores):
            raise ValueError(f"a result needs scores, such as detector.scores_, got {type(self.scores).__name__}")
        _ = self.scores.required_images  # or refuse at once
        if self.metrics is None:
            object.__setattr__(self, "metrics", evaluate_scores(self.scores))


def write_report(
    path: str | Path,
    results: Sequence[Result],
    *,
    title: str = "MuSc report",
    max_images: int = 60,
    maps: str | None = None,
    explore: str | None = None,
) -> Path:
    """Write one self-contained HTML file: ranked galleries, metrics where labels exist, parameters.

    Every image can be marked there as good, bad or unsure; what `read_verdicts` reads is saved from it.

    Parameters
    ----------
    path : path
        The file to write; complete or not at all.
    results : sequence of Result
        One section each.
    title : str
    max_images : int
        Largest number of images that a gallery shows in full: the highest ranks and the last few. 20 KB each, the first
        24 with a photo of up to 900 pixels. Of the others up to 1000 are shown small.
    maps : str, optional
        Folder, seen from that of the report, to which `write_maps` wrote the pictures of the maps: they are linked, and
        shown when an image is enlarged.
    explore : str, optional
        File, seen from the report's folder, that `publish` wrote: it is linked.

    Returns
    -------
    Path
    """
    stages = list(dict.fromkeys(stage for result in results for stage in result.scores.seconds))
    names = [n for n in METRICS if any(np.isfinite(getattr(r.metrics, n)) for r in results)]
    return write_page(
        path,
        "report.html.jinja",
        title=title,
        metric_names=[METRICS[name].title for name in names],
        stages=stages,
        ideas=ideas(result.scores for result in results),
        any_closely=any(result.evidence for result in results),
        any_likeness=any(each.compared is not None for result in results for each in result.evidence),
        any_masks=any(r.scores.required_images.has_masks for r in results),
        compared=compared_with([result.scores for result in results]),
        results=[
            _section(
                r, names, stages, max_images, maps, "verdicts.csv" if len(results) == 1 else f"verdicts {r.name}.csv"
            )
            for r in results
        ],
        verdicts=VERDICTS,
        most_boxes=MOST_BOXES,
        explore=explore,
    )


def ideas(scores: Iterable[Scores]) -> list[str]:
    """Collect what makes a patch anomalous to the methods that ran, each said once."""
    return list(dict.fromkeys(each.about["method"] for each in scores if "method" in each.about))


def versions() -> dict[str, str]:
    """Name the versions that a result may depend on."""
    packages = ("musc-lite", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "pillow", "scikit-learn")
    return {"Python": platform.python_version(), "machine": platform.machine()} | {p: version(p) for p in packages}


def _section(
    result: Result, metric_names: Sequence[str], stages: Sequence[str], max_images: int, maps: str | None, file: str
) -> dict:
    scores, images = result.scores, result.scores.required_images
    first, small, last = make_cards(scores, max_images, result.evidence, result.classes, maps, result.pixel_threshold)
    metrics = [getattr(result.metrics, name) for name in metric_names]
    return {
        "name": result.name,
        "n_images": len(images),
        "n_compared": None if scores.batch is None else len(scores.batch),
        "data_notes": data_notes(scores),
        "sentences": describe_scores(scores),
        "metrics_row": ["–" if np.isnan(value) else f"{value:.3f}" for value in metrics],
        "seconds_row": [f"{scores.seconds[s]:.1f}" if s in scores.seconds else "–" for s in stages],
        "ranking": _ranking(scores.image_scores, scores.threshold, images.labels),
        "kinds": _kinds(result),
        "groups": _groups(result.groups, scores),
        "first": first,
        "small": small,
        "n_left_out": len(images) - len(first) - len(small) - len(last),
        "last": last,
        "marking": annotation_payload(scores, [*first, *small, *last], result.verdicts, file),
        "skipped": images.skipped,
        "parameters": parameters(scores),
    }


def data_notes(scores: Scores) -> list[str]:
    """Return what was looked at, and what was not."""
    images = scores.required_images
    return [
        note
        for note in (images.labeling, _covered(scores), describe_defects_outside_roi(scores), left_out(images))
        if note
    ]


def _covered(scores: Scores) -> str | None:
    """Return what a patch covers of the photos, where that is known."""
    if scores.resolved_view is None:
        return None
    return describe_patch_size(scores.resolved_view, scores.required_images).removesuffix(".")


def _kinds(result: Result) -> dict | None:
    """Return and show which kinds of defect there are, where that was asked for."""
    if result.classes is None:
        return None
    figure = Figure(dpi=120, layout="constrained")
    axes = plot_class_gallery(result.classes, result.scores, figure=figure)
    return {"sentences": describe_defect_classes(result.classes), "picture": _figure_uri(figure) if len(axes) else None}


def _groups(groups: Groups | None, scores: Scores) -> dict | None:
    """Return and show which kinds of image there are, where that was looked for."""
    if groups is None:
        return None
    picture = "data:image/jpeg;base64," + base64.b64encode(group_picture(groups, scores)).decode()
    return {"sentences": describe_groups(groups, scores), "rows": group_rows(groups, scores), "picture": picture}


def parameters(scores: Scores) -> dict[str, str]:
    """Name everything that shaped the numbers."""
    lines = {"data": _data(scores.required_images), **scores.about}
    if "threshold" in lines and scores.decision is not None:
        lines["threshold"] = f"{scores.threshold:.6g} ({scores.decision.rule})"  # of these scores, not of the fit
    if scores.batch is not None and scores.batch.images is not None:
        lines["compared with"] = _data(scores.batch.images)
    return lines | {"versions": ", ".join(f"{name} {number}" for name, number in versions().items())}


def _data(images: ImageSet) -> str:
    return f"{len(images)} images; SHA-256 of names, labels, files and masks {images.fingerprint()}"


def _ranking(scores: np.ndarray, threshold: float, labels: np.ndarray | None) -> str:
    figure = Figure(figsize=(8, 3.25), dpi=120, layout="constrained")  # no pyplot: no window, no global state
    plot_ranking(scores, threshold, labels, ax=figure.subplots())
    return _figure_uri(figure)


def _figure_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
