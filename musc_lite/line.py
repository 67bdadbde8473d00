"""A batch that was fitted once and kept, against which the photos of each day are scored: a line file.

A line file is what `Detector.save` writes: numbers and text that can run no code, complete or not there, with a
checksum.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from sklearn.base import clone

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.coerce import Images
from musc_lite.data.image_set import ImageSet
from musc_lite.data.verdicts import Verdict, sort_by_verdict
from musc_lite.detector import Detector
from musc_lite.results.scores import Scores

__all__ = ["about_line", "apply_line", "fit_line"]


def fit_line(
    detector: Detector, images: ImageSet, verdicts: "list[Verdict] | None" = None, *, trusted: bool = False
) -> tuple[Detector, Scores | None]:
    """Fit a reference batch, without what was found to be bad.

    Parameters
    ----------
    detector : Detector
        Unfitted.
    images : ImageSet
    verdicts : list of Verdict, optional
        Images with the verdict bad leave the batch.
    trusted : bool
        Score by the images with the verdict good alone, two of them at least; the scorer must have `references`.

    Returns
    -------
    detector : Detector
        Fitted.
    before : Scores or None
        What all images scored before any of them left; None without verdicts.

    Raises
    ------
    ValueError
        If fewer than two images stay, or are good where only these are trusted.
    """
    if verdicts is None:
        if trusted:
            raise ValueError("trusted images are those with the verdict good: verdicts are needed")
        return detector.fit(images), None
    kinds = sort_by_verdict(images, verdicts)
    kept = [i for i, kind in enumerate(kinds) if kind != "bad"]
    good = [images.names[i] for i, kind in enumerate(kinds) if kind == "good"]
    if len(kept) < 2 or (trusted and len(good) < 2):
        raise ValueError(
            f"of {len(images)} images {len(images) - len(kept)} are bad and {len(good)} are good by the verdicts: at "
            f"least 2 {'good ones ' if trusted else ''}are needed to score by"
        )
    before = detector.fit(images).scores_
    if trusted:
        detector = _with_references(detector, good)
    return detector.fit(images.subset(kept)), before


def _with_references(detector: Detector, names: list[str]) -> Detector:
    """Let a detector score by some images alone."""
    if "references" in detector.get_params(deep=False):
        return detector.set_params(references=names)
    scorer = detector.parts.scorer
    if "references" not in scorer.get_params(deep=False):
        raise ValueError(f"{type(scorer).__name__} has no references: it cannot score by trusted images alone")
    return detector.set_params(scorer=clone(scorer).set_params(references=names))


def about_line(path: str | Path, detector: Detector) -> dict[str, str]:
    """Say of which day, size and content the reference is, title: value.

    Parameters
    ----------
    path : str or Path
        The line file that the detector was read from.
    detector : Detector
    """
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    fitted = f"fitted on {detector.fitted_at_}" if detector.fitted_at_ else "of an unknown day (an early version)"
    return {"reference": f"{Path(path).name}: {len(detector.names_)} images, {fitted}; SHA-256 {digest}"}


def apply_line(
    path: str | Path,
    X: Images,
    backbone: Backbone | None = None,
    device: str | None = None,
    cache_dir: str | Path | None = None,
) -> Scores:
    """Score new images against a line file.

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
    ...     MuSc(image_size=28).fit(planted_textures("brick", 4, 1)).save(f"{folder}/line.musc")
    ...     apply_line(f"{folder}/line.musc", planted_textures("brick", 3, 1, seed=1)).about["reference"]
    'line.musc: 4 images, fitted on ...; SHA-256 ...'
    """
    detector = Detector.load(path, backbone, device).set_params(cache_dir=cache_dir)
    scores = detector.score_images(X)
    known = scores.batch and replace(scores.batch, images=None)  # its photos may be gone
    return replace(scores, batch=known, about={**scores.about, **about_line(path, detector)})
