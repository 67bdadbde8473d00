"""What a page holds: which images, and of them pictures, patch vectors, scores and how much they look alike."""

import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from musc_lite.data.duplicates import unique_indices
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import Images, as_image_set
from musc_lite.data.roi import crop
from musc_lite.detector.detector import Detector
from musc_lite.reports.plots import COLORS, HEAT, VIRIDIS, draw_mask_outline
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import PatchScorer
from musc_lite.scorers.mutual import MutualScorer
from musc_lite.scorers.reference_images import choose_references
from musc_lite.stages.maps import defective_patches
from musc_lite.stages.rescoring import RsCIN, image_similarity
from musc_lite.stages.similarity_counts import default_features, default_threshold
from musc_lite.static_page.quantization import Agreement, Quantized, measure_agreement, quantize
from musc_lite.utils.errors import DataNotFoundError

PICTURE = 224  # pixels along the longer side
QUALITY = 55  # of JPEG
RESTRICTED = ("n_components", "search_window", "aligned")  # what makes a scorer look at less than all patches


@dataclass(frozen=True)
class Content:
    """Everything that the page's script reads, and what it was made of."""

    data: dict[str, object]
    tokens: Tensor
    quantized: Quantized
    references: np.ndarray
    interval: tuple[float, float]

    def agreement(self) -> Agreement:
        """Measure how far the page's answers are from those of the exact vectors."""
        return measure_agreement(self.tokens, self.quantized, self.references, self.interval)


def check_shows(scorer: PatchScorer) -> None:
    """Raise an error for what the page cannot compute."""
    if not isinstance(scorer, MutualScorer):
        raise ValueError(f"the page shows mutual scoring, and this detector scores by {type(scorer).__name__}")
    if limits := [f"{name}={getattr(scorer, name)!r}" for name in RESTRICTED if getattr(scorer, name)]:
        raise ValueError(
            f"the page compares all patches in all channels, and this detector has {', '.join(limits)}: fit one without"
        )


def find_images(detector: Detector, images: Images | None = None) -> ImageSet:
    """Return the images that a detector was fitted on: those that it knows, or the same ones from another place."""
    n_images = len(detector.names_)
    if images is None:
        known = detector.images_
        if known is None:
            raise ValueError(
                "a model file holds numbers and paths of images, and these images were not files: give images=, "
                f"an ImageSet or the folder of the {n_images} images that were fitted"
            )
        missing = [str(source) for source in known.sources if isinstance(source, Path) and not source.is_file()]
        if missing:
            raise DataNotFoundError(
                f"{len(missing)} of {n_images} photos are not where they were fitted, such as {missing[0]}: say in "
                "which folder they are now, images= or --images FOLDER"
            )
        return _unchanged(detector, known)
    given = as_image_set(images).scaled_as(detector.scales_)
    place = {name: i for i, name in enumerate(given.names)}
    if absent := [name for name in detector.names_ if name not in place]:
        raise ValueError(
            f"{len(absent)} of the {n_images} images that were fitted are not among the {len(given)} given, such as "
            f"{absent[0]}: give the folder that was fitted"
        )
    return _unchanged(detector, given.subset([place[name] for name in detector.names_]))


def _unchanged(detector: Detector, images: ImageSet) -> ImageSet:
    """Return the images, after a check that each is one of the fitted images by its SHA-256."""
    changed = [name for i, name in enumerate(images.names) if images.digest(i) not in detector.fitted_.batch.digests]
    if changed:
        raise ValueError(
            f"{len(changed)} of {len(images)} images were replaced or edited after the fit, such as {changed[0]}; "
            "their scores do not belong to these pictures. Restore the files, give their folder (images=, --images "
            "FOLDER), or fit again"
        )
    return images


def choose_features(detector: Detector, block: int | None = None, r: int | None = None) -> tuple[int, int]:
    """Return the layer index and the degree r that a page shows: by default the middle one, and 3 if scored."""
    layers, degrees = list(detector.features_.layers), list(detector.r_)
    s, usual_r = default_features(len(layers), degrees)
    block, r = layers[s] if block is None else block, usual_r if r is None else r
    if block not in layers or r not in degrees:
        raise ValueError(f"the detector did not score block {block} at r = {r}: blocks {layers}, r {degrees}")
    return layers.index(block), r


def choose_images(scores: ArrayLike, threshold: float, n_images: int) -> np.ndarray:
    """Choose n images: those above the threshold first, at most a half, then at even steps down the ranking.

    Examples
    --------
    >>> choose_images([0.1, 0.9, 0.2, 0.3, 0.4, 0.8], threshold=0.5, n_images=4)
    array([0, 1, 4, 5])
    """
    scores = np.asarray(scores)
    ranking = np.argsort(-scores, kind="stable")
    n_first = min(int((scores > threshold).sum()), n_images // 2)
    steps = np.linspace(n_first, len(scores) - 1, n_images - n_first).round().astype(int)
    return np.sort(ranking[[*range(n_first), *steps]])


def collect(
    detector: Detector, images: ImageSet, features: tuple[int, int], tokens: Tensor, n_images: int, n_components: int
) -> Content:
    """Collect the content of a page of so many images.

    Parameters
    ----------
    detector : Detector
        Fitted, with mutual scoring.
    images : ImageSet
        What `find_images` gives.
    features : (int, int)
        Index of the layer, and r.
    tokens : Tensor (N, M, C)
        Aggregated patch tokens of these features, without copies.
    n_images, n_components : int
        How many images, and how many principal components of their patch vectors.
    """
    (s, r), kept = features, unique_indices(detector.copy_of_)
    scores, scorer = replace(detector.scores_, images=images), detector.get_scorer(s, r)
    chosen = choose_images(scores.image_scores[kept], scores.threshold, n_images)  # places among the originals
    shown = kept[chosen]  # among all
    of_all = choose_references(len(kept), scorer.references).numpy()
    references = np.flatnonzero(np.isin(chosen, of_all))
    if len(references) < 2:
        raise ValueError(f"of the images that score the others only {len(references)} fit: allow a larger page")
    tokens, class_tokens = tokens[chosen], detector.features_.class_tokens[shown]
    quantized = quantize(tokens, n_components)
    degree, rescoring = list(detector.r_).index(r), detector.components_.rescoring
    masks = scores.masks()
    defective = None if masks is None else defective_patches(masks, detector.features_.grid)[shown]
    data = {
        "grid": list(detector.features_.grid),
        "block": detector.features_.layers[s],
        "r": r,
        "names": [detector.names_[i] for i in shown.tolist()],
        "numbers": shown.tolist(),
        "labels": None if images.labels is None else images.labels[shown].tolist(),
        "defective": None if defective is None else _text(np.packbits(defective)),
        "codes": _text(quantized.codes),
        "steps": quantized.steps.tolist(),
        "outside": _text(quantized.outside),
        "outsideStep": quantized.outside_step,
        "references": references.tolist(),
        "interval": list(scorer.interval),
        "similarity": _in_levels(image_similarity(class_tokens).numpy()),
        "windows": list(rescoring.sizes) if isinstance(rescoring, RsCIN) else None,
        "similar": default_threshold(detector.patch_scores_[degree, s]),
        "mapScores": scores.map_scores[shown].tolist(),
        "imageScores": scores.image_scores[shown].tolist(),
        "threshold": scores.threshold if np.isfinite(scores.threshold) else None,
        "flagged": scores.is_outlier[shown].tolist(),
        "patchScores": _in_levels(detector.patch_scores_[degree, s][shown]),
        "meanScores": _in_levels(detector.patch_scores_.mean(axis=(0, 1))[shown]),
        "pictures": [_picture(scores, i) for i in shown.tolist()],
        "colors": COLORS,
        "heat": _text(HEAT(np.arange(256), bytes=True)[:, :3]),
        "viridis": _text(VIRIDIS(np.arange(256), bytes=True)[:, :3]),
    }
    return Content(data, tokens, quantized, references, scorer.interval)


def _picture(scores: Scores, i: int) -> str:
    """Draw what the backbone saw of image i in the photo's own shape, with its true defect outlined."""
    seen = crop(scores.required_images[i], scores.region).convert("RGB")
    width, height = (max(1, round(PICTURE * side / max(seen.size))) for side in seen.size)
    buffer = io.BytesIO()
    mask = scores.required_images.mask(i, scores.region)
    draw_mask_outline(seen.resize((width, height)), mask).save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _text(values: np.ndarray) -> str:
    """Write numbers, the lowest byte of each first, as base64."""
    little = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode()


def _in_levels(values: np.ndarray) -> dict[str, object]:
    """Round values to 65,536 levels between their lowest and highest."""
    low, step = float(values.min()), float(np.ptp(values)) / 65535 or 1.0
    return {"low": low, "step": step, "codes": _text(np.rint((values - low) / step).astype(np.uint16))}
