"""Where on a photo are its defects? Regions of its map above a threshold, in the image's own pixels.

An image gets a threshold of its own, half way between what is usual in its map and its highest value: one threshold for
a whole batch cuts faint defects away and lets strong ones grow into their surroundings. `analysis/regions.py` does the
same on the grid of patches, with the source of the idea; its constants hold here too. Where most of a photo is
background, half way is the level of any sound part of the object; so the threshold also lies three tenths of the way
from what is high in a usual image of the batch (`typical_p95`) to the highest value, or above.

A map is no sharper than the patches that it comes from: borders are accurate to about half a patch, and a defect that
is smaller than a patch gets about a patch's area, if it is seen. Specks of a few pixels are tips that only just rise
above the threshold. They are kept: the defects of an image are its mask, no pixel more or less, and what is left out
unseen may be a pinhole. Being low, they come last among the defects of their image; each defect has its area, so leave
out what is too small for you.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import find_objects, label, maximum

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.analysis.regions import HALF, TOUCHING
from musc_lite.data.roi import pixel_box
from musc_lite.results.scores import Scores
from musc_lite.utils.validation import check_pixel_threshold

ABOVE = 0.3  # of the way from what is high in a usual image to the highest value
ROUNDING = 1e-5  # share of the highest value: what differs less is the same value, stretched over a photo


@dataclass(frozen=True)
class Defect:
    """One connected anomalous region of an image.

    Attributes
    ----------
    image : int
        Which image it lies in.
    box : (left, top, right, bottom)
        In pixels of the photo as Pillow gives it upright; right and bottom are the first column and row past it.
    area : int
        In pixels of the photo.
    mean, peak : float
        Of the map inside.
    kind : int, optional
        Its class, where defects were sorted.
    mask : (bottom - top, right - left) bool
        Which pixels of the box are in it; not compared.
    """

    image: int
    box: tuple[int, int, int, int]
    area: int
    mean: float
    peak: float
    kind: int | None = None
    mask: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool), repr=False, compare=False)


def find_defects(scores: Scores, threshold: float | None = None, kinds: DefectClasses | None = None) -> list[Defect]:
    """Find the defects of the flagged images: connected pixels of the photo whose map lies above a threshold.

    Parameters
    ----------
    scores : Scores
        That know their images.
    threshold : float, optional
        The value of the map above which a pixel is defective, the same for all images. None: each image has its own,
        half way between the median and the highest value of its map, or above. Then every flagged image has a
        defect, unless its map is the same all over; with a threshold that is given it may have none.
    kinds : DefectClasses, optional
        Of the same images: a defect is of the kind of the region that holds its highest pixel, or lies nearest to it.

    Returns
    -------
    list of Defect
        In the order of the images; those of an image from the highest peak to the lowest. Images that are not flagged
        have none, and no pixel outside of the region that was looked at is defective.

    Raises
    ------
    ValueError
        If the scores do not know their images, the threshold is no number or the kinds are those of other images.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> maps = np.zeros((2, 4, 6))
    >>> maps[1, 1, 1:4], maps[1, 3, 5] = [0.6, 0.9, 0.6], 0.8
    >>> scores = Scores.from_maps(from_arrays(list(np.zeros((2, 4, 6)))), maps, contamination=0.5)
    >>> find_defects(scores)[0]
    Defect(image=1, box=(1, 1, 4, 2), area=3, mean=0.7, peak=0.9, kind=None)
    >>> [defect.box for defect in find_defects(scores, threshold=0.7)]
    [(2, 1, 3, 2), (5, 3, 6, 4)]
    """
    check_pixel_threshold(threshold)
    if kinds is not None and len(kinds.labels) != len(scores):
        raise ValueError(f"the kinds are those of {len(kinds.labels)} images, the scores of {len(scores)}: sort these")
    found = []
    for i in np.flatnonzero(scores.is_outlier).tolist():
        on_photo, labels = _map_and_labels(scores, i, threshold)
        for k, place in enumerate(find_objects(labels), start=1):
            mask = labels[place] == k
            values = np.where(mask, on_photo[place], -np.inf)
            inside = on_photo[place][mask]
            row, column = np.unravel_index(values.argmax(), values.shape)
            rows, columns = place
            kind = None if kinds is None else _kind(kinds, scores, i, (rows.start + row, columns.start + column))
            box = columns.start, rows.start, columns.stop, rows.stop
            mean, peak = _short(inside.mean(dtype=float)), _short(inside.max())
            found.append(Defect(i, box, inside.size, mean, peak, kind, mask))
    return found


def defect_mask(scores: Scores, i: int, threshold: float | None = None) -> np.ndarray:
    """Return the defective pixels of the i-th image: (H', W') bool, the union of its `find_defects`."""
    check_pixel_threshold(threshold)
    if not scores.is_outlier[i]:
        return np.zeros(scores.required_images.size(i)[::-1], dtype=bool)
    return _map_and_labels(scores, i, threshold)[1] > 0


def pixel_threshold(values: np.ndarray, typical_p95: float = -np.inf) -> float:
    """Return a map's own threshold, infinite where it is flat.

    Half way from its median to its highest value; and where that rises above what is high in a usual image, at least
    three tenths of the way from there.
    """
    usual, peak = float(np.median(values)), float(values.max())
    if peak - usual <= ROUNDING * abs(peak):
        return np.inf
    above_usual_high = typical_p95 + ABOVE * (peak - typical_p95) if -np.inf < typical_p95 < peak else -np.inf
    return max(usual + HALF * (peak - usual), above_usual_high)


def _map_and_labels(scores: Scores, i: int, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    on_photo = scores.map_of_photo(i)
    left, top, right, bottom = pixel_box(scores.region, on_photo.shape[::-1])
    seen = on_photo[top:bottom, left:right]
    own = pixel_threshold(seen, scores.typical_p95) if threshold is None else float(threshold)
    marked, n = label(seen > own, TOUCHING)
    order = np.argsort(-np.asarray(maximum(seen, marked, range(1, n + 1))), kind="stable")
    number = np.zeros(n + 1, dtype=np.int32)
    number[1 + order] = np.arange(1, n + 1)
    labels = np.zeros(on_photo.shape, dtype=np.int32)
    labels[top:bottom, left:right] = number[marked]
    return on_photo, labels


def _kind(kinds: DefectClasses, scores: Scores, i: int, pixel: tuple[int, int]) -> int | None:
    """Return the kind of the region that a pixel (row, column) of the photo lies in, or is nearest to."""
    own = np.flatnonzero(kinds.regions.images == i)
    if not len(own):
        return None
    left, top, right, bottom = pixel_box(scores.region, scores.required_images.size(i))
    h, w = kinds.regions.grid
    # Corner patches lie on corner pixels, as in `upsample_maps`.
    row = (pixel[0] - top) / max(bottom - top - 1, 1) * (h - 1)
    column = (pixel[1] - left) / max(right - left - 1, 1) * (w - 1)
    distances = [
        np.hypot(patches // w - row, patches % w - column).min() for patches in (kinds.regions.patches[k] for k in own)
    ]
    return int(kinds.region_labels[own[np.argmin(distances)]])


def _short(value: float) -> float:
    """Return a 32-bit value without the digits that come from writing it in 64 bits."""
    return float(str(np.float32(value)))
