"""Photos that are in a batch twice: copies of a file, and the same photo saved again, smaller or brighter.

They matter because images score each other: a defect that is photographed twice finds itself in the copy, and passes
for normal.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from musc_lite.data.image_set import ImageSet
from musc_lite.support.progress import progress_bar

__all__ = [
    "AT_LEAST",
    "SIDE",
    "Duplicates",
    "duplicates_among",
    "expand",
    "find_duplicates",
    "fine_structure",
    "near_duplicates",
    "originals",
    "pairs_in_words",
    "places",
    "warn_of_duplicates",
    "without_copies",
]

# Photos by a fixed camera all look alike, so it is fine structure that is compared, what is left without blur. On 40
# photos of boards and 59 of toys no two come above 0.95; saved again, smaller or brighter, none below 0.99.
SIDE = 48  # pixels a side
AT_LEAST = 4 * SIDE  # pixels a side that are decoded, see `read_image`
BLUR = 2.0  # pixels
LIMIT = 0.97  # correlation
LEAST_CONTRAST = 0.25  # gray levels: below, it is compression and noise that would be compared
BLOCK = 512  # images at a time


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which images are there twice.

    Attributes
    ----------
    digests : list of str
        Of all N images, as `ImageSet.digest` gives them.
    copy_of : ndarray (N,)
        For each image the first one with the very same bytes, itself where there is none before it.
    alike : list of (int, int)
        Pairs that are nearly the same, as `near_duplicates` gives them, without copies.
    """

    digests: list[str]
    copy_of: np.ndarray
    alike: list[tuple[int, int]]


def find_duplicates(images: ImageSet) -> Duplicates:
    """Find copies, byte for byte, and what is nearly the same; each file is opened once for all of it.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> photo = np.random.default_rng(0).random((96, 96))
    >>> found = find_duplicates(from_arrays([photo, photo, 0.9 * photo]))
    >>> found.copy_of, found.alike
    (array([0, 0, 2]), [(0, 2)])
    """
    digests, fine = [], np.zeros((len(images), SIDE * SIDE), np.float32)
    for i in progress_bar(range(len(images)), desc="looking for duplicates", unit="image", leave=False):
        digest, image = images.digest_and_image(i, AT_LEAST)
        digests.append(digest)
        fine[i] = fine_structure(image)
    return duplicates_among(digests, fine)


def duplicates_among(digests: list[str], fine: np.ndarray) -> Duplicates:
    """Find copies by N digests, and what is nearly the same by `fine_structure`: (N, SIDE²)."""
    first: dict[str, int] = {}  # digest: image
    copy_of = np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=int)
    is_first = copy_of == np.arange(len(copy_of))
    return Duplicates(digests, copy_of, _alike(fine * is_first[:, None]))  # zeros are like nothing


def near_duplicates(images: ImageSet) -> list[tuple[int, int]]:
    """Find pairs of images that show the same in the same place: copies, also saved again, resized or brightened.

    Another photo of the same thing counts only where nothing has moved. Images of another crop or turned do not
    count, nor do images without structure.

    Returns
    -------
    list of (int, int)
        Indices i < j, in order; pairs of equal images are among them.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> photo = np.random.default_rng(0).random((96, 96))
    >>> near_duplicates(from_arrays([photo, 1 - photo, 0.9 * photo]))
    [(0, 2)]
    """
    fine = np.zeros((len(images), SIDE * SIDE), np.float32)
    for i in progress_bar(range(len(images)), desc="looking for near duplicates", unit="image", leave=False):
        fine[i] = fine_structure(images.digest_and_image(i, AT_LEAST)[1])
    return _alike(fine)


def _alike(fine: np.ndarray) -> list[tuple[int, int]]:
    """Find the pairs of rows that correlate: (N, SIDE²)."""
    pairs = []
    for start in range(0, len(fine), BLOCK):
        correlations = fine[start : start + BLOCK] @ fine.T
        pairs += [(start + i, j) for i, j in np.argwhere(correlations > LIMIT).tolist() if start + i < j]
    return pairs


def fine_structure(image: Image.Image) -> np.ndarray:
    """Reduce an image to what blur takes away from its small gray version: (SIDE²,), of unit length, 0 where flat."""
    small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    fine = (small - gaussian_filter(small, BLUR)).ravel()
    return fine / np.linalg.norm(fine) if fine.std() > LEAST_CONTRAST else np.zeros_like(fine)


def originals(copy_of: np.ndarray) -> np.ndarray:
    """Index the images that are no copies: (N',)."""
    return np.flatnonzero(copy_of == np.arange(len(copy_of)))


def without_copies(images: ImageSet) -> ImageSet:
    """Leave out images that have the very same bytes as one before them."""
    digests = [images.digest(i) for i in range(len(images))]
    return images.subset(sorted({digest: i for i, digest in reversed([*enumerate(digests)])}.values()))


def expand(values: np.ndarray, copy_of: np.ndarray, axis: int = 0) -> np.ndarray:
    """Give copies what their originals have: an axis of N' originals becomes one of N images."""
    if values.shape[axis] == len(copy_of):
        return values
    return values.take(np.searchsorted(originals(copy_of), copy_of), axis)


def places(names: Sequence[str], copy_of: np.ndarray) -> dict[str | int, int]:
    """Map each image's index and name to its place among the originals; a copy has its original's.

    Examples
    --------
    >>> places(["a", "copy of a", "b"], np.array([0, 0, 2]))
    {0: 0, 1: 0, 2: 1, 'a': 0, 'copy of a': 0, 'b': 1}
    """
    place = np.searchsorted(originals(copy_of), copy_of).tolist()
    return dict(enumerate(place)) | dict(zip(names, place, strict=True))


def warn_of_duplicates(found: Duplicates, names: Sequence[str]) -> None:
    """Name the images that are there twice: byte for byte, or saved again.

    Raises
    ------
    ValueError
        If all images are copies of one.
    """
    kept = originals(found.copy_of)
    if len(kept) < 2:
        raise ValueError(f"all {len(names)} images are copies of {names[0]}: give at least 2 different ones")
    copies = [(first, i) for i, first in enumerate(found.copy_of.tolist()) if first != i]
    if copies:
        several = f"{len(copies)} images are copies of others"
        warnings.warn(
            f"{several if len(copies) > 1 else '1 image is a copy of another'}, byte for byte: "
            f"{pairs_in_words(copies, names)}; each is scored once, so that a defect does not hide behind its own copy",
            stacklevel=4,
        )
    if found.alike:
        several = f"{len(found.alike)} pairs of images are"
        warnings.warn(
            f"{several if len(found.alike) > 1 else '1 pair of images is'} nearly the same: "
            f"{pairs_in_words(found.alike, names)}; a defect in both finds itself in the "
            "other and passes for normal: keep one of each",
            stacklevel=4,
        )


def pairs_in_words(pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    """Write the first pairs as "b.jpg (of a.jpg), ... and 7 more"."""
    shown = ", ".join(f"{names[j]} (of {names[i]})" for i, j in pairs[:5])
    return shown + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")
