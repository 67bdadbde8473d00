"""Defects as other programs take them: COCO's instances, LabelMe's polygons.

Pixels are those of the photo as people see it, upright: a program that ignores the EXIF orientation of a photo shows
them turned against it. (LabelMe turns photos upright too; COCO files say nothing of it.)
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes
from skimage.measure import approximate_polygon, find_contours

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.reports.formats import Export
from musc_lite.results.scores import Scores
from musc_lite.results.segmentation import Defect
from musc_lite.utils.files import write_json

COARSE = 1.0  # pixels by which a polygon may leave the border of its defect: maps are far less sharp
LABELME = "5.5.0"  # the version whose keys are written


def write_coco(path: Path, export: Export) -> None:
    """Write the defects of all images as COCO instances with exact masks."""
    everything = [defect for some in export.defects for defect in some]
    write_json(path, coco_instances(export.scores, everything, export.kinds))


def write_labelme(path: Path, export: Export, i: int) -> None:
    """Write a polygon around each defect of image i."""
    write_json(path, labelme_annotation(export.scores, i, export.defects[i], path))


def coco_instances(scores: Scores, defects: Sequence[Defect], kinds: DefectClasses | None = None) -> dict:
    """Return all images and their defects as COCO's instances, with exact masks.

    Masks are uncompressed run lengths, with `iscrowd` 0, since each is one object; `score` is the defect's peak.
    Numbers of images, annotations and categories begin at 1, as evaluation takes 0 for none.

    Parameters
    ----------
    scores : Scores
    defects : sequence of Defect
        What `find_defects` finds with the same kinds.
    kinds : DefectClasses, optional
        Each kind is a category; without them all are of the category "defect".

    Returns
    -------
    dict
        For strict JSON.
    """
    names = [] if kinds is None else [_name(k) for k in range(len(kinds))]
    if kinds is None or any(defect.kind is None for defect in defects):
        names.append(_name(None))
    of_image = by_image(defects, len(scores))
    images: list[dict] = []
    annotations: list[dict] = []
    for i, name in enumerate(scores.names):
        width, height = scores.required_images.size(i)
        images.append({"id": i + 1, "file_name": name, "width": width, "height": height})
        for defect in of_image[i]:
            left, top, right, bottom = defect.box
            counts = run_lengths(defect.mask, (top, left), (height, width))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": names.index(_name(defect.kind)) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": defect.area,
                    "segmentation": {"size": [height, width], "counts": counts},
                    "iscrowd": 0,
                    "score": defect.peak,
                }
            )
    return {
        "info": {"description": "Defects found by musc_lite; boxes and masks in pixels of the upright photos"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": name, "supercategory": "defect"} for k, name in enumerate(names)],
    }


def labelme_annotation(scores: Scores, i: int, defects: Sequence[Defect], file: Path) -> dict:
    """Return the i-th image and its defects as LabelMe keeps them, a polygon for each.

    A polygon goes around a defect, also around its holes, which a polygon cannot have, within a pixel of its border.

    Parameters
    ----------
    scores : Scores
    i : int
    defects : sequence of Defect
        Those of this image, as `find_defects` orders them.
    file : Path
        Where it will be written: LabelMe looks for the photo from there. Images without a file have their name only.

    Returns
    -------
    dict
        For strict JSON.
    """
    width, height = scores.required_images.size(i)
    shapes: list[dict] = [
        {
            "label": _name(defect.kind),
            "points": outline(defect.mask, corner=(defect.box[1], defect.box[0])),
            "group_id": None,
            "description": f"peak {defect.peak:.4g}, mean {defect.mean:.4g}, {defect.area} pixels",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for defect in defects
    ]
    source = scores.required_images.sources[i]
    return {
        "version": LABELME,
        "flags": {},
        "shapes": shapes,
        "imagePath": _path_from(file.parent, source) if isinstance(source, Path) else scores.names[i],
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def by_image(defects: Sequence[Defect], n_images: int) -> list[list[Defect]]:
    """Sort defects by their image."""
    of_image: list[list[Defect]] = [[] for _ in range(n_images)]
    for defect in defects:
        of_image[defect.image].append(defect)
    return of_image


def run_lengths(mask: np.ndarray, corner: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None) -> list[int]:
    """Encode a mask as COCO does: column by column, how many pixels are out, in, out, ...

    Parameters
    ----------
    mask : (h, w) bool
        A part of the whole mask, outside of which nothing is in.
    corner : (int, int)
        Row and column of its first pixel.
    size : (H, W), optional
        Of the whole mask; by default this is it.

    Returns
    -------
    list of int

    Examples
    --------
    >>> run_lengths(np.array([[0, 1], [0, 1], [1, 1]], dtype=bool))
    [2, 4]
    >>> run_lengths(np.ones((1, 2), dtype=bool), corner=(1, 0), size=(3, 2))
    [1, 1, 2, 1, 1]
    """
    height, width = mask.shape if size is None else size
    columns, rows = np.nonzero(mask.T)
    places = (columns + corner[1]) * height + rows + corner[0]
    ends = np.flatnonzero(np.diff(places, append=-2) != 1)
    starts = np.r_[0, ends[:-1] + 1][: len(ends)]
    edges = np.stack([places[starts], places[ends] + 1], axis=1).ravel()
    return [n for k, n in enumerate(np.diff([0, *edges, height * width]).tolist()) if n or not k]


def outline(mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> list[list[float]]:
    """Draw a polygon around one connected region, holes filled, within a pixel of its border.

    Parameters
    ----------
    mask : (h, w) bool
        Pixels that meet at a corner are connected.
    corner : (int, int)
        Row and column of its first pixel in the photo.

    Returns
    -------
    list of [x, y]
        At least 3; 0 is the left or upper edge of the photo's first pixel.

    Examples
    --------
    >>> outline(np.ones((1, 1), dtype=bool), corner=(2, 5))
    [[5.5, 3.0], [5.0, 2.5], [5.5, 2.0], [6.0, 2.5]]
    """
    around = np.pad(binary_fill_holes(mask), 1).astype(float)
    (ring,) = find_contours(around, 0.5, fully_connected="high")  # (K, 2) rows and columns, the first point again last
    coarse = approximate_polygon(ring, COARSE)
    points = coarse if len(coarse) > 3 else ring  # a few pixels: nothing of them would be left
    # Of `around`, pixel (1, 1) is the corner, with its middle at 1.0 and its edge half a pixel before.
    return (points[:-1, ::-1] - 0.5 + corner[::-1]).tolist()


def _name(kind: int | None) -> str:
    return "defect" if kind is None else f"kind {kind}"


def _path_from(folder: Path, photo: Path) -> str:
    """Lead from a folder to a photo: relative, so that both can be moved together, as far as that can be."""
    place = photo.parent.resolve() / photo.name  # a link keeps its own name
    try:
        return Path(os.path.relpath(place, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return place.as_posix()
