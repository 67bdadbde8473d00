"""Whatever a user calls "the images": a set, a folder, paths, or images in memory."""

from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from musc_lite.data.arrays import from_arrays
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import load_folder

__all__ = ["Images", "as_batch", "as_image_set"]

Images = ImageSet | str | Path | Iterable


def as_image_set(images: Images) -> ImageSet:
    """Take an ImageSet as it is, a path as a folder or a file, several as paths of both, or as images.

    Several are any list, array, Series or data set that can be indexed by 0, 1, ...
    """
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path) and not Path(images).is_file():
        return load_folder(images)
    items = [images] if isinstance(images, str | Path) else _listed(images)
    if isinstance(items, Iterable) and not isinstance(items, dict) and not hasattr(items, "ndim"):
        items = list(items)  # a generator gives them once only
        if items and all(isinstance(item, str | PathLike) for item in items):
            items = [fspath(item) for item in items]
            if any(Path(item).is_dir() for item in items):
                return load_folder(items)
            return ImageSet([Path(item) for item in items], [str(item) for item in items])
    return from_arrays(items)


def _listed(images: Any) -> Any:
    """Return a list in place of a column of a table, an array of paths or a data set; others as they are."""
    if hasattr(images, "columns"):
        raise ValueError(f"a table is no list of images: give one column, such as table[{str(images.columns[0])!r}]")
    if isinstance(images, dict):
        raise ValueError("give a list of images or one 4-D batch, not a dict: list(images.values())")
    if getattr(images, "ndim", 0) == 1 and getattr(images.dtype, "kind", "O") in "OUT" and hasattr(images, "tolist"):
        return images.tolist()
    has_items = hasattr(images, "__getitem__") and hasattr(images, "__len__") and not hasattr(images, "shape")
    if has_items and not isinstance(images, Iterable):  # as torch.utils.data.Dataset
        return [images[i] for i in range(len(images))]
    return images


def as_batch(images: Images) -> ImageSet:
    """Take images that score each other: at least 2."""
    images = as_image_set(images)
    if len(images) < 2:
        raise ValueError(
            f"mutual scoring compares images with each other: give at least 2, got {len(images)} "
            f"({', '.join(images.names)}). A single new image can be scored against a fitted batch: score_images"
        )
    return images
