"""What will be looked at, and how closely: the region, what a closer look would show and cost, what a time allows."""

import warnings
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from musc_lite.data.image_set import ImageSet
from musc_lite.data.view import Framing, middle_size, what_a_patch_covers
from musc_lite.detector.memory import Cost, duration
from musc_lite.stages.features import region_of_objects

if TYPE_CHECKING:
    from musc_lite.detector.detector import Detector
    from musc_lite.detector.planning import PlanningAhead

__all__ = ["closest_tiles", "how_closely", "settle_view"]

MORE = 3  # closer looks that are named


def settle_view(detector: "Detector", images: ImageSet) -> Framing:
    """Say what a detector will look at of these photos, before its long work.

    What it is to find out by itself, where the objects are and how closely it can look in a given time, is found out
    now, and the detector is given the answers as numbers, so that it does not look again.

    Parameters
    ----------
    detector : Detector
        Not fitted yet, its backbone loaded.
    images : ImageSet

    Returns
    -------
    Framing
    """
    detector.parts.check()
    view, found = detector.parts.view, dict[str, Any]()
    if view.region == "auto":
        look = partial(region_of_objects, batch_size=detector.batch_size, cache_dir=detector.cache_dir)
        found["region"] = look(images, detector.load_backbone())
    if view.seconds is not None:
        tiles = closest_tiles(detector, images, view.seconds, found.get("region", view.region))
        found |= {"size": None, "tiles": tiles}
    of_musc = {"region": "region", "size": "image_size", "tiles": "tiles"}
    if "region" not in detector.get_params():
        of_musc = {name: f"view__{name}" for name in of_musc}
    detector.set_params(**{of_musc[name]: value for name, value in found.items()})
    return detector.framing(images)


def how_closely(detector: "PlanningAhead", images: ImageSet, cost: Cost, option: str = "--tiles") -> str:
    """Say in the photos' own pixels what one patch covers, and what more tiles would show and take.

    Parameters
    ----------
    detector : PlanningAhead
        Not fitted yet.
    images : ImageSet
        N photos, of which some sizes are read.
    cost : Cost
        What `detector.cost` gave.
    option : str
        What the user sets to look closer.

    Returns
    -------
    str
        One line for what is, and one for each of up to three closer looks that the photos have pixels for.
    """
    now, photo = detector.framing(images), middle_size(images)
    lines = [what_a_patch_covers(now, images)]
    for n, closer in _closer_looks(detector, images, now):
        seconds = _seconds(detector, len(images), closer, now, cost)
        finer = " x ".join(f"{side:.0f}" for side in closer.patch_extent(photo))
        lines.append(f"  {option} {n}: {finer} pixels, about {duration(seconds)} instead of {duration(cost.seconds)}")
        if len(lines) > MORE:
            break
    return "\n".join(lines)


def closest_tiles(detector: "PlanningAhead", images: ImageSet, seconds: float, region: object) -> int:
    """Choose as many tiles along the longer side as the photos have pixels for and a time allows.

    Parameters
    ----------
    detector : PlanningAhead
    images : ImageSet
        N photos.
    seconds : float
        That features and scoring may take, by an estimate on this machine: a busy one chooses fewer.
    region : sequence of float or None
        The part of the photos that is looked at.

    Returns
    -------
    int
        At least 1: where even that takes longer, it is warned of.
    """
    plain = detector.framing(images, size=None, region=region)
    cost, chosen = detector.cost_of(len(images), plain), 1
    if cost.seconds > seconds:
        warnings.warn(
            f"the plain look takes about {duration(cost.seconds)}, more than the {duration(seconds)} given",
            stacklevel=4,
        )
    for n, closer in _closer_looks(detector, images, plain, size=None, region=region):
        if _seconds(detector, len(images), closer, plain, cost) > seconds:
            break
        chosen = n
    return chosen


def _closer_looks(
    detector: "PlanningAhead", images: ImageSet, now: Framing, **changes: Any
) -> Iterator[tuple[int, Framing]]:
    """Give numbers of tiles, and what is seen with them, until the photos have no more pixels for a closer look."""
    photo, n_now = middle_size(images), now.tiles[0] * now.tiles[1]
    coarser, n = now, 1
    while max(coarser.patch_extent(photo)) > now.patch_size:
        n += 1
        closer = detector.framing(images, tiles=n, **changes)
        if closer.tiles[0] * closer.tiles[1] > n_now:
            yield n, closer
            coarser = closer


def _seconds(detector: "PlanningAhead", n_images: int, closer: Framing, now: Framing, cost: Cost) -> float:
    """Estimate a closer look from the cost of another: passes of the backbone, products of tokens."""

    def products(framing: Framing) -> float:
        extent = detector.extent(framing)
        return detector.parts.scorer.work(extent.shape(n_images), tiles=framing.tiles).products * extent.n_patches**2

    scoring = cost.scoring_seconds * products(closer) / products(now)
    return cost.extraction_seconds * closer.n_passes / now.n_passes + scoring
