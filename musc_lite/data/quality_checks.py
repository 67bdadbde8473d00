"""What may be wrong with a batch, in words: which images are unusual beside the others, and what to do about it.

Unusual is measured against the batch, since dark-field photos are dark by nature and toys on white paper bright.
CleanVision 0.3.7 has fixed limits: it calls 52 of 184 sharp magnetic tiles blurry, all of them gray, and 11 of 40
different boards nearly the same by ImageHash; it would bring pandas, ImageHash, PyWavelets, tabulate and fsspec.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musc_lite.data.duplicates import Duplicates, groups_in_words, pairs_in_words
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import left_out

__all__ = [
    "Look",
    "Remark",
    "remarks_on_duplicates",
    "remarks_on_files",
    "remarks_on_pictures",
    "remarks_on_reading",
    "remarks_on_sizes",
]

FEW = 10  # images
SHOWN = 5  # names in a text

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
CHROMA = 3.0  # gray levels between channels; tiles have 0, gravel, the grayest in color, 4 to 12
SHAPE = 1.1  # ratio of side ratios: above, an image is squeezed otherwise than the others
UPRIGHT = 1.05  # side ratio: below, an image counts as square
SIZE = 2.0  # ratio of lengths


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
class Look:
    """What is kept of one image.

    Attributes
    ----------
    size : (int, int)
        Width and height in pixels.
    digest : str
    fine : ndarray
        As `fine_structure` gives it.
    levels : (float, float, float)
        Gray levels: of the darker parts (5 % lie below), the mean, of the brighter parts (5 % lie above).
    blur : float
        As `skimage.measure.blur_effect` gives it.
    chroma : float
        Gray levels that the channels are apart.
    camera : str
        Make and model, "" where unknown.
    """

    size: tuple[int, int]
    digest: str
    fine: np.ndarray
    levels: tuple[float, float, float]
    blur: float
    chroma: float
    camera: str


def remarks_on_files(failed: Mapping[str, str], images: ImageSet) -> list[Remark]:
    """Remark on files that could not be read, by name and reason, or were left out by the loader, and on few images."""
    names = [path.name for path, _ in images.skipped]
    shown = "; ".join(list(failed.values())[:SHOWN]) + _more(len(failed))
    few = f"only {len(images)}: a few dozen images make a good batch; with fewer than {FEW} trust the ranking alone"
    alone = "only one image can be read: images score each other, give at least 2"
    remarks = [
        Remark("unreadable", list(failed), f"unreadable: {shown}; repair or remove such files"),
        Remark("left out", names, left_out(images)),
    ]
    remarks = [remark for remark in remarks if remark.names]
    return remarks if len(images) >= FEW else [*remarks, Remark("few", [], few if len(images) > 1 else alone)]


def remarks_on_reading(images: ImageSet) -> list[Remark]:
    """Remark on how files were read."""
    found = images.remarks()
    return [
        Remark(
            "reading",
            names,
            f"{len(names)} of {len(images)} images: {text}: {', '.join(names[:SHOWN])}{_more(len(names))}",
        )
        for text, names in found
    ]


def remarks_on_duplicates(found: Duplicates, names: Sequence[str]) -> list[Remark]:
    """Remark on images that are there twice."""
    copies = [(first, i) for i, first in enumerate(found.copy_of.tolist()) if first != i]
    twice = (
        f"copies, byte for byte: {pairs_in_words(copies, names)}; remove them, a defect would hide behind its own copy"
    )
    alike = (
        f"{groups_in_words(found.alike, names)}; keep one photo of each group, or a defect in several passes for normal"
    )
    remarks = [
        Remark("copy", [names[i] for _, i in copies], twice),
        Remark("near copy", [names[i] for group in found.alike for i in group[1:]], alike),
    ]
    return [remark for remark in remarks if remark.names]


def remarks_on_pictures(looks: Sequence[Look], names: Sequence[str]) -> list[Remark]:
    """Remark on light, sharpness, color and cameras."""
    dark_parts, mean, bright_parts = np.array([look.levels for look in looks]).T
    blur = np.array([look.blur for look in looks])
    is_blurred = (_deviations(blur, LEAST_BLUR_SPREAD) > BLUR_DEVIATION) & (blur > np.median(blur) + BLUR)
    is_gray = np.array([look.chroma <= CHROMA for look in looks])
    light = "take them again in the light of the others, or remove them"
    found = [
        _remark("dark", names, _is_darker(mean, bright_parts), "much darker than the others", light),
        _remark("bright", names, _is_darker(255 - mean, 255 - dark_parts), "much brighter than the others", light),
        _remark("blurred", names, is_blurred, "blurred", "take them again, or remove them: blur hides defects"),
        _remark_on_color(is_gray, names),
        _remark_on_cameras([look.camera for look in looks], names),
    ]
    return [remark for remark in found if remark]


def _is_darker(mean: np.ndarray, bright_parts: np.ndarray) -> np.ndarray:
    """Mark what is darker than the batch, and by much, and in its brighter parts too; of the negative: brighter."""
    return (
        (_deviations(mean, LEAST_SPREAD) < -DEVIATION)
        & (mean < EXPOSURE * np.median(mean))
        & (bright_parts < np.median(bright_parts) - EXPOSURE_LEVELS)
    )


def _deviations(values: np.ndarray, least_spread: float) -> np.ndarray:
    """Give distances from the median in robust standard deviations."""
    distances = values - np.median(values)
    return distances / max(1.4826 * float(np.median(abs(distances))), least_spread)


def _remark_on_color(is_gray: np.ndarray, names: Sequence[str]) -> Remark | None:
    advice = "convert all to gray, or take them again as the others: color itself counts as a difference"
    if is_gray.mean() > 0.5:
        return _remark("color", names, ~is_gray, "in color among gray ones", advice)
    return _remark("gray", names, is_gray, "gray among color ones", advice)


def _remark_on_cameras(cameras: Sequence[str], names: Sequence[str]) -> Remark | None:
    """Remark on those that are not of the camera that took most, where several took some; unknown ones do not count."""
    counts = Counter(filter(None, cameras)).most_common()
    if len(counts) < 2:
        return None
    listed = ", ".join(f"{camera} ({n})" for camera, n in counts[:SHOWN]) + _more(len(counts))
    is_other = np.array([camera not in ("", counts[0][0]) for camera in cameras])
    return _remark(
        "camera", names, is_other, "by other cameras than most", f"these took part: {listed}; score each by itself"
    )


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
    found = [
        _remark("turned", names, is_turned, turned, "turn them if the product lies turned, or crop all to one shape"),
        _remark("shape", names, has_other_shape, "of another shape than most", squeezed),
        _remark("size", names, _is_apart(length, SIZE), "of another size than most, by half or twice", lengths),
    ]
    return [remark for remark in found if remark]


def _is_apart(values: np.ndarray, ratio: float) -> np.ndarray:
    """Mark what differs from the median by more than a ratio, up or down."""
    return abs(np.log(values / np.median(values))) > np.log(ratio)


def _remark(kind: str, names: Sequence[str], marked: Iterable[bool], what: str, advice: str) -> Remark | None:
    """Make the remark that some of the images are `what`; none where no image is marked."""
    chosen = [name for name, is_marked in zip(names, marked, strict=True) if is_marked]
    if not chosen:
        return None
    shown = ", ".join(chosen[:SHOWN]) + _more(len(chosen))
    verb = "is" if len(chosen) == 1 else "are"
    return Remark(kind, chosen, f"{len(chosen)} of {len(names)} images {verb} {what}: {shown}; {advice}")


def _more(n: int) -> str:
    return f" and {n - SHOWN} more" if n > SHOWN else ""
