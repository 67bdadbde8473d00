"""Size, shape and color of a batch, to tell whether new photos are taken as those of the reference."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from musc_lite.data.image_set import ImageSet
from musc_lite.utils.errors import ImageReadError

SAMPLE = 24  # images that are read
SIDE = 64  # pixels
CHROMA = 3.0  # gray levels between channels; tiles have 0, gravel, the grayest in color, 4 to 12
SHAPE = 1.1  # ratio of side ratios: above, an image is squeezed otherwise than the others
SIZE = 2.0  # ratio of lengths


@dataclass(frozen=True)
class Appearance:
    """How the images of a batch are taken."""

    size: tuple[int, int]  # median width and height in pixels
    shapes: tuple[float, float]  # lowest and highest width per height
    lengths: tuple[float, float]  # lowest and highest square root of width times height, in pixels
    is_gray: bool  # most images have no color


def appearance_of(images: ImageSet, chromas: Mapping[int, float] | None = None) -> Appearance | None:
    """Measure how images are taken, from at most `SAMPLE` of them; None where none of these can be read.

    `chromas` holds the `chroma` of each image where it is known; the pixels of the others are read.
    """
    known = chromas or {}
    sizes, gray = [], []
    for i in np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLE)).astype(int)).tolist():
        with suppress(ImageReadError):
            size = images.size(i)
            gray.append((known[i] if i in known else chroma(images.digest_and_image(i, SIDE)[1])) <= CHROMA)
            sizes.append(size)
    if not sizes:
        return None
    width, height = np.array(sizes, dtype=float).T
    shapes, lengths = width / height, np.sqrt(width * height)
    return Appearance(
        (round(np.median(width)), round(np.median(height))),
        (float(shapes.min()), float(shapes.max())),
        (float(lengths.min()), float(lengths.max())),
        bool(np.mean(gray) > 0.5),
    )


def differences(new: Appearance, reference: Appearance) -> list[str]:
    """Name what differs between new images and those of the reference.

    Examples
    --------
    >>> upright = Appearance((96, 128), (0.75, 0.75), (111, 111), True)
    >>> lying = Appearance((128, 96), (1.33, 1.33), (111, 111), False)
    >>> differences(upright, lying)
    ['shape (96 x 128 pixels, the reference 128 x 96)', 'color (gray, the reference in color)']
    """
    (width, height), (low, high), (shortest, longest) = new.size, reference.shapes, reference.lengths
    found, sizes = [], "({} x {} pixels, the reference {} x {})".format(*new.size, *reference.size)
    if not low / SHAPE <= width / height <= high * SHAPE:
        found.append(f"shape {sizes}")
    elif not shortest / SIZE < np.sqrt(width * height) < longest * SIZE:
        found.append(f"size {sizes}")
    if new.is_gray != reference.is_gray:
        found.append("color (gray, the reference in color)" if new.is_gray else "color (in color, the reference gray)")
    return found


def chroma(image: Image.Image) -> float:
    """Compute how many gray levels the channels of an image's most colored hundredth are apart, noise averaged away."""
    pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)).astype(int)
    return float(np.percentile(pixels.max(axis=2) - pixels.min(axis=2), 99))
