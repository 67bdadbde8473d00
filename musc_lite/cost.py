"""What a batch will cost before the work starts: memory, and how to stay within a budget; products; seconds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from musc_lite.backbones.load import Backbone
from musc_lite.search.nearest import TILE_BYTES, is_fused, nearest_of_pairs, squared_distances
from musc_lite.stages.mutual_scoring import least_memory, shares_products
from musc_lite.support.parameters import parse_bytes

__all__ = ["Cost", "Plan", "plan_memory", "seconds_per_image", "seconds_per_pair"]

MAX_TIMED, MAX_TIMED_PATCHES = 448, 1024  # pixels, patches of what is timed: larger ones are reckoned from it


@dataclass(frozen=True)
class Plan:
    """How a batch is kept within a memory budget.

    Attributes
    ----------
    storage : {"float32", "float16", "disk"}
        See `extract_features`.
    n_bytes : int
        The most that is held at once, beside the program and the backbone.
    scoring_bytes : int or None
        What is left for mutual scoring; None: no limit.
    """

    storage: str
    n_bytes: int
    scoring_bytes: int | None


@dataclass(frozen=True)
class Cost:
    """What fitting a batch will take.

    Attributes
    ----------
    extraction_seconds, scoring_seconds : float
        Estimated from a moment's work on this machine; extraction without a feature cache.
    n_bytes : int
        The most memory held at once, beside the program and the backbone.
    n_pairs : int
        Products of two images' tokens, over all layers and r.
    """

    extraction_seconds: float
    scoring_seconds: float
    n_bytes: int
    n_pairs: int

    def __str__(self) -> str:
        extraction, scoring = _duration(self.extraction_seconds), _duration(self.scoring_seconds)
        return (
            f"about {extraction} for features and {scoring} for mutual scoring ({self.n_pairs:,} pairs of images), "
            f"{self.n_bytes / 1e9:.2f} GB of memory"
        )


def _duration(seconds: float) -> str:
    """Write seconds as a person would say them.

    Examples
    --------
    >>> _duration(12.3), _duration(200), _duration(9000)
    ('12 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plan_memory(
    shape: tuple[int, int, int, int],
    *,
    n_degrees: int,
    image_size: int,
    references: int | Sequence[int] | None = None,
    n_components: int | None = None,
    window: int | None = None,
    max_memory: int | str | None = None,
) -> Plan:
    """Choose the fastest way to keep and score the tokens of a batch that fits into a budget.

    Parameters
    ----------
    shape : (N, S, M, C)
        Images, layers, patches, channels.
    n_degrees : int
        How many degrees r.
    image_size : int
        Side of the anomaly maps.
    references, n_components, window, max_memory
        See `mutual_scores`.

    Raises
    ------
    ValueError
        If no way fits; the message says the smallest budget that works.

    Examples
    --------
    >>> batch = {"shape": (1000, 6, 256, 384), "n_degrees": 2, "image_size": 224}
    >>> [plan_memory(**batch, max_memory=budget).storage for budget in (None, "4GB", "3GB", "1.5GB")]
    ['float32', 'float32', 'float16', 'disk']
    """
    n_images, n_layers, n_patches, n_channels = shape
    results = 4 * n_images * (n_degrees * n_layers * n_patches + 2 * image_size**2 + 2 * n_images)
    pairs = 4 * n_images**2 * n_patches if shares_products((n_images, n_patches, n_channels), references, window) else 0
    least = least_memory((n_images, n_patches, n_channels), references)
    tokens = n_layers * n_images * n_patches * n_channels
    aggregated = n_images * n_patches * (n_channels + (n_components or 0))  # of one layer, and projected
    ways = [  # storage, bytes of tokens, of aggregated tokens, of distances
        ("float32", 4 * tokens, 4 * aggregated, pairs),
        ("float32", 4 * tokens, 4 * aggregated, 0),
        ("float16", 2 * tokens, 2 * aggregated, 0),
        ("disk", 0, 2 * aggregated, 0),
    ]
    for storage, *parts in ways:
        n_bytes = sum(parts) + least + results
        if max_memory is None:
            return Plan(storage, n_bytes, None)
        if n_bytes <= parse_bytes(max_memory):
            return Plan(storage, n_bytes, parts[-1] + least)
    raise ValueError(
        f"{n_images} images of {n_patches} patches with {n_channels} channels take at least {n_bytes} bytes "
        f"({n_bytes / 1e9:.2f} GB); max_memory={max_memory!r} is less. Give more, smaller images or fewer of them"
    )


def seconds_per_image(backbone: Backbone, image_size: int) -> float:
    """Time a forward pass, of a smaller image where a large one would take long itself, and scale it by its work."""
    timed = min(image_size, MAX_TIMED // backbone.patch_size * backbone.patch_size)
    blank = torch.zeros(1, 3, timed, timed)
    for _ in range(2):  # the first call sets things up
        start = time.perf_counter()
        backbone.forward_tokens(blank, [backbone.depth - 1])
        seconds = time.perf_counter() - start

    def work(side: int) -> float:  # of a block, in multiplications: linear layers, and attention
        n_tokens, width = (side // backbone.patch_size) ** 2 + 1, backbone.width
        return n_tokens * width * (12 * width + 2 * n_tokens)

    return seconds * work(image_size) / work(timed)


def seconds_per_pair(n_patches: int, n_channels: int, device: torch.device, seconds: float = 0.2) -> float:
    """Time how long two images' tokens take to compare, in tiles of the size that scoring uses, on all cores."""
    n_timed = min(n_patches, MAX_TIMED_PATCHES)
    n_images = 16 if is_fused(device) else 1 + max(1, TILE_BYTES // (4 * n_timed**2))
    images = torch.rand(n_images, n_timed, n_channels, device=device)

    def compare() -> int:
        if is_fused(device):
            return nearest_of_pairs(images).isfinite().sum().item() // (2 * n_timed)
        squared_distances(images[0], images[1:]).amin(dim=1).sum().item()
        return n_images - 1

    compare()  # the first call sets things up
    start, n_pairs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        n_pairs += compare()
    return (time.perf_counter() - start) / n_pairs * (n_patches / n_timed) ** 2
