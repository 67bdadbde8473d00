"""How pixel values of more than 8 bits become 256 gray levels: one scale for a whole batch.

A camera of 12 bits writes 0..4095 into files of 16 bits, a thermal camera 29,000 to 31,000. Divided by 257, such photos
would have 16 or 4 gray levels. `scale_of` therefore takes the bits that the batch uses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FEW = 10_000  # one pixel in so many may be a dead or a hot one
MEASURED = 1_000_000  # pixels are enough to find those
SMALL_PART = 16  # a batch that uses less than one in 16 of its range would keep fewer than 16 gray levels


@dataclass(frozen=True)
class Scale:
    """The values that become black (0) and white (255); what lies beyond them is clipped."""

    low: float
    high: float

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return gray levels as uint8; NaN and infinite values become black."""
        if pixels.dtype.kind == "f":
            is_finite = np.isfinite(pixels)
            pixels = pixels if is_finite.all() else np.where(is_finite, pixels, pixels.dtype.type(self.low))
            if (self.low, self.high) == (0, 1):
                return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        if pixels.dtype.kind == "u" and pixels.itemsize == 2:
            return _table(self)[pixels]
        return self._levels(pixels)

    def _levels(self, pixels: np.ndarray) -> np.ndarray:
        levels = pixels.astype(np.float64)
        levels -= self.low
        levels *= 255 / (self.high - self.low)
        np.clip(levels, 0, 255, out=levels)
        return np.rint(levels, out=levels).astype(np.uint8)


@lru_cache(maxsize=16)
def _table(scale: Scale) -> np.ndarray:
    """Return the gray level of each value of 16 bits: ten times as fast as computing it for each pixel."""
    return scale._levels(np.arange(65536))


@dataclass(frozen=True)
class ValueRange:
    """The values of one image.

    Attributes
    ----------
    kind : str
        As `kind_of` gives it.
    low, high : float
        The lowest and the highest finite value.
    inner_low, inner_high : float
        The same without one pixel in 10,000 at each end.
    bits : int
        Bits that the file declares; 0 where it declares none.
    """

    kind: str
    low: float
    high: float
    inner_low: float
    inner_high: float
    bits: int = 0


# How files of early versions of this package were scaled, whatever they held.
LEGACY: Mapping[str, Scale] = {"uint16": Scale(0, 65535), "int32": Scale(0, 65535), "float": Scale(0, 1)}


def kind_of(dtype: np.dtype) -> str:
    """Return which values share a scale: "float", or the name of an integer type; "" for 8 bits and bool.

    Examples
    --------
    >>> kind_of(np.dtype(">u2")), kind_of(np.dtype("float16")), kind_of(np.dtype("uint8"))
    ('uint16', 'float', '')
    """
    if dtype.kind == "f":
        return "float"
    return dtype.name if dtype.kind in "iu" and dtype != np.uint8 else ""


def range_of(pixels: np.ndarray, bits: int = 0) -> ValueRange:
    """Measure the values of an image, (H, W) or (H, W, channels), alpha left aside."""
    colors = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels
    kind, step = kind_of(pixels.dtype), math.ceil(math.sqrt(colors.size / MEASURED))
    ends = []
    for rows in np.array_split(colors, math.ceil(colors.size / MEASURED)):  # a copy of all would take memory
        finite = rows[np.isfinite(rows)] if kind == "float" else rows
        ends += [finite.min(), finite.max()] if finite.size else []
    some = colors[::step, ::step].ravel()
    some = some[np.isfinite(some)] if kind == "float" else some
    if not some.size:
        return ValueRange(kind, 0, 0, 0, 0, bits)
    few = len(some) // FEW
    inner_low, inner_high = np.partition(some, (few, len(some) - 1 - few))[[few, len(some) - 1 - few]]
    return ValueRange(kind, float(min(ends)), float(max(ends)), float(inner_low), float(inner_high), bits)


def scale_of(ranges: Sequence[ValueRange]) -> Scale:
    """Settle one scale for a batch of images of one kind.

    - Floats in 0..1 stay so, and signed bytes run from -128 to 127.
    - Otherwise the scale is 0..2^k - 1, or -2^(k-1)..2^(k-1) - 1 where values are negative: k is what the files declare
      or, where their values need more or nothing is declared, the fewest bits, at least 8, that hold the batch.
    - A batch that uses less than a sixteenth of that is scaled from its lowest to its highest value, integers over at
      least 255 steps.
    - A few pixels that alone would more than double the range, such as dead ones, do not count.

    Examples
    --------
    >>> scale_of([range_of(np.array([[100, 3000]], np.uint16)), range_of(np.array([[90, 3900]], np.uint16))])
    Scale(low=0, high=4095)
    >>> scale_of([range_of(np.array([[29600, 30200]], np.uint16))])
    Scale(low=29600.0, high=30200.0)
    """
    kind, bits = ranges[0].kind, max(each.bits for each in ranges)
    low, high = min(each.low for each in ranges), max(each.high for each in ranges)
    inner = min(each.inner_low for each in ranges), max(each.inner_high for each in ranges)
    if kind == "int8":
        return Scale(-128, 127)
    if kind == "float" and low >= 0 and high <= 1:
        return Scale(0, 1)
    if 0 < 2 * (inner[1] - inner[0]) < high - low:
        low, high = inner
    if kind != "float" and low >= 0 and high == 1:
        return Scale(0, 1)
    bits = max(8, bits, _bits_needed(low, high))
    full = Scale(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if low < 0 else Scale(0, 2**bits - 1)
    if (kind == "float" or bits > 8) and 0 < high - low < (full.high - full.low) / SMALL_PART:
        return Scale(low, high if kind == "float" else max(high, low + 255))
    return full


def _bits_needed(low: float, high: float) -> int:
    unsigned = int(max(high, 0)).bit_length()
    return unsigned if low >= 0 else 1 + max(unsigned, (math.ceil(-low) - 1).bit_length())


def scales_in_words(scales: Mapping[str, Scale]) -> str:
    """Say how values of more than 8 bits are scaled; "" where there are none, or only floats from 0 to 1.

    Examples
    --------
    >>> scales_in_words({"uint16": Scale(0, 4095), "float": Scale(-3.5, 20)})
    '16-bit images use 12 bits: scaled by 4095; float images are scaled from -3.5..20 to 0..255'
    """
    return "; ".join(
        _in_words(kind, scale) for kind, scale in scales.items() if (kind, scale) != ("float", Scale(0, 1))
    )


def _in_words(kind: str, scale: Scale) -> str:
    name = {"uint16": "16-bit images", "int8": "signed 8-bit images", "int16": "signed 16-bit images"}.get(kind)
    name = name or ("float images" if kind == "float" else "8-bit images" if kind == "uint8" else "integer images")
    used = int(scale.high).bit_length()
    if scale.low == 0 and scale.high == 2**used - 1:
        return f"{name} use {used} bit{'s' * (used > 1)}: scaled by {scale.high:.0f}"
    return f"{name} are scaled from {scale.low:.6g}..{scale.high:.6g} to 0..255"
