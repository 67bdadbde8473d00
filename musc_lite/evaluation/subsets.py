"""How few images suffice: a test set divided into subsets, each scored apart (the paper's sub-datasets)."""

import random
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from musc_lite.backbones.load import load_backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.detector import Detector
from musc_lite.results.scores import Scores
from musc_lite.stages.thresholds import Decision

__all__ = ["divide", "score_subsets"]


def divide(names: Sequence[str], n_subsets: int, *, seed: int = 0, by_type: bool = True) -> list[list[int]]:
    """Divide a test set into subsets of about equal size, at random.

    Parameters
    ----------
    names : N str
        Of the images; what stands before the last slash is taken for the type of defect.
    n_subsets : int
        1 to N / 2, so that each holds at least 2 images.
    seed : int
        Another seed, another division.
    by_type : bool
        Deal out each type of defect evenly, as the published code does (with its seed 0 and its order of files the
        subsets are the same ones); False: deal out all images alike.

    Returns
    -------
    list of n_subsets lists of int
        Which images belong to each.

    Raises
    ------
    ValueError
        If a subset would hold fewer than 2 images, or there are none.

    Examples
    --------
    >>> divide(["good/0", "good/1", "good/2", "good/3", "hole/0", "hole/1"], 2)
    [[1, 2, 4], [0, 3, 5]]
    """
    if n_subsets < 1:
        raise ValueError(f"n_subsets must be 1 or more, got {n_subsets}")
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(str(PurePath(name).parent) if by_type else "", []).append(i)
    shuffle = random.Random(seed).shuffle
    subsets: list[list[int]] = [[] for _ in range(n_subsets)]
    for group in groups.values():
        shuffle(group)
        for k, subset in enumerate(subsets):
            subset.extend(group[k::n_subsets])
    smallest = min(map(len, subsets))
    if smallest < 2:
        raise ValueError(
            f"mutual scoring takes at least 2 images: {len(names)} images in {n_subsets} subsets would leave one with "
            f"{smallest}; give fewer subsets"
        )
    return [sorted(subset) for subset in subsets]


def score_subsets(detector: Detector, images: ImageSet, subsets: Sequence[Sequence[int]]) -> Scores:
    """Score each subset of the images by its own images only.

    Parameters
    ----------
    detector : Detector
        Settings; it stays as it is. With a ``cache_dir`` features are made once, however the images are divided.
    images : ImageSet
        N images.
    subsets : lists of int
        Such as `divide` gives; each image in exactly one of them.

    Returns
    -------
    Scores
        In the order of `images`. As in the published code the image scores are re-scored among all images.
    """
    if sorted(i for subset in subsets for i in subset) != list(range(len(images))):
        raise ValueError(f"each of the {len(images)} images must belong to exactly one subset")
    maps: dict[int, np.ndarray] = {}
    class_tokens: dict[int, Tensor] = {}
    fresh = clone(detector)  # of its own class
    if isinstance(detector.backbone, str):
        fresh.set_params(
            backbone=load_backbone(detector.backbone, device=detector.device, precision=detector.precision)
        )
    for subset in subsets:
        fitted = clone(fresh).fit(images.subset(subset))
        for i, anomaly_map, token in zip(subset, fitted.anomaly_maps_, fitted.features_.class_tokens, strict=True):
            maps[i], class_tokens[i] = anomaly_map, token
    parts, in_order = detector.parts, range(len(images))
    anomaly_maps = np.stack([maps[i] for i in in_order])
    map_scores = parts.pooling.pool(torch.from_numpy(anomaly_maps))
    image_scores = parts.rescoring.rescore(map_scores, torch.stack([class_tokens[i] for i in in_order])).numpy()
    threshold = parts.threshold.draw(image_scores, map_scores.numpy())
    scored = partial(Scores, images=images, decision=Decision.by(parts.threshold, threshold, len(images)))
    return scored(images.names, image_scores, map_scores.numpy(), anomaly_maps, threshold=threshold)
