"""A fit: all stages on a batch, from a `Setup` and images to one frozen record."""

import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from musc_lite.analysis.groups import Groups, check_groups, find_normal
from musc_lite.data.duplicates import expand, unique_indices
from musc_lite.data.image_set import ImageSet
from musc_lite.data.pixels import LEGACY, describe_scales
from musc_lite.detector.batch import (
    Batch,
    Scorers,
    UniqueBatch,
    fit_score,
    make_scorers,
    score_each,
    unique_batch,
    warn_of_reading,
)
from musc_lite.detector.planning import extent_of, plan_memory, view_of_batch
from musc_lite.detector.setup import Setup
from musc_lite.results.scores import Scores
from musc_lite.scorers.base import PatchScorer, ScoringContext
from musc_lite.stages.features import Features, storage_of
from musc_lite.stages.maps import upsample_maps
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.progress import timed


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything that a fit found.

    Attributes
    ----------
    setup : Setup
        The parameters at the time of the fit.
    batch : UniqueBatch
        Names, digests, copies, the images themselves.
    features : Features
        Patch tokens (N, S, M, C) and class tokens (N, D).
    r : tuple of int
        Aggregation degrees.
    scorers : dict of (int, int) to PatchScorer
        The fitted scorer of the s-th layer at degree r.
    groups : Groups or None
        The kinds of image, without copies; not saved.
    normal : ndarray or None
        The images that all are scored by; None: all.
    scores : Scores
        Patch, map and image scores; the decision; seconds; what shaped the numbers.
    calibration : ndarray (n,) or None
        Scores of the calibration images, in order.
    fitted_at : str or None
        When the fit ended, UTC (ISO 8601).
    products : {"float32", "bfloat16", "float16"}
        The precision of the products that scored the batch.
    storage : {"float32", "float16", "disk"}
        How the patch tokens are kept.
    """

    setup: Setup
    batch: UniqueBatch
    features: Features
    r: tuple[int, ...]
    scorers: Scorers
    groups: Groups | None
    normal: np.ndarray | None
    scores: Scores
    calibration: np.ndarray | None
    fitted_at: str | None
    products: str
    storage: str

    @property
    def tokens(self) -> Batch:
        """The tokens that are compared: those of each image once."""
        return Batch(self.features, self.batch.copy_of, self.setup.components.aggregation)

    def with_decision(self, decision: Decision) -> "Fitted":
        """Return the same with another threshold."""
        return replace(self, scores=replace(self.scores, decision=decision, about=_about(self, decision)))

    def with_images(self, images: ImageSet) -> "Fitted":
        """Return the same with the images of the batch, which a file may not name."""
        scores = replace(self.scores, images=images)
        return replace(self, batch=replace(self.batch, images=images), scores=scores)

    def score_images(self, images: ImageSet, **reading: Any) -> Scores:
        """Score new images against the batch: see `Detector.score_images`.

        `reading`, a batch size and a folder for the cache, may differ from the fit's: no score depends on it.
        """
        batch, setup = self.batch, replace(self.setup, params={**self.setup.params, **reading})
        images = images.scaled_as(batch.scales)
        if known := batch.names_in(images):
            warnings.warn(
                f"{len(known)} of these images belong to the fitted batch, such as {known[0]}: each finds itself there "
                "and looks normal; the scores of fitted images are in scores_",
                stacklevel=3,
            )
        arrays = _score_new(setup, self.tokens, self.scorers, self.scores.map_scores, images)
        warn_of_reading(images, stacklevel=4)
        if others := [kind for kind in images.scales.found if kind not in batch.scales]:
            warnings.warn(
                f"the fitted batch holds no {' or '.join(others)} values: these images are scaled by themselves, and "
                "their scores may not be comparable with those of the batch",
                stacklevel=3,
            )
        of_images, of_maps, maps, patches = arrays
        return Scores(
            images.names, of_images, of_maps, maps, patches, self.scores.decision, images,
            batch=self.scores, about=self.scores.about, resolved_view=self.scores.resolved_view,
            calibration=self.calibration,
        )  # fmt: skip


def fit_batch(
    setup: Setup, images: ImageSet, features: Features | None = None, trusted: ImageSet | None = None
) -> Fitted:
    """Run all stages on a batch; `features` that are there already are not extracted again.

    Parameters
    ----------
    setup : Setup
    images : ImageSet
        At least 2.
    features : Features, optional
    trusted : ImageSet, optional
        Calibration images, known to be good and outside of the batch.
    """
    parts, backbone, seconds = setup.components, setup.backbone, dict[str, float]()
    parts.threshold.check_trusted(len(trusted or ()))
    batch = unique_batch(images)
    resolved_view = view_of_batch(setup, images, features)
    extent = extent_of(setup, resolved_view, features)
    if features:
        features.check(len(images), extent.layers, resolved_view, backbone.width)
    scorer, groups, normal = check_groups(setup.groups, parts.scorer), None, None
    scorers = make_scorers(scorer, batch, extent.layers, extent.r)
    first = next(iter(scorers.values()))
    plan = plan_memory(first, len(images), extent, setup.max_memory, backbone.precision)
    with timed(seconds, "features"):
        found = features or setup.extract(images, extent.layers, resolved_view, plan.storage)
    tokens = Batch(found, batch.copy_of, parts.aggregation)
    if setup.groups is not None:
        with timed(seconds, "groups"):
            groups, normal = find_normal(found, unique_indices(batch.copy_of), setup.groups)
        scorers = make_scorers(scorer_of_batch(setup, normal), batch, extent.layers, extent.r)
    with timed(seconds, "scoring"):
        patch_scores = score_each(fit_score, scorers, tokens, backbone, plan.scoring_bytes)
    with timed(seconds, "maps"):
        maps = _maps(patch_scores, found)
        map_scores = parts.pooling.pool(maps)
    with timed(seconds, "re-scoring"):
        image_scores = parts.rescoring.rescore(map_scores, tokens.class_tokens)
    # The one place where torch turns into NumPy, and where copies get the results of their originals.
    patches, *arrays = (values.numpy() for values in (patch_scores, maps, map_scores, image_scores))
    patches = expand(patches, batch.copy_of, axis=2)
    all_maps, of_maps, of_images = (expand(values, batch.copy_of) for values in arrays)
    calibration = _calibrate(setup, batch, tokens, scorers, of_maps, trusted)
    threshold = parts.threshold.compute(arrays[2], arrays[1], calibration)
    decision = Decision.by(parts.threshold, threshold, len(arrays[2]), calibration)
    scores = Scores(
        batch.names, of_images, of_maps, all_maps, patches, decision, images, batch.copy_of,
        seconds=seconds, resolved_view=found.resolved_view, appearance=batch.appearance,
    )  # fmt: skip
    storage = storage_of(found) if features else plan.storage
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fitted = Fitted(
        setup, batch, found, extent.r, scorers, groups, normal, scores, calibration, now, backbone.products, storage
    )
    return fitted.with_decision(decision)


def scorer_of_batch(setup: Setup, normal: np.ndarray | None) -> PatchScorer:
    """Return the scorer; where a group of the batch is the normal one, one that compares with that group."""
    scorer = setup.components.scorer
    return scorer if normal is None else clone(scorer).set_params(references=normal.tolist())


def _calibrate(
    setup: Setup, batch: UniqueBatch, tokens: Batch, scorers: Scorers, map_scores: np.ndarray, trusted: ImageSet | None
) -> np.ndarray | None:
    """Score calibration images, each once, against the batch: in order (n,)."""
    if trusted is None:
        return None
    if known := batch.names_in(trusted):
        raise ValueError(
            f"{len(known)} trusted images belong to the batch, such as {known[0]}: there each finds itself; take "
            "them out of one of the two"
        )
    return np.sort(_score_new(setup, tokens, scorers, map_scores, trusted.scaled_as(batch.scales))[0])


def _score_new(
    setup: Setup, batch: Batch, scorers: Scorers, map_scores: np.ndarray, images: ImageSet
) -> list[np.ndarray]:
    parts, features = setup.components, batch.features
    new = setup.extract(images, features.layers, features.resolved_view)

    def score(scorer: PatchScorer, fitted: Tensor, s: int, r: int, context: ScoringContext) -> Tensor:
        tokens = parts.aggregation.aggregate(new.patch_tokens[:, s], new.grid, r, fitted.device)
        return scorer.score(tokens, fitted, context)

    patch_scores = score_each(score, scorers, batch, setup.backbone)
    maps = _maps(patch_scores, features)
    of_maps = parts.pooling.pool(maps)
    of_batch = torch.from_numpy(map_scores[unique_indices(batch.copy_of)])
    of_images = parts.rescoring.rescore_new(of_maps, new.class_tokens, of_batch, batch.class_tokens)
    return [values.numpy() for values in (of_images, of_maps, maps, patch_scores)]


def _maps(patch_scores: Tensor, features: Features) -> Tensor:
    """(R, S, N, M) -> (N, H, W)."""
    return upsample_maps(patch_scores.mean(dim=(0, 1)), features.grid, features.resolved_view.size)


def _about(fitted: Fitted, decision: Decision) -> dict[str, str]:
    """Return everything that shaped the numbers, title: value."""
    setup, batch, features = fitted.setup, fitted.batch, fitted.features
    backbone, lines, summary = setup.backbone, setup.components.provenance(), setup.components.scorer.summary
    depth = "" if batch.scales == LEGACY else describe_scales(batch.scales)
    if fitted.normal is not None:
        lines["groups"] = f"scored by the {len(fitted.normal)} images of the group that is said to be normal"
    precisions = dict.fromkeys((fitted.products, backbone.products))
    if [*precisions] != ["float32"]:
        of = "; of new images ".join(precisions)
        lines["precision"] = f"{of}: scores differ a little from those of float32"
    if fitted.storage != "float32":
        where = ", on disk" if fitted.storage == "disk" else ""
        lines["storage"] = f"patch tokens in float16{where}: scores stay within 0.002 of those of float32"
    if fitted.calibration is not None:
        lines["trusted"] = f"{len(fitted.calibration)} images outside of the batch"
    return ({"method": summary} if summary else {}) | {
        "backbone": f"{backbone.name}, weights {backbone.pretrained!r}, SHA-256 {backbone.weights_sha256}",
        **features.resolved_view.provenance(),
        **({"bit depth": depth} if depth else {}),
        "blocks (0-based)": ", ".join(map(str, features.layers)),
        "aggregation degrees r": ", ".join(map(str, fitted.r)),
        **lines,
        "threshold": f"{decision.value:.6g} ({decision.rule})",
    }
