"""How `PatchExplorer` shows an answer: two large pictures, a small one and a dot for each other image."""

import numpy as np

from musc_lite.reports.plots import COLORS, KINDS, VIRIDIS
from musc_lite.widgets.chart import series
from musc_lite.widgets.patch_query import Answer
from musc_lite.widgets.tiles import color_bar, colored_layer, values_of

__all__ = ["asking_tile", "distance_dots", "nearness_tile", "other_tiles"]

RING = (COLORS["normal"], "round")  # around the nearest patch


def asking_tile(i: int, m: int, name: str, region: tuple[int, ...], pointed: int | None) -> dict:
    """Show the image that asks: its patch, or its region, and the patch under the mouse."""
    tile = {"picture": 0, "title": f"image {i}, patch {m}:", "name": name, "points": True, "of": i}
    marks = [] if region else [[m, COLORS["defective"]]]
    tile["marks"] = marks if pointed is None else [*marks, [pointed, COLORS["unlabeled"]]]
    return tile | {"region": list(region)} if region else tile


def nearness_tile(found: Answer, j: int, name: str) -> dict:
    """Color the patches of image j by how near they are."""
    nearest, (closest, usual) = int(found.to_all[j].argmin()), _scale(found)
    return {
        "picture": 1,
        "title": f"image {j}, nearest at {found.to_all[j, nearest]:.2f}:",
        "name": name,
        "layer": _near(found, j),
        "values": values_of(found.to_all[j]),
        "unit": "away",
        "bar": color_bar(VIRIDIS.reversed(), closest, usual, "distance, up to the usual one"),
        "marks": [[nearest, *RING]],
        "walk": True,
        "of": j,
    }


def other_tiles(found: Answer, order: Answer, is_colored: bool) -> list[dict]:
    """Show what was found in each other image, in the order of an answer, whose interval is framed.

    Each bears the number of its similar patches, and a ring around the nearest one.
    """
    places, (first, last), tiles = np.argsort(found.others), order.interval, []
    places = places[np.searchsorted(found.others, order.others, sorter=places)]
    for place, (j, at) in enumerate(zip(order.others.tolist(), places.tolist(), strict=True)):
        tile = {"picture": j, "title": f"{found.distances[at]:.2f} away", "name": f"image {j}"}
        tile |= {"number": f"{found.similar_patches[at]}", "marks": [[int(found.patches[at]), *RING]]}
        if first <= place < last:
            tile["frame"] = COLORS["threshold"]
        if is_colored:
            tile["layer"] = _near(found, j)
        tiles.append(tile)
    return tiles


def distance_dots(found: Answer, labels: np.ndarray | None) -> tuple[list[dict], list[np.ndarray]]:
    """Make a dot for each other image, by its label where that is known; and say which places each entry holds."""
    n = len(found.others)
    kinds = [("image", np.arange(n), "unlabeled")]
    if labels is not None:
        of_others = labels[found.others]
        kinds = [(f"{kind} image", np.flatnonzero(of_others == k), kind) for k, kind in enumerate(KINDS)]
    dots, held = [], []
    for name, places, kind in kinds:
        if len(places):
            words = [f"image {found.others[k]}, place {k + 1}" for k in places]
            look = {"labels": words, "hollow": kind == "defective"}
            dots.append(series(name, places + 1, found.distances[places], COLORS[kind], "points", **look))
            held.append(places)
    return dots, held


def _scale(found: Answer) -> tuple[float, float]:
    """Give the ends of the color scale: the nearest patch of all, and the usual distance."""
    return float(found.distances[0]), float(np.median(found.to_all[np.isfinite(found.to_all)]))


def _near(found: Answer, j: int) -> bytes:
    closest, usual = _scale(found)
    return colored_layer(-found.to_all[j], VIRIDIS, -usual, -closest, opacity=0.6)
