"""A look at a batch before it is scored: what is there twice, dark, blurred, of another camera, size or shape.

Images score each other, so a photo taken otherwise stands out as a defect does, and one that is there twice hides one.
Each photo is decoded once, small, without torch.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import ExifTags, Image

from musc_lite.data.appearance import chroma
from musc_lite.data.decode import SKIP_HINT
from musc_lite.data.depth import scales_in_words
from musc_lite.data.duplicates import Duplicates, duplicates_among, fine_structure
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import Images, as_image_set
from musc_lite.data.quality_checks import (
    Look,
    Remark,
    remarks_on_duplicates,
    remarks_on_files,
    remarks_on_pictures,
    remarks_on_reading,
    remarks_on_sizes,
)
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.progress import progress_bar

__all__ = ["Inspection", "inspect_images"]

SIDE = 256  # pixels along the longer side: about what the embedded backbone sees


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a look at N images found.

    Attributes
    ----------
    images : ImageSet
        Those that can be read.
    sizes : ndarray (N, 2)
        Width and height in pixels, as the images are upright.
    duplicates : Duplicates
        As `find_duplicates` gives them.
    remarks : list of Remark
        Empty where nothing is unusual.
    """

    images: ImageSet
    sizes: np.ndarray
    duplicates: Duplicates
    remarks: list[Remark]

    @property
    def n_images(self) -> int:
        """How many images can be read."""
        return len(self.images)

    @property
    def median_size(self) -> tuple[int, int]:
        """Width and height in the median."""
        width, height = np.median(self.sizes, axis=0)
        return round(width), round(height)

    @property
    def shapes(self) -> tuple[float, float, float]:
        """The lowest, the median and the highest width per height."""
        low, median, high = np.quantile(self.sizes[:, 0] / self.sizes[:, 1], [0, 0.5, 1])
        return float(low), float(median), float(high)

    def remarks_of(self, i: int) -> list[str]:
        """Name the kinds of remarks on image i."""
        return [remark.kind for remark in self.remarks if self.images.names[i] in remark.names]

    def __str__(self) -> str:
        nothing = "Nothing is unusual: no duplicates; light, sharpness, color, camera, size and shape are alike."
        lines = [f"- {remark}" for remark in self.remarks] or [nothing]
        depth = scales_in_words(self.images.scales.found)
        return "\n".join(
            [
                f"{self.n_images} image{'s' * (self.n_images != 1)}, {_sizes_in_words(self)}",
                *filter(None, [depth]),
                *lines,
            ]
        )


def inspect_images(images: Images) -> Inspection:
    """Look at images before they are scored; takes some 10 ms for each.

    Parameters
    ----------
    images : ImageSet, path, or list of paths or images
        As for `MuSc.fit`. Files that cannot be read are remarked on.

    Returns
    -------
    Inspection

    Raises
    ------
    ImageReadError
        When no image can be read.

    Examples
    --------
    >>> from musc_lite import planted_textures
    >>> images = planted_textures("gravel", n_images=12, n_defective=3)
    >>> print(inspect_images(images))
    12 images, 224 x 224 pixels
    Nothing is unusual: no duplicates; light, sharpness, color, camera, size and shape are alike.
    """
    given = as_image_set(images)
    looks = _look_at_all(given)
    seen = [look for look in looks if isinstance(look, Look)]
    failed = {name: look for name, look in zip(given.names, looks, strict=True) if isinstance(look, str)}
    if not seen:
        raise ImageReadError(f"none of {len(given)} images can be read: {'; '.join(list(failed.values())[:5])}")
    readable = given.subset([isinstance(look, Look) for look in looks])
    sizes = np.array([look.size for look in seen])
    duplicates = duplicates_among([look.digest for look in seen], np.stack([look.fine for look in seen]))
    remarks = [
        *remarks_on_files(failed, readable),
        *remarks_on_reading(readable),
        *remarks_on_duplicates(duplicates, readable.names),
        *remarks_on_pictures(seen, readable.names),
        *remarks_on_sizes(sizes, readable.names),
    ]
    return Inspection(readable, sizes, duplicates, remarks)


def _look_at_all(images: ImageSet) -> list[Look | str]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without Python's lock
        looks = pool.map(partial(_look_at, images), range(len(images)))
        return list(progress_bar(looks, total=len(images), desc="looking at images", unit="image", leave=False))


def _look_at(images: ImageSet, i: int) -> Look | str:
    """Look at image i; or say why it cannot be read."""
    from skimage.measure import blur_effect  # takes a quarter of a second to import

    try:
        digest, image = images.digest_and_image(i, SIDE)
        size = images.size(i)
    except ImageReadError as error:
        return str(error).removesuffix(SKIP_HINT)
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    gray = np.asarray(small.convert("L"))
    dark, bright = np.percentile(gray, [5, 95])
    return Look(
        size,
        digest,
        fine_structure(image),
        (float(dark), float(gray.mean()), float(bright)),
        float(blur_effect(gray)) if min(gray.shape) > 11 else 0.0,  # the width of its filter
        chroma(small),
        _camera(image),
    )


def _camera(image: Image.Image) -> str:
    """Read make and model as the camera noted them; "" where it did not."""
    exif = image.getexif()
    noted = [str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    return " ".join(noted).strip()


def _sizes_in_words(inspection: Inspection) -> str:
    """Write "1200 x 800 pixels", or the range of widths and heights with the median."""
    (least_width, least_height), (width, height) = inspection.sizes.min(axis=0), inspection.sizes.max(axis=0)
    if (least_width, least_height) == (width, height):
        return f"{width} x {height} pixels"
    median = "{} x {}".format(*inspection.median_size)
    return f"{least_width} to {width} pixels wide and {least_height} to {height} high, {median} in the median"
