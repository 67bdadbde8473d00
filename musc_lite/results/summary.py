"""Sentences for people, built from results: one function for each message.

The command line, the report, the app and the explorers say the same by calling the same function.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from musc_lite.analysis.defect_classes import FEW, DefectClasses, listed
from musc_lite.analysis.groups import Groups
from musc_lite.data.roi import WHOLE, Region, pixel_box
from musc_lite.results.comparison import Comparison
from musc_lite.results.scores import Scores
from musc_lite.scorers.recurring import Recurring
from musc_lite.stages.conformal import DRIFT_LEVEL, Drift, find_drift
from musc_lite.stages.thresholds import DECIMALS, ConfusionCounts, Decision, Gap, best_f1_threshold, clearest_gap

LEAST_FOR_DAY, NEARLY_ALL = 5, 0.9  # images, and share of them: so many flagged suggest another camera or product
NO_PROOF = "This does not prove that all images are good: "
NO_PROOF_OF_SCORES = (
    f"{NO_PROOF}if many images are defective, or defects are faint, a threshold estimated from scores can lie above "
    "all of them"
)
NO_PROOF_BY_HAND = f"{NO_PROOF}a threshold set by hand does not limit the defects below it"
NO_PROOF_OF_GOOD_IMAGES = f"{NO_PROOF}a threshold set from good images does not limit the defects below it"


def describe_scores(scores: Scores) -> list[str]:
    """Return sentences on the ranking, the guarantee of the threshold, and whether new images differ or drift."""
    labels = None if scores.images is None else scores.images.labels
    sentences = describe_ranking(scores.image_scores, scores.threshold, scores.names, labels, scores.decision)
    if scores.batch is not None:
        sentences += describe_difference(int(scores.is_outlier.sum()), len(scores), scores.differences)
    if scores.calibration is None:
        return sentences
    promise = describe_guarantee(scores.calibration, scores.threshold)
    drift = find_drift(scores.image_scores, scores.calibration, scores.threshold)
    return [*sentences, *promise, *describe_drift(drift)]


def describe_ranking(
    image_scores: ArrayLike,
    threshold: float,
    names: Sequence[str],
    labels: ArrayLike | None = None,
    decision: Decision | None = None,
) -> list[str]:
    """Return sentences on a ranking: which images are flagged, which to check first, how clear a gap there is.

    Parameters
    ----------
    image_scores : (N,)
    threshold : float
        Images above it are flagged.
    names : N strings
    labels : (N,), optional
        0 normal, 1 defective: for the counts at this threshold and at the best one.
    decision : Decision, optional
        What the threshold was set from; None: these scores.

    Returns
    -------
    list of str
        Sentences.

    Examples
    --------
    >>> for sentence in describe_ranking([0.1, 0.9, 0.2, 0.15], 0.5, list("abcd")):
    ...     print(sentence)
    1 of 4 images is flagged as anomalous (threshold 0.500): b. Images below it may still contain small defects.
    The scores have a gap below rank 1, from 0.900 to 0.200; the largest step after it is 0.050.
    Fewer than 10 images: use the ranking, not the threshold.
    """
    image_scores = np.asarray(image_scores, dtype=float)
    ranking = np.argsort(-image_scores, kind="stable")
    n_called, n = int((image_scores > threshold).sum()), len(ranking)
    first = [names[i] for i in ranking[: min(5, n_called)]]
    highest = ", ".join(f"{names[i]} ({image_scores[i]:.{DECIMALS}f})" for i in ranking[:5])
    if n_called:
        more = f" and {n_called - 5} more" if n_called > 5 else ""
        below = "Images below it may still contain small defects." if n_called < n else "All scores lie above it."
        count = f"{n_called} of {n} images {'is' if n_called == 1 else 'are'}" if n_called < n else _all_of(n)
        at = f"(threshold {threshold:.{DECIMALS}f})"
        sentences = [f"{count} flagged as anomalous {at}: {', '.join(first)}{more}. {below}"]
    else:
        none = f"No image is flagged as anomalous (threshold {threshold:.{DECIMALS}f})"
        if image_scores.max() == threshold and (decision is None or decision.is_automatic):
            none = "No image is flagged: the scores do not separate any images from the others, so no threshold was set"
        sentences = [f"{none}. {_no_all_clear(decision)}. Check the highest scores first: {highest}."]
    if n > 2:
        sentences.append(_describe_gap(clearest_gap(image_scores)))
    if (n_drawn := decision.n_used if decision else len(ranking)) is not None and n_drawn < FEW:
        others = f"The threshold was set from {n_drawn} images, f" if n_drawn != len(ranking) else "F"
        sentences.append(f"{others}ewer than {FEW} images: use the ranking, not the threshold.")
    if labels is not None and len(np.unique(labels)) == 2:
        best = best_f1_threshold(labels, image_scores)
        sentences.append(
            f"By the labels, the threshold {threshold:.3f} flags "
            f"{ConfusionCounts.at(threshold, labels, image_scores)}; the best "
            f"F1 is at {best:.3f}: {ConfusionCounts.at(best, labels, image_scores)}."
        )
    return sentences


def describe_difference(n_called: int, n_images: int, differ: Sequence[str] = ()) -> list[str]:
    """Return what suggests that new images are not comparable with the reference: sentences, none where nothing does.

    Parameters
    ----------
    n_called, n_images : int
        New images that are flagged, and all of them.
    differ : sequence of str
        What differs from the images of the reference.

    Examples
    --------
    >>> describe_difference(1, 10)
    []
    """
    sentences = [f"These images differ from those of the reference: {', '.join(differ)}."] if differ else []
    if n_images >= LEAST_FOR_DAY and n_called >= NEARLY_ALL * n_images:
        many = "All" if n_called == n_images else f"{n_called} of"
        sentences.append(
            f"{many} {n_images} images are flagged. Check that product, camera, shape and bit depth are those of the "
            "reference: if not, scores cannot be compared. Fit a new reference model then."
        )
    return sentences


def describe_guarantee(calibration: ArrayLike, threshold: float) -> list[str]:
    """Return the guarantee of a threshold and its limits; nothing if `conformal_threshold` did not set it.

    The false alarm rate given these calibration images has the distribution Beta(k, n + 1 - k).

    Examples
    --------
    >>> describe_guarantee(np.arange(19), threshold=18)[0][:72]
    'False alarm limit: at most 5 % of good images like the 19 calibration im'
    """
    from scipy.stats import beta

    calibration = np.asarray(calibration, dtype=float)
    if threshold not in calibration:
        return []
    n_trusted, k = len(calibration), int((calibration >= threshold).sum())
    rate = k / (n_trusted + 1)
    bound = beta.ppf(0.9, k, n_trusted + 1 - k)
    return [
        f"False alarm limit: at most {_percent(rate)} of good images like the {n_trusted} calibration images are "
        f"flagged, on average over calibration sets of this size; with probability 0.9 at most {_percent(bound)} with "
        "this set. This says nothing about missed defects, nor about images taken in another way."
    ]


def describe_drift(drift: Drift) -> list[str]:
    """Return the signs that the good images of a day differ from the calibration images, if there are any."""
    sentences = []
    if drift.is_likely:
        sentences.append(
            f"Drift: images that are not flagged score differently from the {drift.n_trusted} calibration images (p = "
            f"{drift.p_value:.2g}, limit {DRIFT_LEVEL}). Check whether light, camera or product have changed: if so, "
            "the false alarm limit does not hold. Calibrate with new good images and fit again."
        )
    if drift.p_called < DRIFT_LEVEL:
        sentences.append(
            f"{drift.n_called} of {drift.n_images} images are flagged, more than false alarms explain (p = "
            f"{drift.p_called:.2g}): many are defective, or all images have changed."
        )
    return sentences


def describe_comparison(comparison: Comparison) -> list[str]:
    """Return which methods rank most and least alike, and on which images they disagree most."""
    correlations, sentences = comparison.correlations(), []
    pairs = {pair: correlations.loc[pair] for pair in combinations(comparison.methods, 2)}
    pairs = {pair: value for pair, value in pairs.items() if np.isfinite(value)}
    if pairs:
        most, least = max(pairs, key=pairs.__getitem__), min(pairs, key=pairs.__getitem__)
        said = f"{' and '.join(most)} rank the images most alike (Spearman's correlation {pairs[most]:.2f})"
        least_said = f", {' and '.join(least)} least ({pairs[least]:.2f})"
        sentences.append(said + (least_said if len(pairs) > 1 else "") + ".")
    first = comparison.disagreements(3)
    if len(first):
        ranks = comparison.ranks
        places = [f"{comparison.names[i]} (ranks {ranks[:, i].min():g} to {ranks[:, i].max():g})" for i in first]
        sentences.append(f"They disagree most on {', '.join(places)}.")
    else:
        sentences.append("All methods rank the images the same way.")
    return sentences


def compared_with(scores: Sequence[Scores]) -> dict[str, Any]:
    """Return what the scores compare: the images of one batch with each other, or new ones with a reference."""
    batches = [each for each in scores if each.batch is None]
    about = dict.fromkeys(
        each.about.get("reference", f"a batch of {len(each.batch)} images that was fitted before")
        for each in scores
        if each.batch is not None
    )
    if batches and about:
        scale = "each batch, and that of their reference for new images"
    else:
        scale = "the whole batch" if batches else "all, that of the reference"
    return {
        "references": [f"Each image was scored against a reference, not against the others here: {r}." for r in about],
        "batches": "Scores compare images of one batch only."
        if batches
        else "For a new image the others are those of the reference.",
        "scale": scale,
    }


def describe_defects_outside_roi(scores: Scores) -> str | None:
    """Return a sentence on images whose true defect lies partly outside of the region; None where there are none."""
    unseen = scores.defects_outside_roi()
    if not unseen:
        return None
    more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
    return f"part of the true defect lies outside the region of interest, not scored: {', '.join(unseen[:3])}{more}"


def describe_groups(groups: Groups, scores: Scores) -> list[str]:
    """Return which groups of images there are, what each was compared with, and what that means.

    Parameters
    ----------
    groups : Groups
        Of the images of the scores, without copies.
    scores : Scores
    """
    found = str(groups)
    found = f"{found[0].upper()}{found[1:]}."
    if len(groups) == 1:
        return [found, "All images were compared with all others."]
    by_group = scores.about.get("groups")
    if by_group:
        meaning = "Images of another group score high everywhere: they may be defective all over, or another product."
        return [found, f"All images were {by_group}.", meaning]
    return [
        found,
        "All images were compared with all others, so each group counts as normal, whether it is or not: several "
        "images with the same defect all over, another product, another camera.",
        'If one group is the normal one, compare with it: --groups largest, groups="largest" in Python, "score by" in '
        'the app. If defects cover whole images, add --pooling mean, pooling="mean" in Python.',
    ]


def describe_defect_classes(classes: DefectClasses) -> list[str]:
    """Return how many classes of defects there are, and how reliable that is."""
    n_images = int(classes.sizes.sum())
    if not n_images:
        return ["No image is flagged, so there are no defects to sort."]
    if n_images == 1:
        return ["One image is flagged, so there are no classes of defects."]
    sizes = listed(classes.sizes.tolist())
    kinds = "One class" if len(classes) == 1 else f"{len(classes)} classes"
    sentences = [f"{kinds} of defects in the {n_images} flagged images: {sizes} images."]
    if classes.is_found:
        sentences.append("The number of classes is an estimate: set it if the pictures show another.")
    if n_images < FEW:
        sentences.append(f"With fewer than {FEW} flagged images, classes are a guess.")
    return sentences


def describe_recurring(recurring: Recurring, names: Sequence[str] | None = None) -> str:
    """Return which images share something.

    Examples
    --------
    >>> describe_recurring(Recurring(np.array([0, 3, 4]), np.array([7, 7, 8]), np.array([4.0, 3.5, 4.0])))
    '3 images share a rare patch: 0, 3, 4'
    """
    each = [str(i) if names is None else names[i] for i in recurring.images]
    listed = ", ".join(each[:5]) + (f" and {len(each) - 5} more" if len(each) > 5 else "")
    return f"{len(each)} images share a rare patch: {listed}"


def describe_region(region: Region, size: tuple[int, int]) -> str:
    """Return how much of a photo of this width and height a region holds.

    Examples
    --------
    >>> describe_region((0.25, 0.5, 0.75, 0.875), (2000, 1334))
    'region (0.25, 0.5, 0.75, 0.875): 1000 x 500 of 2000 x 1334 pixels, 18.8% of the photo'
    >>> describe_region(WHOLE, (2000, 1334))
    'whole photo: 2000 x 1334 pixels'
    """
    pixels = f"{size[0]} x {size[1]} pixels"
    if region == WHOLE:
        return f"whole photo: {pixels}"
    left, top, right, bottom = pixel_box(region, size)
    shares = ", ".join(f"{round(share, 3):g}" for share in region)
    area = (region[2] - region[0]) * (region[3] - region[1])
    return f"region ({shares}): {right - left} x {bottom - top} of {pixels}, {area:.1%} of the photo"


def _no_all_clear(decision: Decision | None) -> str:
    """Return why no flagged image does not mean no defect."""
    if decision is None or decision.n_used is not None:
        return NO_PROOF_OF_GOOD_IMAGES if decision and decision.calibration else NO_PROOF_OF_SCORES
    return NO_PROOF_BY_HAND


def _all_of(n: int) -> str:
    return f"All {n} images are" if n > 1 else "The image is"


def _describe_gap(gap: Gap) -> str:
    ends = f"below rank {gap.n_above}, from {gap.high:.{DECIMALS}f} to {gap.low:.{DECIMALS}f}"
    below = f"; the largest step after it is {gap.next:.{DECIMALS}f}."
    if gap.is_clear:
        return f"The scores have a gap {ends}{below}"
    if gap.ratio == 0:
        return "The scores have no gap that separates defects: their upper half is equal."
    return f"The scores have no clear gap that separates defects: the clearest one lies {ends}{below}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
