"""Photos that are in a batch twice: copies of a file, and the same photo saved again, smaller or brighter.

They matter because images score each other: a defect that is photographed twice finds itself in the copy, and passes
for normal.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from musc_lite.data.decode import read_image
from musc_lite.data.image_set import ImageSet
from musc_lite.support.progress import progress_bar

__all__ = ["near_duplicates"]

# Photos by a fixed camera all look alike, so it is fine structure that is compared, what is left without blur. On 40
# photos of boards and 59 of toys no two come above 0.95; saved again, smaller or brighter, none below 0.99.
SIDE = 48  # pixels a side
BLUR = 2.0  # pixels
LIMIT = 0.97  # correlation
LEAST_CONTRAST = 0.25  # gray levels: below, it is compression and noise that would be compared
BLOCK = 512  # images at a time


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
        fine[i] = _fine_structure(images.sources[i])
    pairs = []
    for start in range(0, len(images), BLOCK):
        correlations = fine[start : start + BLOCK] @ fine.T
        pairs += [(start + i, j) for i, j in np.argwhere(correlations > LIMIT).tolist() if start + i < j]
    return pairs


def _fine_structure(source: Path | Image.Image) -> np.ndarray:
    """Reduce an image to what blur takes away from its small gray version: (SIDE²,), of unit length, 0 where flat."""
    image = source if isinstance(source, Image.Image) else read_image(source, at_least=4 * SIDE)
    small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    fine = (small - gaussian_filter(small, BLUR)).ravel()
    return fine / np.linalg.norm(fine) if fine.std() > LEAST_CONTRAST else np.zeros_like(fine)
