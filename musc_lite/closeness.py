"""How closely photos are looked at: what a patch covers of them, and what a closer look would cost."""

import numpy as np

from musc_lite.budget import Cost, duration
from musc_lite.data.image_set import ImageSet
from musc_lite.detector import Detector
from musc_lite.views import middle_size, what_a_patch_covers

__all__ = ["how_closely"]

CLOSER = (2, 3, 4)  # tiles along the longer side


def how_closely(detector: Detector, images: ImageSet, cost: Cost) -> str:
    """Say in the photos' own pixels what one patch covers, and what two, three or four tiles would show and take.

    Parameters
    ----------
    detector : Detector
        Not fitted yet.
    images : ImageSet
        N photos, of which some sizes are read.
    cost : Cost
        What `detector.cost` gave.

    Returns
    -------
    str
        One line for what is, and one for each closer look that shows more than the photos' own pixels hold.
    """
    now, photo = detector.framing(images), middle_size(images)
    lines = [what_a_patch_covers(now, images)]
    n_now = now.tiles[0] * now.tiles[1]
    for n in CLOSER:
        closer = detector.framing(images, tiles=n)
        n_tiles = closer.tiles[0] * closer.tiles[1]
        if n_tiles <= n_now or min(now.patch_extent(photo)) <= now.patch_size:  # the photo holds no more
            continue
        seconds = cost.extraction_seconds * closer.n_passes / now.n_passes
        seconds += cost.scoring_seconds * (np.prod(closer.grid) / np.prod(now.grid)) ** 2
        finer = " x ".join(f"{side:.0f}" for side in closer.patch_extent(photo))
        lines.append(f"  --tiles {n}: {finer} pixels, about {duration(seconds)} instead of {duration(cost.seconds)}")
    return "\n".join(lines)
