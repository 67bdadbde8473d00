"""What will be looked at, and how closely: the region, what a patch covers, what a closer look would cost."""

from functools import partial
from typing import cast

import numpy as np

from musc_lite.backbones.backbone import Backbone
from musc_lite.budget import Cost, duration
from musc_lite.data.image_set import ImageSet
from musc_lite.data.region import Region
from musc_lite.detector import Detector
from musc_lite.stages.features import region_of_objects

__all__ = ["how_closely", "settle_region"]

CLOSER = (2, 3, 4)  # tiles along the longer side
SAMPLE = 30  # photos whose sizes are read


def settle_region(detector: Detector, images: ImageSet) -> Region:
    """Say which region of these photos a detector looks at, before its long work.

    Where it is to find the objects they are found now, and the detector is given their region in numbers, so that it
    does not look for them again.

    Parameters
    ----------
    detector : Detector
        Not fitted yet, its backbone loaded.
    images : ImageSet

    Returns
    -------
    (left, top, right, bottom)
        In shares of the photos.
    """
    if detector.parts.view.region == "auto":
        backbone, settings = cast(Backbone, detector.backbone), detector.get_params()
        look = partial(region_of_objects, batch_size=detector.batch_size, cache_dir=detector.cache_dir)
        detector.set_params(**{"region" if "region" in settings else "view__region": look(images, backbone)})
    return detector.framing(images).region


def how_closely(detector: Detector, images: ImageSet, cost: Cost, option: str = "--tiles") -> str:
    """Say in the photos' own pixels what one patch covers, and what two, three or four tiles would show and take.

    Parameters
    ----------
    detector : Detector
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
        One line for what is, and one for each closer look that shows more than the photos' own pixels hold.
    """
    some = images.subset(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int))
    width, height = np.median([some.size(i) for i in range(len(some))], axis=0).tolist()
    now = detector.framing(some)
    across, down = now.patch_extent((width, height))
    lines = [
        f"A patch covers {across:.0f} x {down:.0f} pixels of your photos ({width:.0f} x {height:.0f}); defects much "
        "smaller than that are easily missed."
    ]
    n_now = now.tiles[0] * now.tiles[1]
    for n in CLOSER:
        closer = detector.framing(some, tiles=n)
        n_tiles = closer.tiles[0] * closer.tiles[1]
        if n_tiles <= n_now or min(across, down) <= now.patch_size:  # the photo holds no more
            continue
        seconds = cost.extraction_seconds * closer.n_passes / now.n_passes
        seconds += cost.scoring_seconds * (np.prod(closer.grid) / np.prod(now.grid)) ** 2
        finer = " x ".join(f"{side:.0f}" for side in closer.patch_extent((width, height)))
        lines.append(f"  {option} {n}: {finer} pixels, about {duration(seconds)} instead of {duration(cost.seconds)}")
    return "\n".join(lines)
