"""Reference models: a fitted batch in a file, against which the images of each day are scored.

`Detector.save` writes the file: numbers and text that can run no code, complete or not there, with a checksum.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.base import clone

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import Images
from musc_lite.data.verdicts import Verdict, sort_by_verdict
from musc_lite.detector.detector import Detector
from musc_lite.results.scores import Scores
from musc_lite.scorers.reference_images import References
from musc_lite.stages.conformal import ConformalThreshold, min_false_alarm_rate
from musc_lite.stages.thresholds import ContaminationThreshold
from musc_lite.utils.names import writable

LEAST_TO_SCORE_BY = 2  # images
TRUSTED = "trusted"  # as references: the images with the verdict good


def fit_reference(
    detector: Detector, images: ImageSet, verdicts: "list[Verdict] | None" = None
) -> tuple[Detector, Scores | None]:
    """Fit a reference batch, without what was found to be bad.

    Images with the verdict good are trusted: a scorer whose `references` are "trusted" scores by them alone, and a
    `ConformalThreshold` keeps a half of them out of the reference, drawn at random, or as many as its rate needs.

    Parameters
    ----------
    detector : Detector
        Unfitted.
    images : ImageSet
    verdicts : list of Verdict, optional
        Images with the verdict bad leave the batch.

    Returns
    -------
    detector : Detector
        Fitted.
    before : Scores or None
        What all images scored before any of them left, with the threshold "auto"; None without verdicts.

    Raises
    ------
    ValueError
        If fewer than two images are left to score by, or too few are good for what is asked of them.
    """
    if verdicts is None:
        return detector.fit(images), None
    kinds, threshold = np.array(sort_by_verdict(images, verdicts)), detector.components.threshold
    by_trusted = _references(detector) == TRUSTED
    digests = np.array([images.digest(i) for i in range(len(images))])
    first_copies = np.unique(digests, return_index=True)[1]  # a copy of a trusted image is no second one
    good = np.intersect1d(np.flatnonzero(kinds == "good"), first_copies)
    told = f"of {len(images)} images {(kinds == 'bad').sum()} are bad and {len(good)} are good by the verdicts"
    n_outside = 0
    if isinstance(threshold, ConformalThreshold):
        n_others = len(good if by_trusted else np.unique(digests[kinds != "bad"]))  # who may stay, or be kept out
        n_outside = _count_outside(threshold, len(good), n_others, told)
    outside = np.sort(np.random.default_rng(0).permutation(good)[:n_outside])
    batch = np.flatnonzero((kinds != "bad") & ~np.isin(digests, digests[outside]))
    references = np.setdiff1d(good, outside) if by_trusted else batch
    if len(references) < LEAST_TO_SCORE_BY:
        good_ones = "good ones more " if by_trusted else ""
        raise ValueError(f"{told}: at least {LEAST_TO_SCORE_BY} {good_ones}are needed to score by")
    plain = detector.with_components(threshold=ContaminationThreshold())
    before = (_with_references(plain, None) if by_trusted else plain).fit(images).scores_
    if by_trusted:
        detector = _with_references(detector, [images.names[i] for i in references.tolist()])
    return detector.fit(images.subset(batch), trusted=images.subset(outside) if n_outside else None), before


def _count_outside(threshold: ConformalThreshold, n_good: int, n_others: int, told: str) -> int:
    """Return the number of good images to calibrate the threshold with; raise ValueError if the rate needs more."""
    threshold.check()
    most = min(n_good, n_others - LEAST_TO_SCORE_BY)
    if threshold.min_calibration_size <= most:
        return max(threshold.min_calibration_size, n_good // 2)
    rate = f", or ask for a rate of {min_false_alarm_rate(most):g} or more" if most > 0 else ""
    raise ValueError(
        f"a false alarm rate of {threshold.rate:g} needs at least {threshold.min_calibration_size} images that are "
        f"known to be good and are not compared with, and {LEAST_TO_SCORE_BY} more to score by; {told}: confirm "
        f"more{rate}"
    )


def use_trusted_references(detector: Detector) -> Detector:
    """Let a detector score by images with the verdict good alone, once `fit_reference` knows them.

    Raises
    ------
    ValueError
        If its scorer has no references.
    """
    return _with_references(detector, TRUSTED)


def _references(detector: Detector) -> References:
    return getattr(detector.components.scorer, "references", None)


def _with_references(detector: Detector, references: References) -> Detector:
    """Return which images the others are scored by."""
    scorer = detector.components.scorer
    if "references" not in scorer.get_params(deep=False):
        raise ValueError(f"{type(scorer).__name__} has no references: it cannot score by trusted images alone")
    return detector.with_components(scorer=clone(scorer).set_params(references=references))


def reference_digest(path: str | Path) -> str:
    """Return the SHA-256 of a model file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reference_info(path: str | Path, detector: Detector) -> dict[str, str]:
    """Return of which day, size and content the reference is, title: value.

    Parameters
    ----------
    path : str or Path
        the model file that the detector was read from.
    detector : Detector
    """
    fitted = f"fitted on {detector.fitted_at_}" if detector.fitted_at_ else "of an unknown day (an early version)"
    content = f"{len(detector.names_)} images, {fitted}; SHA-256 {reference_digest(path)}"
    return {"reference": f"{writable(Path(path).name)}: {content}"}


def apply_reference(
    path: str | Path,
    X: Images,
    backbone: Backbone | None = None,
    device: str | None = None,
    cache_dir: str | Path | None = None,
) -> Scores:
    """Score new images against a model file.

    Parameters
    ----------
    path : str or Path
        What `Detector.save` or `musc-lite fit` wrote.
    X : folder, files, images or arrays
        See `MuSc.fit`; one is enough.
    backbone, device
        See `Detector.load`.
    cache_dir : path, optional
        Where the features of the new images are kept: see `MuSc`.

    Returns
    -------
    Scores
        Of the new images only; `about` names the reference. The reference's own photos need not be there any more.

    Raises
    ------
    DataNotFoundError
        If the file is none, or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from musc_lite import MuSc, planted_textures
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     MuSc(image_size=28).fit(planted_textures("brick", 4, 1)).save(f"{folder}/model.musc")
    ...     apply_reference(f"{folder}/model.musc", planted_textures("brick", 3, 1, seed=1)).about["reference"]
    'model.musc: 4 images, fitted on ...; SHA-256 ...'
    """
    detector = Detector.load(path, backbone, device).set_params(cache_dir=cache_dir)
    scores = detector.score_images(X)
    known = scores.batch and replace(scores.batch, images=None)  # its photos may be gone
    return replace(scores, batch=known, about={**scores.about, **reference_info(path, detector)})
