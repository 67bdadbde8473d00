"""A result as one HTML file with its pictures inside, to look at, send and keep."""

import base64
import io
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import left_out
from musc_lite.detector import MuSc, Scores
from musc_lite.results.metrics import Metrics, evaluate
from musc_lite.results.plots import color_range, outlined, overlay, plot_ranking
from musc_lite.stages.thresholds import in_words
from musc_lite.support.files import atomic_path

__all__ = ["Result", "evaluate_detector", "versions", "write_report"]

THUMBNAIL = 224  # pixels
METRIC_TITLES = {
    "image_auroc": "image AUROC",
    "image_f1_max": "image F1-max",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_f1_max": "pixel F1-max",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO",
}


@dataclass(frozen=True)
class Result:
    """Images with the scores that a fitted detector gave them.

    Attributes
    ----------
    name : str
        Heading of the result.
    images : ImageSet
        The images that were scored.
    detector : MuSc
        Fitted: on these images, or on those that `scores` compares them with.
    metrics : Metrics
        All NaN where there are neither labels nor masks.
    scores : Scores
        Of new images: what ``detector.score_images(images)`` gave. By default the scores of the fit.

    Raises
    ------
    ValueError
        If the scores belong to other images.
    """

    name: str
    images: ImageSet
    detector: MuSc
    metrics: Metrics = field(default_factory=Metrics)
    scores: Scores | None = None

    def __post_init__(self):
        object.__setattr__(self, "scores", _scores_of(self.detector, self.images, self.scores))

    @property
    def is_new(self) -> bool:
        """Whether the images were scored against a batch that they do not belong to."""
        return self.scores.image_scores is not self.detector.image_scores_


def evaluate_detector(detector: MuSc, images: ImageSet, scores: Scores | None = None) -> Metrics:
    """Compare scores and maps with the labels and masks that their images have.

    Parameters
    ----------
    detector : MuSc
        Fitted.
    images : ImageSet
        Those it was fitted on, or those of `scores`.
    scores : Scores, optional
        Of new images.

    Raises
    ------
    ValueError
        If the scores belong to other images.
    """
    scores = _scores_of(detector, images, scores)
    masks = images.masks(scores.anomaly_maps.shape[1:])
    maps = None if masks is None else scores.anomaly_maps
    return evaluate(images.labels, scores.image_scores, masks, maps)


def _scores_of(detector: MuSc, images: ImageSet, scores: Scores | None) -> Scores:
    """Give the scores of these images; refuse a mixture of one's names and another's scores."""
    if not isinstance(detector, MuSc):
        raise ValueError(
            f"a result needs the fitted detector, got {type(detector).__name__}; scores of new images go beside it: "
            "Result(name, images, detector, scores=detector.score_images(images))"
        )
    known = detector.scores_ if scores is None else scores
    if list(known.names) == list(images.names) and (scores is not None or detector.is_fitted_on(images)):
        return known
    differ = [pair for pair in zip(known.names, images.names, strict=False) if pair[0] != pair[1]]
    example = f", such as {differ[0][0]!r} and {differ[0][1]!r}" if differ else ""
    advice = "give the images that were fitted, or the scores of these: scores=detector.score_images(images)"
    raise ValueError(
        f"the scores are those of {len(known.names)} images, and {len(images)} images are given{example}: {advice}"
    )


def write_report(
    path: str | Path, results: Sequence[Result], *, title: str = "MuSc report", max_images: int = 60
) -> Path:
    """Write one self-contained HTML file: ranked galleries, metrics where labels exist, parameters.

    Parameters
    ----------
    path : path
        The file to write; complete or not at all.
    results : sequence of Result
        One section each.
    title : str
    max_images : int
        Largest number of images in a gallery: the highest ranks and the last few. Around 20 KB each.

    Returns
    -------
    Path
    """
    path = Path(path)
    names = [n for n in METRIC_TITLES if any(np.isfinite(getattr(r.metrics, n)) for r in results)]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("musc_lite.results", "."), autoescape=True)
    page = environment.get_template("report.html.jinja").render(
        title=title,
        metric_names=[METRIC_TITLES[name] for name in names],
        stages=list(results[0].detector.seconds_),
        any_masks=any(r.images.has_masks for r in results),
        results=[_section(result, names, max_images) for result in results],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def versions() -> dict[str, str]:
    """Name the versions that a result may depend on."""
    packages = ("musc-lite", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "pillow", "scikit-learn")
    return {"Python": platform.python_version(), "machine": platform.machine()} | {p: version(p) for p in packages}


def _section(result: Result, metric_names: Sequence[str], max_images: int) -> dict:
    detector, images = result.detector, result.images
    scores, maps, threshold = result.scores.image_scores, result.scores.anomaly_maps, detector.threshold_
    masks = images.masks(maps.shape[1:])
    low, high = color_range(detector.anomaly_maps_)  # new images on the colors of their batch
    order = np.argsort(-scores, kind="stable")
    last_few = min(8, max_images // 4)
    shown = range(len(order))
    if len(order) > max_images:
        shown = [*range(max_images - last_few), *range(len(order) - last_few, len(order))]

    cards = []
    for position, rank in enumerate(shown):
        i = order[rank]
        image = images[i]
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        following = shown[position + 1] if position + 1 < len(shown) else rank + 1
        cards.append(
            {
                "rank": rank + 1,
                "name": images.names[i],
                "score": scores[i],
                "is_outlier": scores[i] > threshold,
                "copy_of": None if result.is_new or detector.copy_of_[i] == i else images.names[detector.copy_of_[i]],
                "label": None if images.labels is None else ("normal", "defective")[images.labels[i]],
                "image": _data_uri(image if masks is None else outlined(image, masks[i])),
                "overlay": _data_uri(Image.fromarray(overlay(image, maps[i], low, high))),
                "gap_after": following - rank - 1,
            }
        )
    metrics = [getattr(result.metrics, name) for name in metric_names]
    return {
        "name": result.name,
        "n_images": len(images),
        "n_compared": len(detector.names_) if result.is_new else None,
        "data_notes": [note for note in (images.labeling, left_out(images)) if note],
        "sentences": in_words(scores, threshold, images.names, images.labels, n_fitted=len(detector.names_)),
        "metrics_row": ["–" if np.isnan(value) else f"{value:.3f}" for value in metrics],
        "seconds_row": [f"{seconds:.1f}" for seconds in detector.seconds_.values()],
        "ranking": _ranking(scores, threshold, images.labels),
        "cards": cards,
        "skipped": images.skipped,
        "parameters": _parameters(detector, images)
        | ({"compared with": _data(detector.images_)} if result.is_new and hasattr(detector, "images_") else {}),
    }


def _data(images: ImageSet) -> str:
    return f"{len(images)} images; SHA-256 of names, labels, files and masks {images.fingerprint()}"


def _parameters(detector: MuSc, images: ImageSet) -> dict[str, str]:
    """Name everything that shaped the numbers."""
    backbone, features = detector.backbone_, detector.features_
    search = {name: getattr(detector, name) for name in ("references", "n_components", "window")}
    return {
        "data": _data(images),
        "backbone": f"{backbone.name}, weights {backbone.pretrained!r}, SHA-256 {backbone.weights_sha256}",
        "image size": f"{features.image_size} pixels a side, {features.grid[0]} x {features.grid[1]} patches",
        "blocks (0-based)": ", ".join(map(str, features.layers)),
        "aggregation degrees r": ", ".join(map(str, detector.r_)),
        "interval": f"{detector.interval[0]:g} to {detector.interval[1]:g} of the other images",
        "search": ", ".join(f"{k}={v}" for k, v in search.items() if v is not None)
        or "in all other images, everywhere, in all channels",
        "re-scoring windows": ", ".join(map(str, detector.windows)) or "none",
        "threshold": f"{detector.threshold_:.6g} (contamination {detector.contamination!r})",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }


def _ranking(scores: np.ndarray, threshold: float, labels: np.ndarray | None) -> str:
    figure = Figure(figsize=(8, 3.25), dpi=120, layout="constrained")  # no pyplot: no window, no global state
    plot_ranking(scores, threshold, labels, ax=figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
