"""What makes images are flagged: for each its strangest patch, and the closest likeness among the normal images."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from musc_lite.analysis.groups import Groups, image_groups
from musc_lite.data.duplicates import unique_indices
from musc_lite.detector.detector import Detector
from musc_lite.results.evidence import Evidence
from musc_lite.scorers.base import ScoringContext

MOST, LEAST = 12, 3  # images that evidence is given for, where none are named
EVERY = 2  # patches: a look that nobody asked for takes 6 % of a run, where all patches take a third
ENOUGH = 30  # images: of 30 batches of 16 bricks up to 8 fell apart by chance, of 30 bricks without defects none


def find_evidence(
    detector: Detector,
    which: Sequence[int] | None = None,
    tokens: Callable[[int, int], Tensor] | None = None,
) -> list[Evidence]:
    """Find where images differ most from the others, and what they were compared with there.

    Parameters
    ----------
    detector : Detector
        Fitted.
    which : sequence of int, optional
        Images of its batch; None: the flagged ones, from the highest rank, 3 to 12 of them.
    tokens : callable, optional
        Gives the aggregated tokens (N, M, C) of the s-th layer at degree r, where they are at hand; by default
        ``detector.aggregated_tokens``, which makes them again.

    Returns
    -------
    list of Evidence
        In the order of `which`.

    Examples
    --------
    >>> from musc_lite import MuSc, planted_textures
    >>> detector = MuSc(image_size=56, r=(1,)).fit(planted_textures("brick", 6, 1))
    >>> len(find_evidence(detector)), find_evidence(detector, [5])[0].image
    (3, 5)
    """
    scores = detector.scores_
    if which is None:
        which = scores.ranking[: min(max(LEAST, int(scores.is_outlier.sum())), MOST)].tolist()
    patches = {i: int(detector.patch_scores_[:, :, i].mean(axis=(0, 1)).argmax()) for i in which}
    if not hasattr(detector.components_.scorer, "explain"):
        return [Evidence(i, patches[i]) for i in which]
    kept = unique_indices(detector.copy_of_)  # a copy asks from where the first of them lies in the batch
    place = {int(i): k for k, i in enumerate(kept)}
    normal = torch.from_numpy(~scores.is_outlier[kept])
    context = ScoringContext(detector.features_.grid, tiles=detector.features_.resolved_view.tiles)
    distances, others = {i: torch.zeros(()) for i in which}, {}
    for (s, r), scorer in detector.scorers_.items():
        batch = (tokens or detector.aggregated_tokens)(s, r)
        for i in which:
            explained = scorer.explain(batch, place[int(detector.copy_of_[i])], patches[i], context)
            distances[i] = distances[i] + explained.distances / len(detector.scorers_)  # (N', M)
            others[i] = explained.images
    found = []
    for i in which:
        candidates = others[i][normal[others[i]]]
        candidates = candidates if len(candidates) else others[i]
        nearest, there = distances[i][candidates].min(dim=1)
        first = int(nearest.argmin())
        closest = int(kept[candidates[first]])
        found.append(Evidence(i, patches[i], closest, int(there[first]), float(nearest[first])))
    return found


def groups_to_show(detector: Detector) -> Groups | None:
    """Return the groups that a report shows: those asked for, or where a quick look at 30 images or more finds several.

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
    kept = unique_indices(detector.copy_of_)
    if len(kept) < ENOUGH:
        return None
    found = image_groups(detector.features_.subset(kept), every=EVERY)
    return found if len(found) > 1 else None
