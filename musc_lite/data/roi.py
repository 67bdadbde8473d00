"""A part of a photo: a rectangle in shares of its width and height, so that it suits photos of any size."""

import numpy as np
from PIL import Image

Region = tuple[float, float, float, float]  # left, top, right, bottom
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
DARKENED = 0.6  # share of the brightness that is taken from what lies outside


def crop(image: Image.Image, region: Region = WHOLE) -> Image.Image:
    """Cut a region out of a photo, to whole pixels.

    Examples
    --------
    >>> crop(Image.new("RGB", (300, 200)), (0.1, 0.5, 0.6, 1.0)).size
    (150, 100)
    """
    return image if region == WHOLE else image.crop(pixel_box(region, image.size))


def crop_array(values: np.ndarray, region: Region = WHOLE) -> np.ndarray:
    """Return the part (H', W') of an array (H, W) that `crop` takes of an image of that size.

    Examples
    --------
    >>> crop_array(np.array([[0, 1, 2, 3]]), (0.5, 0.0, 1.0, 1.0))
    array([[2, 3]])
    """
    left, top, right, bottom = pixel_box(region, values.shape[::-1])
    return values[top:bottom, left:right]


def dim_outside(image: Image.Image, region: Region) -> Image.Image:
    """Darken what lies outside of a region of an RGB photo.

    Examples
    --------
    >>> np.asarray(dim_outside(Image.new("RGB", (4, 1), "white"), (0.25, 0, 0.5, 1)))[..., 0]
    array([[102, 255, 102, 102]], dtype=uint8)
    """
    dark = Image.blend(image, Image.new("RGB", image.size), DARKENED)
    dark.paste(crop(image, region), pixel_box(region, image.size))
    return dark


def pixel_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a region (left, top, right, bottom) in whole pixels of an image of this (width, height)."""
    edges = [round(share * side) for share, side in zip(region, (*size, *size), strict=True)]
    left, top = min(edges[0], size[0] - 1), min(edges[1], size[1] - 1)
    return left, top, max(edges[2], left + 1), max(edges[3], top + 1)


def resize_map_to_image(values: np.ndarray, size: tuple[int, int], region: Region = WHOLE) -> np.ndarray:
    """Stretch a map (H, W) over the region of a photo of this (width, height): (H', W'), 0 outside of it.

    Examples
    --------
    >>> resize_map_to_image(np.ones((2, 2)), (4, 2), (0.5, 0.0, 1.0, 1.0))
    array([[0., 0., 1., 1.],
           [0., 0., 1., 1.]], dtype=float32)
    """
    left, top, right, bottom = pixel_box(region, size)
    stretched = Image.fromarray(np.asarray(values, dtype=np.float32))
    whole = np.zeros((size[1], size[0]), dtype=np.float32)
    size_there = right - left, bottom - top
    whole[top:bottom, left:right] = np.asarray(stretched.resize(size_there, Image.Resampling.BILINEAR))
    return whole
