"""Score all images by one group of them: where a batch holds several kinds, one is said to be the normal one."""

import warnings
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from musc_lite.analysis.groups import Groups, image_groups
from musc_lite.data.duplicates import originals
from musc_lite.detector.batch import Batch
from musc_lite.scorers.base import PatchScorer
from musc_lite.utils.validation import check_group

if TYPE_CHECKING:
    from musc_lite.detector.detector import Detector

__all__ = ["check_groups", "find_normal", "groups_to_show"]

EVERY = 2  # patches: a look that nobody asked for takes 6 % of a run, where all patches take a third
ENOUGH = 30  # images: of 30 batches of 16 bricks up to 8 fell apart by chance, of 30 bricks without defects none


def check_groups(groups: str | int | None, scorer: PatchScorer) -> PatchScorer:
    """Give the scorer back, or refuse before the long work what names no group, and scorers that take no references."""
    if groups is None:
        return scorer
    if groups != "largest" and (not isinstance(groups, Integral) or groups < 0):
        raise ValueError(f"groups is 'largest' or the number of a group, the largest is 0; got {groups!r}")
    if groups != "largest":
        check_group(int(groups))
    if getattr(scorer, "references", "none") is not None:
        raise ValueError(f"groups={groups!r} chooses the references itself: {scorer} has some already, or takes none")
    return scorer


def find_normal(batch: Batch, groups: str | int) -> tuple[Groups, np.ndarray | None]:
    """Find the groups of a batch, and the images of the normal one.

    Parameters
    ----------
    batch : Batch
    groups : "largest" or int
        Which group is the normal one; 0 is the largest.

    Returns
    -------
    groups : Groups
        Of the images without copies.
    normal : ndarray (n,) or None
        Indices among all images, of copies the first; None where the batch is of one kind.
    """
    kept = originals(batch.copy_of)
    found, k = image_groups(batch.features.subset(kept)), 0 if groups == "largest" else int(groups)
    if len(found) == 1:
        return found, None
    if k >= len(found):
        raise ValueError(f"there is no group {k}: the batch holds {found.in_words()}")
    warnings.warn(
        f"{found.in_words()}; all images are scored by the {found.sizes[k]} of group {k} alone, so that the others "
        "stand out as a whole: look whether they are defective or another product",
        stacklevel=4,
    )
    return found, kept[found.members(k)]


def groups_to_show(detector: "Detector") -> Groups | None:
    """Give the groups that a report shows: those asked for, or where a quick look at 30 images or more finds several.

    Parameters
    ----------
    detector : Detector
        Fitted.

    Returns
    -------
    Groups or None
        Of the images without copies.
    """
    if detector.groups_ is not None:
        return detector.groups_
    kept = originals(detector.copy_of_)
    if len(kept) < ENOUGH:
        return None
    found = image_groups(detector.features_.subset(kept), every=EVERY)
    return found if len(found) > 1 else None
