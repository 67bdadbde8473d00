"""What a report shows of each image: its pictures, boxes around defects, and the digest that verdicts name."""

import hashlib
import json
import math
from collections.abc import Sequence
from urllib.parse import quote

from PIL import Image

from musc_lite.analysis.defect_classes import DefectClasses
from musc_lite.data.roi import crop, pixel_box
from musc_lite.data.verdicts import Verdict
from musc_lite.reports.evidence_pictures import draw_evidence
from musc_lite.reports.export_maps import map_names
from musc_lite.reports.html import THUMBNAIL, data_uri
from musc_lite.reports.plots import draw_mask_outline, map_color_limits, overlay
from musc_lite.results.evidence import Evidence
from musc_lite.results.scores import Scores
from musc_lite.results.segmentation import find_defects

LARGE, N_LARGE = 900, 24  # pixels of the longer side; so many of the highest ranks have a photo of this size
SMALL, MOST_SMALL = 112, 1000  # pixels; at most so many images are shown small, about 5 KB each
MOST_BOXES = 12  # of an image, those with the highest peaks


def split_gallery(n: int, max_images: int) -> tuple[range, range, range]:
    """Choose the ranks that are shown in full, those shown small after them, and the last few, in full again.

    Examples
    --------
    >>> split_gallery(40, 60)
    (range(0, 40), range(40, 40), range(40, 40))
    >>> split_gallery(500, 60)
    (range(0, 52), range(52, 492), range(492, 500))
    >>> split_gallery(5000, 60)
    (range(0, 52), range(52, 1052), range(4992, 5000))
    """
    last_few = min(8, max_images // 4) if n > max_images else 0
    n_first = min(n, max_images - last_few)
    last = range(n - last_few, n)
    return range(n_first), range(n_first, min(last.start, n_first + MOST_SMALL)), last


def make_cards(
    scores: Scores,
    max_images: int,
    evidence: Sequence[Evidence] = (),
    classes: DefectClasses | None = None,
    maps: str | None = None,
    pixel_threshold: float | None = None,
) -> tuple[list[dict], list[dict], list[dict]]:
    """Make what the template shows of each image, the most anomalous first.

    Parameters
    ----------
    scores : Scores
        That know their images.
    max_images : int
        So many are shown in full.
    evidence : sequence of Evidence
        What is shown closely.
    classes : DefectClasses, optional
    maps : str, optional
        Folder of the pictures that `write_maps` wrote, seen from the report.
    pixel_threshold : float, optional
        For the boxes, see `find_defects`.

    Returns
    -------
    three lists of dict
        For the ranks of `split_gallery`.
    """
    masks, boxes = scores.masks(), _boxes(scores, classes, pixel_threshold)
    scale = map_color_limits((scores.batch or scores).anomaly_maps)  # new images on the colors of their batch
    closely = {each.image: each for each in evidence}
    links = None if maps is None else [quote(f"{maps}/{name}") for name in map_names(scores.names)]
    order, (first, small, last) = scores.ranking.tolist(), split_gallery(len(scores), max_images)

    def in_full(rank: int) -> dict:
        i = order[rank]
        digest, photo = _read(scores, i, LARGE if rank < N_LARGE else THUMBNAIL)
        thumbnail = photo.copy()
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        return describe(scores, i, photo, digest, links) | {
            "rank": rank + 1,
            "image": data_uri(photo if masks is None else draw_mask_outline(photo, masks[i])),
            "overlay": data_uri(Image.fromarray(overlay(thumbnail, scores.anomaly_maps[i], *scale))),
            "boxes": boxes.get(i, []),
            "closely": _closely(closely[i], scores) if i in closely else None,
            "kind": None if classes is None or classes.labels[i] < 0 else int(classes.labels[i]),
        }

    def as_small(rank: int) -> dict:
        i = order[rank]
        digest, photo = _read(scores, i, SMALL)
        picture = data_uri(Image.fromarray(overlay(photo, scores.anomaly_maps[i], *scale)))
        return describe(scores, i, photo, digest, links) | {"rank": rank + 1, "overlay": picture}

    return [in_full(rank) for rank in first], [as_small(rank) for rank in small], [in_full(rank) for rank in last]


def annotation_payload(scores: Scores, cards: Sequence[dict], verdicts: Sequence[Verdict], file: str) -> dict:
    """Return the script what it needs to take verdicts: which files these are, and what was found about them before."""
    found = [[v.image, v.sha256, v.verdict, v.kind, v.note] for v in verdicts]
    state = f"{scores.required_images.fingerprint()} {json.dumps(found)}"
    return {
        "file": file,
        "n_images": len(scores),
        "key": f"musc-lite verdicts {hashlib.sha256(state.encode()).hexdigest()}",
        "images": [[card["name"], card["sha256"]] for card in cards],
        "verdicts": found,
        "region": scores.region,
    }


def describe(scores: Scores, i: int, photo: Image.Image, digest: str = "", links: Sequence[str] | None = None) -> dict:
    """Return what the card of the i-th image says of it."""
    labels, first = scores.required_images.labels, None if scores.copy_of is None else scores.copy_of[i]
    return {
        "name": scores.names[i],
        "sha256": digest,
        "score": scores.image_scores[i],
        "is_outlier": bool(scores.is_outlier[i]),
        "copy_of": None if first is None or first == i else scores.names[first],
        "label": None if labels is None else ("normal", "defective")[labels[i]],
        "ratio": f"{photo.width / photo.height:.4f}",
        "link": None if links is None else links[i],
    }


def _read(scores: Scores, i: int, side: int) -> tuple[str, Image.Image]:
    """Return the digest of the i-th image's file, and what was looked at of it, at most so many pixels a side."""
    left, top, right, bottom = scores.region
    digest, image = scores.required_images.digest_and_image(i, math.ceil(side / min(right - left, bottom - top)))
    image = crop(image, scores.region)
    image.thumbnail((side, side))
    return digest, image


def _boxes(scores: Scores, classes: DefectClasses | None, threshold: float | None) -> dict[int, list[dict]]:
    """Return the boxes of each image's defects in percent of the part of the photo that is shown."""
    boxes: dict[int, list[dict]] = {}
    for defect in find_defects(scores, threshold, classes):
        left, top, right, bottom = pixel_box(scores.region, scores.required_images.size(defect.image))
        x0, y0, x1, y1 = defect.box
        title = f"{x1 - x0} x {y1 - y0} pixels at {x0}, {y0}: area {defect.area}, peak {defect.peak:.3f}"
        boxes.setdefault(defect.image, []).append(
            {
                "left": f"{100 * (x0 - left) / (right - left):.2f}",
                "top": f"{100 * (y0 - top) / (bottom - top):.2f}",
                "width": f"{100 * (x1 - x0) / (right - left):.2f}",
                "height": f"{100 * (y1 - y0) / (bottom - top):.2f}",
                "title": title + ("" if defect.kind is None else f", kind {defect.kind}"),
            }
        )
    return {i: some[:MOST_BOXES] for i, some in boxes.items()}


def _closely(evidence: Evidence, scores: Scores) -> dict:
    """Return the pictures of an image around its strangest patch, and the name of what it was compared with."""
    images, resolved_view = scores.required_images, scores.resolved_view
    pictures = [] if resolved_view is None else draw_evidence(evidence, images, resolved_view)
    return {
        "pictures": [data_uri(picture) for picture in pictures],
        "compared": None if evidence.compared is None else images.names[evidence.compared],
        "distance": evidence.distance,
    }
