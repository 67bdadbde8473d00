"""A look at a batch before it is scored: what is there twice, dark, blurred, of another camera, size or shape.

Images score each other, so a photo taken otherwise stands out as a defect does, and one that is there twice hides one.
Each photo is decoded once, small, without torch. Unusual is measured against the batch, since dark-field photos are
dark by nature and toys on white paper bright. CleanVision 0.3.7 has fixed limits: it calls 52 of 184 sharp magnetic
tiles blurry, all of them gray, and 11 of 40 different boards nearly the same by ImageHash.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import ExifTags

from musc_lite.data.appearance import CHROMA, SHAPE, SIZE, chroma
from musc_lite.data.decode import SKIP_HINT
from musc_lite.data.duplicates import (
    Duplicates,
    describe_duplicates,
    duplicates_among,
    fine_structure,
    list_pairs,
)
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import Images, as_image_set, left_out
from musc_lite.data.pixels import describe_scales
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.names import listed
from musc_lite.utils.progress import progress_bar

SIDE = 256  # pixels along the longer side: about what the embedded backbone sees
FEW = 10  # images

# Deviations are in robust standard deviations from the batch's median; all conditions must hold. By mean gray level all
# photos of board, toy, magnetic tiles and textures lie within 4.1 below and 2.6 above, one toy of 6.7 excepted, whose
# darker parts are 22 levels brighter; none is remarked on. With 4 photos of each set at 0.35 times their light all are
# found, at 1.8 times 18 of 20; none among the tiles, which themselves are from 0.5 to 2 times as bright as the median.
DEVIATION = 3.0
EXPOSURE = 0.6  # of the median brightness, or of the median distance to white
EXPOSURE_LEVELS = 30.0  # by which the brighter parts must be darker too, or the darker parts brighter
LEAST_SPREAD = 4.0  # gray levels
# `blur_effect` is 0.2 to 0.5 in the median; sharp photos end 0.15 and 3.5 deviations above it (bricks, tiles). Under a
# Gaussian of 1/100 of the side (2 pixels in 224) they begin at 0.23 and 6.2, and 4 of 4 are found in each set; one of
# 1/200 often is not.
BLUR, BLUR_DEVIATION, LEAST_BLUR_SPREAD = 0.15, 4.0, 0.01
UPRIGHT = 1.05  # side ratio: below, an image counts as square


@dataclass(frozen=True)
class Remark:
    """What may be wrong with some images, and what to do about it.

    Attributes
    ----------
    kind : str
        "unreadable", "left out", "few", "reading", "copy", "near copy", "dark", "bright", "blurred", "gray", "color",
        "camera", "turned", "shape" or "size".
    names : list of str
        Of the images at fault.
    text : str
        In words, with the first names and what to do.
    """

    kind: str
    names: list[str]
    text: str

    def __str__(self) -> str:
        return self.text


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

    def remarks_of(self, i: int) -> list[str]:
        """Name the kinds of remarks on image i."""
        return [remark.kind for remark in self.remarks if self.images.names[i] in remark.names]

    def __str__(self) -> str:
        (least_width, least_height), (width, height) = self.sizes.min(axis=0), self.sizes.max(axis=0)
        size = f"{width} x {height} pixels"
        if (least_width, least_height) != (width, height):
            median = "{} x {}".format(*self.median_size)
            size = f"{least_width} to {width} pixels wide and {least_height} to {height} high, {median} in the median"
        depth = describe_scales(self.images.scales.found)
        nothing = "Nothing is unusual: no duplicates; light, sharpness, color, camera, size and shape are alike."
        lines = [f"- {remark}" for remark in self.remarks] or [nothing]
        first = f"{self.n_images} image{'s' * (self.n_images != 1)}, {size}"
        return "\n".join([first, *filter(None, [depth]), *lines])


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
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without Python's lock
        looks = pool.map(partial(_look_at, given), range(len(given)))
        looks = list(progress_bar(looks, total=len(given), desc="looking at images", unit="image", leave=False))
    seen = [look for look in looks if isinstance(look, _ImageStats)]
    failed = {name: look for name, look in zip(given.names, looks, strict=True) if isinstance(look, str)}
    if not seen:
        raise ImageReadError(f"none of {len(given)} images can be read: {'; '.join(list(failed.values())[:5])}")
    readable = given.subset([isinstance(look, _ImageStats) for look in looks])
    sizes = np.array([look.size for look in seen])
    duplicates = duplicates_among([look.digest for look in seen], np.stack([look.fine for look in seen]))
    remarks = [
        *_remarks_on_files(failed, readable),
        *_remarks_on_duplicates(duplicates, readable.names),
        *_remarks_on_pictures(seen, readable.names),
        *remarks_on_sizes(sizes, readable.names),
    ]
    return Inspection(readable, sizes, duplicates, remarks)


class _ImageStats(NamedTuple):
    """What is kept of one image."""

    size: tuple[int, int]  # width and height
    digest: str
    fine: np.ndarray  # as `fine_structure` gives it
    levels: tuple[float, float, float]  # gray levels: darker parts (5 % lie below), mean, brighter parts (5 % above)
    blur: float  # as `skimage.measure.blur_effect` gives it
    chroma: float
    camera: str  # make and model as the camera noted them


def _look_at(images: ImageSet, i: int) -> _ImageStats | str:
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
    levels = float(dark), float(gray.mean()), float(bright)
    blur = float(blur_effect(gray)) if min(gray.shape) > 11 else 0.0  # the width of its filter
    exif = image.getexif()
    noted = [str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    return _ImageStats(size, digest, fine_structure(image), levels, blur, chroma(small), " ".join(noted).strip())


def _remarks_on_files(failed: dict[str, str], images: ImageSet) -> list[Remark]:
    """Remark on files that could not be read, by name and reason, or were left out, on few images, and on reading."""
    found = []
    if failed:
        text = f"unreadable: {listed(list(failed.values()), separator='; ')}; repair or remove such files"
        found.append(Remark("unreadable", list(failed), text))
    if images.skipped:
        found.append(Remark("left out", [path.name for path, _ in images.skipped], left_out(images)))
    if len(images) == 1:
        found.append(Remark("few", [], "only one image can be read: images score each other, give at least 2"))
    elif len(images) < FEW:
        advice = f"a few dozen images make a good batch; with fewer than {FEW} trust the ranking alone"
        found.append(Remark("few", [], f"only {len(images)}: {advice}"))
    return found + [
        Remark("reading", names, f"{len(names)} of {len(images)} images: {text}: {listed(names)}")
        for text, names in images.remarks()
    ]


def _remarks_on_duplicates(found: Duplicates, names: Sequence[str]) -> list[Remark]:
    """Remark on images that are there twice."""
    remarks = []
    if copies := found.copies:
        advice = "remove them, a defect would hide behind its own copy"
        text = f"copies, byte for byte: {list_pairs(copies, names)}; {advice}"
        remarks.append(Remark("copy", [names[i] for _, i in copies], text))
    if found.alike:
        advice = "keep one photo of each group, or a defect in several passes for normal"
        further = [names[i] for group in found.alike for i in group[1:]]
        remarks.append(Remark("near copy", further, f"{describe_duplicates(found.alike, names)}; {advice}"))
    return remarks


def _remarks_on_pictures(looks: Sequence[_ImageStats], names: Sequence[str]) -> list[Remark]:
    """Remark on light, sharpness, color and cameras."""
    dark_parts, mean, bright_parts = np.array([look.levels for look in looks]).T
    blur = np.array([look.blur for look in looks])
    is_blurred = (_deviations(blur, LEAST_BLUR_SPREAD) > BLUR_DEVIATION) & (blur > np.median(blur) + BLUR)
    is_gray = np.array([look.chroma <= CHROMA for look in looks])
    most_are_gray = is_gray.mean() > 0.5
    # Those that are not of the camera that took most, where several took some; unknown ones do not count.
    cameras = Counter(look.camera for look in looks if look.camera).most_common()
    is_other = [bool(look.camera) and look.camera != cameras[0][0] for look in looks]
    took = listed([f"{camera} ({n})" for camera, n in cameras])
    light = "take them again in the light of the others, or remove them"
    color = "convert all to gray, or take them again as the others: color itself counts as a difference"
    return [
        *_remark("dark", names, _is_darker(mean, bright_parts), "much darker than the others", light),
        *_remark("bright", names, _is_darker(255 - mean, 255 - dark_parts), "much brighter than the others", light),
        *_remark("blurred", names, is_blurred, "blurred", "take them again, or remove them: blur hides defects"),
        *(
            _remark("color", names, ~is_gray, "in color among gray ones", color)
            if most_are_gray
            else _remark("gray", names, is_gray, "gray among color ones", color)
        ),
        *_remark(
            "camera", names, is_other, "by other cameras than most", f"these took part: {took}; score each by itself"
        ),
    ]


def _is_darker(mean: np.ndarray, bright_parts: np.ndarray) -> np.ndarray:
    """Mark what is darker than the batch, and by much, and in its brighter parts too; of the negative: brighter."""
    return (
        (_deviations(mean, LEAST_SPREAD) < -DEVIATION)
        & (mean < EXPOSURE * np.median(mean))
        & (bright_parts < np.median(bright_parts) - EXPOSURE_LEVELS)
    )


def _deviations(values: np.ndarray, least_spread: float) -> np.ndarray:
    """Return distances from the median in robust standard deviations."""
    distances = values - np.median(values)
    return distances / max(1.4826 * float(np.median(abs(distances))), least_spread)


def remarks_on_sizes(sizes: np.ndarray, names: Sequence[str]) -> list[Remark]:
    """Remark on images that are turned, squeezed or enlarged otherwise than most when all are brought to one shape.

    Parameters
    ----------
    sizes : (N, 2)
        Widths and heights, as `ImageSet.size` gives them.
    names : sequence of str

    Examples
    --------
    >>> for remark in remarks_on_sizes(np.array([[60, 40]] * 9 + [[40, 60]]), list("abcdefghij")):
    ...     print(remark)
    1 of 10 images is upright, the others not: j; turn them if the product lies turned, or crop all to one shape
    """
    width, height = np.asarray(sizes, dtype=float).T
    is_upright, is_lying = height > UPRIGHT * width, width > UPRIGHT * height
    most_lie = is_lying.sum() >= is_upright.sum()
    shape, length = np.maximum(width, height) / np.minimum(width, height), np.sqrt(width * height)
    has_other_shape, (low, high) = _is_apart(shape, SHAPE), (shape.min(), shape.max())
    is_turned = (is_upright if most_lie else is_lying) & ~has_other_shape
    turned = "upright, the others not" if most_lie else "lying, the others upright"
    squeezed = (
        f"all are brought to one shape: crop them, or score shapes apart (sides from {low:.2f} to {high:.2f} : 1)"
    )
    lengths = "give all the same size: enlarged images look blurred beside reduced ones"
    upright = "turn them if the product lies turned, or crop all to one shape"
    return [
        *_remark("turned", names, is_turned, turned, upright),
        *_remark("shape", names, has_other_shape, "of another shape than most", squeezed),
        *_remark("size", names, _is_apart(length, SIZE), "of another size than most, by half or twice", lengths),
    ]


def _is_apart(values: np.ndarray, ratio: float) -> np.ndarray:
    """Mark what differs from the median by more than a ratio, up or down."""
    return abs(np.log(values / np.median(values))) > np.log(ratio)


def _remark(kind: str, names: Sequence[str], marked: Iterable[bool], what: str, advice: str) -> list[Remark]:
    """Make the remark that some of the images are `what`; none where no image is marked."""
    chosen = [name for name, is_marked in zip(names, marked, strict=True) if is_marked]
    verb = "is" if len(chosen) == 1 else "are"
    text = f"{len(chosen)} of {len(names)} images {verb} {what}: {listed(chosen)}; {advice}"
    return [Remark(kind, chosen, text)] if chosen else []
