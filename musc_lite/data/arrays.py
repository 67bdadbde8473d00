"""Images in memory, from NumPy, PyTorch or Pillow, become an `ImageSet`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from os import PathLike
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from musc_lite.data.decode import decode_pixels, reason
from musc_lite.data.image_set import ImageSet
from musc_lite.data.labels import BY_MASKS, labeling
from musc_lite.data.pixels import Scale, check_shape, deep_pixels, to_rgb
from musc_lite.utils.errors import ImageReadError

T = TypeVar("T")


def from_arrays(
    arrays: Iterable[Any],
    labels: Sequence[int] | np.ndarray | None = None,
    masks: Iterable[Any] | None = None,
    names: Sequence[str] | None = None,
) -> ImageSet:
    """Make an `ImageSet` of images in memory.

    Parameters
    ----------
    arrays : images one by one, such as a list or a generator, or one 4-D batch
        NumPy (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); torch (H, W), (1, H, W) or (3, H, W); or PIL images.
        Open files and bytes of PNG, JPEG, BMP, TIFF or WebP images are decoded.
        uint8, bool and floats in 0..1 are taken as they are; other integers and floats get one scale for all images
        (`pixels.scale_of`), and so do 0 and 1 in uint8. Tensors before normalization.
    labels : (N,) of 0 and 1, optional
        0 normal, 1 defective; taken from the masks when only those are given.
    masks : list of (H, W) bool or integer arrays or None, optional
        Nonzero is defective, None is a normal image.
    names : list of str, optional
        By default image_000, image_001, ...

    Raises
    ------
    ValueError
        When a shape, dtype, value or length is wrong, or labels and masks disagree.

    Examples
    --------
    >>> images = from_arrays(np.zeros((2, 4, 4, 3), np.uint8), masks=[None, np.eye(4, dtype=bool)])
    >>> images.labels
    array([0, 1])
    >>> images.masks(2)[1]
    array([[ True, False], [False,  True]])
    """
    one_thing = isinstance(arrays, str | bytes | PathLike | dict) or not isinstance(arrays, Iterable)
    if one_thing or hasattr(arrays, "read") or getattr(arrays, "ndim", 4) != 4:
        raise ValueError("give a list of images or one 4-D batch; one image: from_arrays([image])")
    items = _each("image", _item_to_picture, arrays)
    if not items:
        raise ValueError("no images: the list is empty")
    pictures, scales = _settled(items)
    names = [f"image_{i:03d}" for i in range(len(pictures))] if names is None else [str(name) for name in names]
    labels = None if labels is None else _checked_labels(labels)
    how = BY_MASKS if labels is None else "as given"
    images = ImageSet(pictures, names, labels)
    images.scales.found |= scales
    for name, item in zip(names, items, strict=False):
        for text in item.notes:
            images.notes.setdefault(text, {})[name] = None
    if masks is not None:
        checked = _each("mask", _checked_mask, masks)
        images = replace(images, mask_sources=checked)
        images = replace(images, labels=_labels_beside(checked, pictures, images.labels))
    return images if images.labels is None else replace(images, labeling=labeling(images.labels, how))


def _each(what: str, convert: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """`[convert(item) for item in items]`, with errors that say which item."""
    results = []
    for i, item in enumerate(items):
        try:
            results.append(convert(item))
        except ValueError as error:
            raise ValueError(f"{what} {i}: {error}") from error
        except Exception as error:  # an opened PIL image whose file is damaged
            raise ImageReadError(f"{what} {i} cannot be decoded: {reason(error)}") from error
    return results


class _Item(NamedTuple):
    """An 8-bit RGB image, or an array whose scale depends on the others; with its dtype, and remarks on it."""

    picture: Image.Image | np.ndarray
    dtype: np.dtype | None
    notes: list[str]


def _item_to_picture(item: Any) -> _Item:
    notes: list[str] = []
    if hasattr(item, "read") and not hasattr(item, "shape"):  # an open file, an upload
        item = decode_pixels(BytesIO(item.read()))
    elif isinstance(item, bytes):
        item = decode_pixels(BytesIO(item))
    if isinstance(item, Image.Image):
        pixels = deep_pixels(item)
        return (
            _Item(to_rgb(item, note=notes.append), None, notes) if pixels is None else _Item(pixels, pixels.dtype, [])
        )
    if isinstance(item, str | PathLike):
        raise ValueError(f"{str(item)!r} is a path, not an image: load_folder([{str(item)!r}, ...]) reads files")
    if isinstance(item, dict) or (
        isinstance(item, tuple | list) and any(isinstance(part, Image.Image) or hasattr(part, "shape") for part in item)
    ):
        pairs = "such as (image for image, label in dataset)"
        raise ValueError(f"a {type(item).__name__} is not an image: give the images alone, {pairs}")
    pixels = _to_numpy(item)
    if pixels.ndim == 4:
        raise ValueError(f"shape {pixels.shape} is a batch's: give (image for batch in batches for image in batch)")
    if _is_tensor(item) and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    check_shape(pixels)
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"dtype {pixels.dtype} is not supported: give integers, bool or float")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("NaN or infinite values: replace them first, for instance with np.nan_to_num")
    if pixels.dtype == bool or (pixels.dtype == np.uint8 and pixels.max() > 1):
        return _Item(to_rgb(pixels, note=notes.append), pixels.dtype, notes)
    return _Item(pixels.copy(), pixels.dtype, notes)


def _settled(items: Sequence[_Item]) -> tuple[list[Image.Image | np.ndarray], dict[str, Scale]]:
    """Convert the arrays that need no scale of the batch: bytes, and floats if all lie in 0..1; with their scales."""
    pictures = [item.picture for item in items]
    arrays = {i: picture for i, picture in enumerate(pictures) if isinstance(picture, np.ndarray)}
    floats = {i: pixels for i, pixels in arrays.items() if pixels.dtype.kind == "f"}
    small = {i: pixels for i, pixels in arrays.items() if pixels.dtype == np.uint8}
    scales: dict[str, Scale] = {}
    if floats and all(pixels.min() >= 0 and pixels.max() <= 1 for pixels in floats.values()):
        scales["float"] = Scale(0, 1)
    all_are_small = len(small) == sum(item.dtype == np.uint8 for item in items)
    if all_are_small and any(pixels.max() for pixels in small.values()):
        scales["uint8"] = Scale(0, 1)
        small = {i: pixels * np.uint8(255) for i, pixels in small.items()}
    for i, pixels in [*small.items(), *(floats.items() if "float" in scales else ())]:
        pictures[i] = to_rgb(pixels, lambda kind: Scale(0, 1), items[i].notes.append)
    return pictures, scales


def _is_tensor(item: Any) -> bool:
    return hasattr(item, "detach")  # told by a method, so that torch need not be imported


def _to_numpy(item: Any) -> np.ndarray:
    if _is_tensor(item):
        item = item.detach().cpu()
        item = item.float() if item.is_floating_point() else item  # NumPy has no bfloat16
    return np.asarray(item)


def _checked_labels(labels: Any) -> np.ndarray:
    labels = _to_numpy(labels)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be a flat list of 0 (normal) and 1 (defective)")
    return labels


def _checked_mask(mask: Any) -> np.ndarray | None:
    if mask is None:
        return None
    mask = _to_numpy(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise ValueError(f"give (H, W) bool or integers, got shape {mask.shape} and dtype {mask.dtype}")
    return mask != 0


def _labels_beside(
    masks: Sequence[np.ndarray | None], images: Sequence[Image.Image | np.ndarray], labels: np.ndarray | None
) -> np.ndarray:
    """Hold masks against image sizes and labels; make labels where there are none."""
    marked = np.array([mask is not None and mask.any() for mask in masks])
    labels = marked.astype(int) if labels is None else labels
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        size = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
        if mask is not None and mask.shape != size:
            sizes = f"(H, W) = {mask.shape}, but its image has {size}"
            raise ValueError(f"mask {i} has {sizes}: make them equal")
        if labels[i] == 1 and mask is None:
            raise ValueError(f"image {i} is labeled 1 (defective) but has no mask: give one, or no masks at all")
        if labels[i] == 0 and marked[i]:
            raise ValueError(f"image {i} is labeled 0 (normal) but its mask marks a defect: correct one of them")
    return labels
