"""A part of a photo: a rectangle in shares of its width and height, so that it suits photos of any size."""

import numpy as np
from PIL import Image

__all__ = ["WHOLE", "Region", "crop", "lay_map", "pixel_box"]

Region = tuple[float, float, float, float]  # left, top, right, bottom
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


def crop(image: Image.Image, region: Region = WHOLE) -> Image.Image:
    """Cut a region out of a photo, to whole pixels.

    Examples
    --------
    >>> crop(Image.new("RGB", (300, 200)), (0.1, 0.5, 0.6, 1.0)).size
    (150, 100)
    """
    return image if region == WHOLE else image.crop(pixel_box(region, image.size))


def pixel_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Give (left, top, right, bottom) of a region in whole pixels of a photo of this (width, height), at least one."""
    edges = [round(share * side) for share, side in zip(region, (*size, *size), strict=True)]
    left, top = min(edges[0], size[0] - 1), min(edges[1], size[1] - 1)
    return left, top, max(edges[2], left + 1), max(edges[3], top + 1)


def lay_map(values: np.ndarray, size: tuple[int, int], region: Region = WHOLE) -> np.ndarray:
    """Stretch a map (H, W) over the region of a photo of this (width, height): (H', W'), 0 outside of it.

    Examples
    --------
    >>> lay_map(np.ones((2, 2)), (4, 2), (0.5, 0.0, 1.0, 1.0))
    array([[0., 0., 1., 1.],
           [0., 0., 1., 1.]], dtype=float32)
    """
    left, top, right, bottom = pixel_box(region, size)
    stretched = Image.fromarray(np.asarray(values, dtype=np.float32))
    whole = np.zeros((size[1], size[0]), dtype=np.float32)
    size_there = right - left, bottom - top
    whole[top:bottom, left:right] = np.asarray(stretched.resize(size_there, Image.Resampling.BILINEAR))
    return whole
