"""What a batch will take before the work starts: what is looked at and how closely, memory, seconds.

Functions of a `Setup` and images; none of them changes a detector.
"""

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from sklearn.base import clone

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import WHOLE, Region
from musc_lite.data.view import ResolvedView, View, describe_patch_size, median_image_size, require_images
from musc_lite.detector.setup import Setup
from musc_lite.neighbors import cpu_bfloat16
from musc_lite.neighbors.brute_force import (
    TILE_BYTES,
    free_memory,
    pairwise_min_distances,
    squared_distances,
    uses_bfloat16,
    uses_triton,
)
from musc_lite.scorers.base import PatchScorer
from musc_lite.stages.features import Features
from musc_lite.utils.validation import check_reach, parse_bytes

MAX_TIMED, MAX_TIMED_PATCHES = 448, 1024  # pixels, patches of what is timed: larger ones are estimated from it
MORE = 3  # closer looks that are named


@dataclass(frozen=True)
class MemoryPlan:
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

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.extraction_seconds + self.scoring_seconds

    def __str__(self) -> str:
        extraction, scoring = duration(self.extraction_seconds), duration(self.scoring_seconds)
        return (
            f"about {extraction} for features and {scoring} for mutual scoring ({self.n_pairs:,} pairs of images), "
            f"{self.n_bytes / 1e9:.2f} GB of memory"
        )


def duration(seconds: float) -> str:
    """Write seconds as a person would say them.

    Examples
    --------
    >>> duration(12.3), duration(200), duration(9000)
    ('12 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class BatchShape:
    """How much there is of a batch beside its number of images.

    Attributes
    ----------
    layers : tuple of int
        The S blocks that are read.
    r : tuple of int
        Aggregation degrees.
    resolved_view : ResolvedView
        What is looked at of each image.
    n_channels : int
        C.
    """

    layers: tuple[int, ...]
    r: tuple[int, ...]
    resolved_view: ResolvedView
    n_channels: int

    @property
    def n_patches(self) -> int:
        """M."""
        return self.resolved_view.grid[0] * self.resolved_view.grid[1]

    def shape(self, n_images: int) -> tuple[int, int, int]:
        """(N, M, C) of one layer's tokens."""
        return n_images, self.n_patches, self.n_channels


def plan_memory(
    scorer: PatchScorer,
    n_images: int,
    extent: BatchShape,
    max_memory: int | str | None = None,
    precision: str = "float32",
) -> MemoryPlan:
    """Choose the fastest way to keep and score the tokens of a batch that fits into a budget.

    Parameters
    ----------
    scorer : PatchScorer
        Which says what scoring takes.
    n_images : int
    extent : BatchShape
    max_memory : int or str, optional
        See `MuSc`.
    precision : {"float32", "bfloat16"}
        With bfloat16 a copy of one layer's tokens is made for products.

    Raises
    ------
    ValueError
        If no way fits; the message says the smallest budget that works. If a parameter of the scorer does not fit.

    Examples
    --------
    >>> from musc_lite.scorers.mutual import MutualScorer
    >>> view = ResolvedView((224, 224), 14)
    >>> extent = BatchShape(layers=(4, 5, 6, 7, 8, 9), r=(1, 3), resolved_view=view, n_channels=384)
    >>> [plan_memory(MutualScorer(), 1000, extent, budget).storage for budget in (None, "4GB", "3GB", "1.5GB")]
    ['float32', 'float32', 'float16', 'disk']
    """
    n_layers, n_patches, n_channels = len(extent.layers), extent.n_patches, extent.n_channels
    work = scorer.cost(extent.shape(n_images), tiles=extent.resolved_view.tiles)
    results = (
        4 * n_images * (len(extent.r) * n_layers * n_patches + 2 * math.prod(extent.resolved_view.size) + 2 * n_images)
    )
    tokens = n_layers * n_images * n_patches * n_channels
    aggregated = n_images * n_patches * (n_channels + work.kept_channels)  # of one layer
    if precision == "bfloat16":
        results += 2 * n_images * n_patches * cpu_bfloat16.padded_width(work.n_channels)
    ways = [  # storage, bytes of tokens, of aggregated tokens, of what makes it faster
        ("float32", 4 * tokens, 4 * aggregated, work.more_bytes),
        ("float32", 4 * tokens, 4 * aggregated, 0),
        ("float16", 2 * tokens, 2 * aggregated, 0),
        ("disk", 0, 2 * aggregated, 0),
    ]
    for storage, *parts in ways:
        n_bytes = sum(parts) + work.least_bytes + results
        if max_memory is None:
            return MemoryPlan(storage, n_bytes, None)
        if n_bytes <= parse_bytes(max_memory):
            return MemoryPlan(storage, n_bytes, parts[-1] + work.least_bytes)
    raise ValueError(
        f"{n_images} images of {n_patches} patches with {n_channels} channels take at least {n_bytes} bytes "
        f"({n_bytes / 1e9:.2f} GB); max_memory={max_memory!r} is less. Give more, smaller images or fewer of them"
    )


def resolve_view(setup: Setup, images: ImageSet | None, found: Region = WHOLE, **changes: Any) -> ResolvedView:
    """Return what is looked at of these images; `found`: what a region "auto" stands for; changes: of the view."""
    view, backbone = clone(setup.components.view).set_params(**changes), setup.backbone
    if view.seconds is not None:
        region = found if view.region == "auto" else view.region
        tiles = _closest_tiles(setup, require_images(images, view), view.seconds, region)
        view.set_params(size=None, tiles=tiles)
    return view.resolve(images, backbone.patch_size, backbone.default_image_size, backbone.name, found)


def view_of_batch(setup: Setup, images: ImageSet, features: Features | None = None) -> ResolvedView:
    """Return what a fit looks at; given features hold the region and the tiles that they were made with."""
    view = setup.components.view
    if features and view.seconds is not None:
        return features.resolved_view
    if view.region != "auto":
        return resolve_view(setup, images)
    return resolve_view(setup, images, features.resolved_view.region if features else setup.find_objects(images))


def fill_in_view(setup: Setup, images: ImageSet) -> View:
    """Return the view with numbers in place of "auto": the region of the objects, and the tiles that a time allows."""
    view = clone(setup.components.view)
    if view.region == "auto":
        view.region = setup.find_objects(images)
    if view.seconds is not None:
        view.set_params(size=None, tiles=_closest_tiles(setup, images, view.seconds, view.region))
    return view


def extent_of(setup: Setup, resolved_view: ResolvedView, features: Features | None = None) -> BatchShape:
    """Return how much there is of each image; features, where there are any, have their layers."""
    backbone = setup.backbone
    layers = features.layers if features and setup.layers is None else backbone.layers(setup.layers)
    degrees = setup.components.aggregation.degrees(backbone.default_r)
    check_reach(degrees, resolved_view.grid)
    return BatchShape(tuple(layers), tuple(degrees), resolved_view, backbone.width)


def estimate_cost(setup: Setup, n_images: int, resolved_view: ResolvedView) -> Cost:
    """Estimate what fitting so many images takes, from about a second of work.

    Raises
    ------
    ValueError
        If so many images cannot be scored within ``max_memory``, or a parameter does not fit.
    """
    if not isinstance(n_images, Integral) or n_images < 2:
        raise ValueError(f"mutual scoring takes at least 2 images, got n_images={n_images}")
    extent, scorer, backbone = extent_of(setup, resolved_view), setup.components.scorer, setup.backbone
    plan = plan_memory(scorer, n_images, extent, setup.max_memory, backbone.precision)
    work = scorer.cost(extent.shape(n_images), plan.scoring_bytes, resolved_view.tiles)
    n_times = len(extent.layers) * len(extent.r)
    device = backbone.device if uses_triton(backbone.device) else torch.device("cpu")
    scoring = n_times * work.products * seconds_per_pair(extent.n_patches, work.n_channels, device, backbone.precision)
    extraction = n_images * resolved_view.n_passes * seconds_per_pass(backbone, resolved_view.tile_size)
    return Cost(extraction, scoring, plan.n_bytes, n_times * work.n_steps)


def describe_resolution(setup: Setup, images: ImageSet, cost: Cost, option: str = "--tiles") -> str:
    """Return in the photos' own pixels, what one patch covers, and what more tiles would show and take.

    Parameters
    ----------
    setup : Setup
    images : ImageSet
        N photos, of which some sizes are read.
    cost : Cost
        What `estimate_cost` returned.
    option : str
        What the user sets to look closer.

    Returns
    -------
    str
        One line for what is, and one for each of up to three closer looks that the photos have pixels for.
    """
    now, photo = resolve_view(setup, images), median_image_size(images)
    lines = [describe_patch_size(now, images)]
    for n, closer in _closer_looks(setup, images, now):
        seconds = _seconds(setup, len(images), closer, now, cost)
        finer = " x ".join(f"{side:.0f}" for side in closer.patch_extent(photo))
        lines.append(f"  {option} {n}: {finer} pixels, about {duration(seconds)} instead of {duration(cost.seconds)}")
        if len(lines) > MORE:
            break
    return "\n".join(lines)


def _closest_tiles(setup: Setup, images: ImageSet, seconds: float, region: Any) -> int:
    """Return as many tiles along the longer side as the photos have pixels for and a time allows, at least 1."""
    plain = resolve_view(setup, images, size=None, region=region)
    cost, chosen = estimate_cost(setup, len(images), plain), 1
    if cost.seconds > seconds:
        warnings.warn(
            f"the plain look takes about {duration(cost.seconds)}, more than the {duration(seconds)} given",
            stacklevel=4,
        )
    for n, closer in _closer_looks(setup, images, plain, size=None, region=region):
        if _seconds(setup, len(images), closer, plain, cost) > seconds:
            break
        chosen = n
    return chosen


def _closer_looks(
    setup: Setup, images: ImageSet, now: ResolvedView, **changes: Any
) -> Iterator[tuple[int, ResolvedView]]:
    """Yield numbers of tiles, and what is seen with them, until the photos have no more pixels for a closer look."""
    photo, n_now = median_image_size(images), now.tiles[0] * now.tiles[1]
    coarser, n = now, 1
    while max(coarser.patch_extent(photo)) > now.patch_size:
        n += 1
        closer = resolve_view(setup, images, tiles=n, **changes)
        if closer.tiles[0] * closer.tiles[1] > n_now:
            yield n, closer
            coarser = closer


def _seconds(setup: Setup, n_images: int, closer: ResolvedView, now: ResolvedView, cost: Cost) -> float:
    """Estimate a closer look from the cost of another: passes of the backbone, products of tokens."""

    def products(resolved_view: ResolvedView) -> float:
        extent = extent_of(setup, resolved_view)
        return (
            setup.components.scorer.cost(extent.shape(n_images), tiles=resolved_view.tiles).products
            * extent.n_patches**2
        )

    scoring = cost.scoring_seconds * products(closer) / products(now)
    return cost.extraction_seconds * closer.n_passes / now.n_passes + scoring


def choose_device(
    scorer: PatchScorer,
    shape: tuple[int, int, int],
    backbone: Backbone,
    max_memory: int | None,
    tiles: tuple[int, int] = (1, 1),
) -> tuple[torch.device, int | None]:
    """Score on the backbone's GPU, where one layer's tokens leave it some memory, else on the CPU.

    Parameters
    ----------
    scorer : PatchScorer
    shape : (N, M, C)
    backbone : Backbone
    max_memory : int, optional
        Bytes that scoring may take on the CPU.
    tiles : (int, int)
        That the patches come from.

    Returns
    -------
    device : torch.device
    max_memory : int or None
        Bytes that scoring may take there, beside the tokens.
    """
    if not uses_triton(backbone.device):
        return torch.device("cpu"), max_memory
    n_images, n_patches, n_channels = shape
    work = scorer.cost(shape, tiles=tiles)
    tokens = 2 * n_images * n_patches * (n_channels + work.kept_channels)  # in half precision
    spare = free_memory(backbone.device) - tokens
    if spare >= work.least_bytes:
        return backbone.device, spare
    warnings.warn(
        f"{backbone.device} has too little free memory for the tokens of {n_images} images: scoring runs on the CPU; a "
        "GPU with more memory, smaller images or fewer of them would be faster",
        stacklevel=4,
    )
    return torch.device("cpu"), max_memory


def seconds_per_pass(backbone: Backbone, size: tuple[int, int]) -> float:
    """Time a forward pass, of a smaller image where a large one would take long itself, and scale it by its work."""
    largest = MAX_TIMED // backbone.patch_size * backbone.patch_size
    timed = min(size[0], largest), min(size[1], largest)
    blank = torch.zeros(1, 3, *timed)
    for _ in range(2):  # the first call sets things up
        start = time.perf_counter()
        backbone.forward_tokens(blank, [backbone.depth - 1])
        seconds = time.perf_counter() - start

    def work(sides: tuple[int, int]) -> float:  # of a block, in multiplications: linear layers, and attention
        n_tokens, width = math.prod(side // backbone.patch_size for side in sides) + 1, backbone.width
        return n_tokens * width * (12 * width + 2 * n_tokens)

    return seconds * work(size) / work(timed)


def seconds_per_pair(
    n_patches: int, n_channels: int, device: torch.device, precision: str = "float32", seconds: float = 0.2
) -> float:
    """Time how long two images' tokens take to compare, in tiles of the size that scoring uses, on all cores."""
    n_timed = min(n_patches, MAX_TIMED_PATCHES)
    n_images = 16 if uses_triton(device) else 1 + max(1, TILE_BYTES // (4 * n_timed**2))
    images = torch.rand(n_images, n_timed, n_channels, device=device)
    shortened = uses_bfloat16(images, precision)
    longer = cpu_bfloat16.append_norms(images) if shortened else images

    def compare() -> int:
        if uses_triton(device):
            return int(pairwise_min_distances(images).isfinite().sum()) // (2 * n_timed)
        if shortened:
            cpu_bfloat16.half_squared_norms(cpu_bfloat16.negate_queries(longer[0], n_channels), longer[1:]).amin(dim=1)
            return n_images - 1
        squared_distances(images[0], images[1:]).amin(dim=1).sum().item()
        return n_images - 1

    compare()  # the first call sets things up
    start, n_pairs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        n_pairs += compare()
    return (time.perf_counter() - start) / n_pairs * (n_patches / n_timed) ** 2
