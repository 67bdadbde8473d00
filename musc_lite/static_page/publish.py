"""Write a fitted detector as one HTML file to explore: no Jupyter, no Python, no network."""

import json
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from sklearn.utils.validation import check_is_fitted

from musc_lite.data.duplicates import unique_indices
from musc_lite.data.loaders import Images
from musc_lite.detector.detector import Detector
from musc_lite.reports.html import filled_in
from musc_lite.static_page.bundle import script, styles
from musc_lite.static_page.payload import Content, check_shows, choose_features, collect, find_images
from musc_lite.static_page.quantization import Agreement
from musc_lite.utils.files import atomic_write
from musc_lite.utils.validation import parse_bytes

N_COMPONENTS = 64
LEAST = 4  # images: fewer have nothing to rank
WORDS = 2000  # bytes that the page's words about itself take at most


@dataclass(frozen=True)
class Published:
    """What was written.

    Attributes
    ----------
    path : Path
    n_bytes : int
    n_images : int
        On the page; fewer than were fitted where not all fit, and where some are copies.
    agreement : Agreement
        How far its answers are from those of the exact patch vectors.
    words : list of str
        What the page says about itself.
    """

    path: Path
    n_bytes: int
    n_images: int
    agreement: Agreement
    words: list[str]


def publish(
    detector: Detector,
    path: str | Path,
    images: Images | None = None,
    *,
    block: int | None = None,
    r: int | None = None,
    max_bytes: int | str = "1.5MB",
) -> Published:
    """Write one HTML file in which anyone can explore a fitted batch: its patches, interval, thresholds, re-scoring.

    It opens from a disk or a mail in any browser of today, and asks for nothing else. It computes mutual scoring anew
    from 64 principal components of one block's patch vectors, 8 bits each, and says how far that is from the exact
    vectors. Where the batch does not fit, the page has fewer images and says so: the flagged ones, at most a half
    of them, and others at even steps down the ranking.

    Parameters
    ----------
    detector : Detector
        Fitted, with mutual scoring of all patches (`MutualScorer` without a window); a loaded one will do.
    path : str or Path
        Such as page.html.
    images : ImageSet, folder or files, optional
        Where the images of the batch are now; None: where they were when the detector was fitted.
    block, r : int, optional
        Which of the detector's blocks and degrees; None: the middle block, and 3 where it is one of the degrees, else
        the largest.
    max_bytes : int or str
        How large the file may be.

    Returns
    -------
    Published

    Raises
    ------
    ValueError
        If the detector does not score mutually, did not score this block or r, or not even 4 images fit.
    DataNotFoundError
        If the photos are not there any more.

    Examples
    --------
    >>> import tempfile
    >>> from musc_lite import MuSc, planted_textures
    >>> detector = MuSc(image_size=56).fit(planted_textures("brick", 6, 1, image_size=56))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     publish(detector, f"{folder}/page.html").n_images
    6
    """
    check_is_fitted(detector)
    check_shows(detector.components_.scorer)
    found, features, limit = find_images(detector, images), choose_features(detector, block, r), parse_bytes(max_bytes)
    n_batch, n_patches = len(unique_indices(detector.copy_of_)), detector.patch_scores_.shape[-1]
    n_images = min(n_batch, max(LEAST, limit // (n_patches * min(N_COMPONENTS, detector.backbone_.width))))
    tokens = detector.aggregated_tokens(*features)
    while True:
        content = collect(detector, found, features, tokens, n_images, N_COMPONENTS)
        size = len(_page(content, [], n_images)) + WORDS
        if size <= limit:
            break
        if n_images <= LEAST:
            raise ValueError(f"a page of {n_images} images takes {size:,} bytes: max_bytes={max_bytes!r} is less")
        n_images = max(LEAST, min(n_images - 1, int(n_images * limit / size)))
    agreement = content.agreement()
    words = [*_describe_page(detector, content, n_images, n_batch), describe_agreement(agreement)]
    page = _page(content, words, n_images)
    path = Path(path)
    with atomic_write(path) as partial:
        partial.write_bytes(page)
    return Published(path, len(page), n_images, agreement, words)


def _describe_page(detector: Detector, content: Content, n_images: int, n_batch: int) -> list[str]:
    """Return what the page shows, what of it is exact, and how far the rest is from that."""
    data, (h, w) = content.data, detector.features_.grid
    words = [
        f"{n_images} images of {h} x {w} patches, seen by {detector.backbone_.name}: block {data['block']} (counted "
        f"from 0), r = {data['r']}. Distances, counts and the scores of an interval are computed here from these "
        "alone; the ranks of patches, and the scores of images that are cut by a threshold or re-scored, are the "
        "detector's own."
    ]
    if n_images < n_batch:
        words.append(
            f"Not all fit: these are {n_images} of {n_batch} images, the flagged ones (at most a half of the page) "
            "and others at even steps down the ranking. Patches are compared and images re-scored within these, so "
            "that scores differ from those in the whole batch."
        )
    return words


def describe_agreement(agreement: Agreement) -> str:
    """Return how far what a page computes is from what the library computes."""
    (distance, farthest), (score, worst) = agreement.distance_error, agreement.score_error
    return (
        f"Distances on this page are computed from {agreement.n_components} components of 8 bits instead of "
        f"{agreement.n_channels} numbers a patch. Measured on all patches of this page: the nearest patch in another "
        f"image is the same in {100 * agreement.same_nearest:.0f} of 100 cases; its distance differs by {distance:.3f} "
        f"in the mean and {farthest:.3f} at most, the score of a patch by {score:.3f} and {worst:.3f}; rank "
        f"correlation of the images' scores {agreement.image_rank:.3f}, of the patches' {agreement.patch_rank:.3f}."
    )


def _page(content: Content, words: list[str], n_images: int) -> bytes:
    """Fill in the template."""
    data = json.dumps(content.data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"data": Markup(data), "script": Markup(script()), "styles": Markup(styles())}
    return filled_in("page.html.jinja", "musc_lite.static_page", n_images=n_images, words=words, **parts)
