"""What parameters of `MuSc` can be, told without torch: a slip of the pen is refused before anything is loaded."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal

import numpy as np

MAX_GROUPS = 6  # of images, as one batch is divided
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1}


def check_degrees(r: Sequence[int] | None) -> None:
    """Raise an error for values that are no aggregation degrees; None is the backbone's default."""
    if r is not None and not (_are_counts(r) and len(r) and all(degree % 2 for degree in r)):
        raise ValueError(f"r must be a list of odd whole numbers such as (1, 3, 5), got {r!r}")


def check_reach(degrees: Sequence[int], grid: tuple[int, int]) -> None:
    """Raise ValueError for aggregation degrees at which each neighborhood holds all patches of an image."""
    side = max(grid)
    if (largest := max(degrees)) > max(5, 2 * side - 1):
        raise ValueError(
            f"r={largest} averages neighborhoods of {largest} x {largest} patches, but an image has {grid[0]} x "
            f"{grid[1]}: all patches would become the same; give odd numbers up to {side - 1 + side % 2}"
        )


def check_group(group: int) -> None:
    """Raise ValueError for the number of a group that no batch has."""
    if not 0 <= group < MAX_GROUPS:
        raise ValueError(f"a batch is divided into {MAX_GROUPS} groups at most, 0 to {MAX_GROUPS - 1}, got {group}")


def check_rescoring_sizes(sizes: Sequence[int]) -> None:
    """Raise an error for values that are no neighborhood sizes of re-scoring."""
    if not _are_counts(sizes):
        raise ValueError(f"rescoring_sizes must be a list of numbers of images, at least 1 each, or (), got {sizes!r}")


def check_count(name: str, value: object) -> None:
    """Raise an error for a value that is no whole number above 0."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")


def check_pixel_threshold(threshold: float | None) -> None:
    """Raise an error for what no map can be compared with; None is each image's own threshold."""
    if threshold is not None and not (isinstance(threshold, Real) and np.isfinite(threshold)):
        raise ValueError(f"the pixel threshold is a value of the maps, or None for each image's own; got {threshold!r}")


def check_memory(max_memory: int | str | None) -> None:
    """Raise an error for a value that is no number of bytes; None is no limit."""
    if max_memory is not None:
        parse_bytes(max_memory)


def check_interval(interval: tuple[float, float]) -> None:
    """Raise an error for a value that is no share of the closest images."""
    if np.shape(interval) != (2,) or not 0 <= interval[0] < interval[1] <= 1:
        raise ValueError(f"the interval needs two shares, 0 <= begin < end <= 1, got {interval}")


def check_compared(n_images: int) -> None:
    """Raise an error for so few images that their order says nothing: of two, methods agree wholly or not at all."""
    if n_images < 3:
        raise ValueError(f"methods are compared by how they rank images: give at least 3, got {n_images}")


def check_contamination(contamination: Literal["auto"] | float) -> None:
    """Raise an error for what is neither "auto" nor a share up to one half."""
    if contamination == "auto":
        return
    if not isinstance(contamination, Real) or not 0 < contamination <= 0.5:
        raise ValueError(f"contamination must be 'auto' or a share in (0, 0.5], got {contamination!r}")


def parse_bytes(size: int | str) -> int:
    """Read a number of bytes such as 2_000_000_000, "2GB" or "1.5 GiB".

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("0.5 KiB"), parse_bytes(100)
    (2000000000, 512, 100)
    """
    text = str(size).strip().upper()
    unit = next((unit for unit in UNITS if text.endswith(unit)), "")
    try:
        n_bytes = int(float(text.removesuffix(unit)) * UNITS.get(unit, 1))
    except (ValueError, OverflowError):  # no number; infinite
        n_bytes = 0
    if n_bytes <= 0:
        raise ValueError(f"a size is a number of bytes such as 2000000000 or '2GB', got {size!r}")
    return n_bytes


def _are_counts(values: Sequence[int]) -> bool:
    return np.ndim(values) == 1 and all(isinstance(value, Integral) and value > 0 for value in values)
