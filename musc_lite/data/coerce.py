"""Whatever a user calls "the images": a set, a folder, paths, or images in memory."""

from collections.abc import Iterable
from pathlib import Path

from musc_lite.data.arrays import from_arrays
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import load_folder

__all__ = ["Images", "as_batch", "as_image_set"]

Images = ImageSet | str | Path | Iterable


def as_image_set(images: Images) -> ImageSet:
    """Take an ImageSet as it is, a path as a folder or a file, several as paths of both, or as images."""
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path) and not Path(images).is_file():
        return load_folder(images)
    items = [images] if isinstance(images, str | Path) else images
    if isinstance(items, Iterable) and not isinstance(items, dict) and not hasattr(items, "ndim"):
        items = list(items)  # a generator gives them once only
        if items and all(isinstance(item, str | Path) for item in items):
            if any(Path(item).is_dir() for item in items):
                return load_folder(items)
            return ImageSet([Path(item) for item in items], [str(item) for item in items])
    return from_arrays(items)


def as_batch(images: Images) -> ImageSet:
    """Take images that score each other: at least 2."""
    images = as_image_set(images)
    if len(images) < 2:
        raise ValueError(
            f"mutual scoring compares images with each other: give at least 2, got {len(images)} "
            f"({', '.join(images.names)}). A single new image can be scored against a fitted batch: score_images"
        )
    return images
