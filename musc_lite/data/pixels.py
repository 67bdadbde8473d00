"""Pixels of any kind become 8-bit RGB in sRGB, or a mask.

A camera of 12 bits writes 0..4095 into files of 16 bits, a thermal camera 29,000 to 31,000. Divided by 257, such photos
would have 16 or 4 gray levels. `scale_of` therefore takes the bits that the batch uses.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, reduce
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

FEW = 10_000  # one pixel in so many may be a dead or a hot one
MEASURED = 1_000_000  # pixels are enough to find those
SMALL_PART = 16  # a batch that uses less than one in 16 of its range would keep fewer than 16 gray levels
CLIPPED = 1e-4  # share of the pixels from which on clipped values are remarked on
BAND = 1 << 18  # pixels that are converted at a time
MAX_MASK_COLORS = 16  # of a mask with transparent parts; a photo has more
SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # mode of Pillow: color space of the profile
NOTICED = 3  # gray levels: a profile that changes no color by more is sRGB
ORIENTATION = 274  # EXIF
TURNS = {  # EXIF orientation: what turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# ---- one scale for the values of a whole batch


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


class ValueRange(NamedTuple):
    """The values of one image."""

    kind: str  # as `kind_of` gives it
    low: float  # of the finite values
    high: float
    inner_low: float  # without one pixel in 10,000 at each end
    inner_high: float
    bits: int = 0  # that the file declares


ScaleOf = Callable[[str], Scale]  # from a kind of values, as `kind_of` gives it, to the scale of a batch
Note = Callable[[str], None]  # takes what a user should know about an image that was read
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
    needed = int(max(high, 0)).bit_length()
    needed = needed if low >= 0 else 1 + max(needed, (math.ceil(-low) - 1).bit_length())
    bits = max(8, bits, needed)
    full = Scale(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if low < 0 else Scale(0, 2**bits - 1)
    if (kind == "float" or bits > 8) and 0 < high - low < (full.high - full.low) / SMALL_PART:
        return Scale(low, high if kind == "float" else max(high, low + 255))
    return full


def describe_scales(scales: Mapping[str, Scale]) -> str:
    """Return how values of more than 8 bits are scaled; "" where there are none, or only floats from 0 to 1.

    Examples
    --------
    >>> describe_scales({"uint16": Scale(0, 4095), "float": Scale(-3.5, 20)})
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


# ---- 8-bit RGB


def to_rgb(
    image: Image.Image | np.ndarray,
    scale_for: ScaleOf | None = None,
    note: Note | None = None,
    bits: Callable[[], int] = lambda: 0,
) -> Image.Image:
    """Bring pixels of any kind upright to 8-bit RGB, transparent ones laid over white, colors to sRGB.

    Values that are no 8-bit ones are scaled by `scale_for`, or by themselves and the `bits` that their file declares;
    `note` is called with remarks.
    """
    note = note or (lambda text: None)
    image = upright(_eight_bits(image, scale_for, note, bits))
    if image.info.get("icc_profile") and image.mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK"):
        image = _to_srgb(image, note)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.convert("RGBA").getchannel("A").getextrema() == (0, 0):
        note("alpha is 0 everywhere and is ignored")
        return image.convert("RGBA").convert("RGB")
    over_white = Image.new("RGB", image.size)
    for box in bands(*image.size):
        band = image.crop(box).convert("RGBA")
        over_white.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), box)
    return over_white


def deep_pixels(image: Image.Image | np.ndarray) -> np.ndarray | None:
    """Return the pixels, upright, where they are no 8-bit ones; else None."""
    if isinstance(image, Image.Image):
        return by_bands(lambda band: band, upright(image)) if image.mode[0] in "IF" else None
    return image if kind_of(image.dtype) else None


def _eight_bits(
    image: Image.Image | np.ndarray, scale_for: ScaleOf | None, note: Note, bits: Callable[[], int]
) -> Image.Image:
    if isinstance(image, np.ndarray):
        check_shape(image)
    pixels = deep_pixels(image)
    if pixels is None:
        return _array_to_image(image) if isinstance(image, np.ndarray) else image
    del image  # a GB, perhaps
    profile, kind = getattr(pixels, "profile", None), kind_of(pixels.dtype)
    scale = scale_for(kind) if scale_for else scale_of([range_of(pixels, bits())])
    n_missing = n_beyond = 0
    for _, top, _, bottom in bands(pixels.shape[1], pixels.shape[0]):
        rows = pixels[top:bottom]
        colors = rows[..., :3] if rows.ndim == 3 and rows.shape[2] == 4 else rows
        is_finite = np.isfinite(colors) if kind == "float" else True
        n_missing += colors.size - np.count_nonzero(is_finite) if kind == "float" else 0
        n_beyond += np.count_nonzero(((colors < scale.low) | (colors > scale.high)) & is_finite)
    if n_missing:
        note("NaN or infinite values are read as black: fill them before where that is wrong")
    if n_beyond > CLIPPED * pixels.size:
        note(f"values beyond {scale.low:.6g}..{scale.high:.6g}, the range of the batch, are clipped")
    scaled = _array_to_image(pixels, scale)
    if profile:
        scaled.info["icc_profile"] = profile
    return scaled


def _to_srgb(image: Image.Image, note: Note) -> Image.Image:
    """Return an 8-bit image in sRGB by its own profile, alpha unchanged; the same image where it is sRGB already."""
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB") if image.mode == "P" else image
    alpha = plain.getchannel("A") if plain.mode in ("RGBA", "LA") else None
    plain = plain.convert(plain.mode[:-1]) if alpha else plain
    try:
        transform, mode = _transform(image.info["icc_profile"], plain.mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:  # damaged, or of another kind of image
        note(f"the ICC profile is ignored: {str(error) or type(error).__name__}")
        return image
    if transform is None:
        return image
    colors = ImageCms.applyTransform(plain.convert(mode), transform)
    assert colors is not None  # as it is not in place
    colors.info = {name: value for name, value in image.info.items() if name not in ("icc_profile", "transparency")}
    if alpha:
        colors.putalpha(alpha)
    return colors


@lru_cache(maxsize=16)
def _transform(data: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """Return the transform from a profile to sRGB, None where it changes nothing, and the mode that it takes."""
    profile = ImageCms.ImageCmsProfile(BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if mode == "L" and space == "RGB":
        mode = "RGB"
    if SPACES.get(mode) != space:
        raise ValueError(f"it is for {space} images")
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "CMYK":
        return transform, mode
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(16, -1, 3)
    colors = Image.fromarray(probe if mode == "RGB" else probe[..., 0])
    changed = ImageCms.applyTransform(colors, transform)
    same = abs(np.asarray(changed, dtype=int) - np.asarray(colors.convert("RGB"), dtype=int)).max() <= NOTICED
    return (None if same else transform), mode


def check_shape(array: np.ndarray) -> None:
    """Raise ValueError where the shape of an array is not an image's: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        shapes = "(H, W), (H, W, 3) or (H, W, 4); tensors (1, H, W) or (3, H, W)"
        raise ValueError(f"shape {array.shape} is not an image's: give {shapes}")


def _array_to_image(array: np.ndarray, scale: Scale | None = None) -> Image.Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array -> 8-bit image of mode L, RGB or RGBA."""
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    height, width = array.shape[:2]
    image = Image.new("L" if array.ndim == 2 else "RGBA"[: array.shape[2]], (width, height))
    for box in bands(width, height):
        rows = array[box[1] : box[3]]
        image.paste(
            Image.fromarray(scale.apply(rows) if scale else rows * np.uint8(255) if rows.dtype.kind == "b" else rows),
            box,
        )
    return image


# ---- masks


def to_mask(image: Image.Image | np.ndarray) -> np.ndarray:
    """Return (H, W) bool, upright, as `decode.read_mask` says."""
    is_lossy = getattr(image, "format", None) in ("JPEG", "MPO", "HEIF")
    is_palette = getattr(image, "mode", None) == "P"
    if isinstance(image, Image.Image):
        image = upright(image)
        image = image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image
        has_alpha = image.mode in ("LA", "RGBA")
    else:
        has_alpha = image.ndim == 3 and image.shape[2] in (2, 4)
    alpha = by_bands(lambda band: band[..., -1], image) if has_alpha else None
    pixels = by_bands(_largest_channel, image)
    if pixels.dtype.kind == "i":  # Pillow's 32-bit integers, which usually hold values of 16 bits
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"its values run from {pixels.min()} to {pixels.max()}: integers must lie in 0..65535")
        pixels = pixels.astype(np.uint16)
    if alpha is not None and np.ptp(alpha) and (not np.ptp(pixels) or len(np.unique(pixels)) > MAX_MASK_COLORS):
        pixels = alpha
    half = np.iinfo(pixels.dtype).max // 2 if pixels.dtype.kind == "u" else 0
    has_soft_edges = is_lossy or (not is_palette and pixels.max() > half)
    return pixels > (half if has_soft_edges else 0)


def _largest_channel(pixels: np.ndarray) -> np.ndarray:
    """Reduce (H, W, channels) to (H, W), without alpha."""
    if pixels.ndim == 2:
        return pixels
    channels = [pixels[..., c] for c in range(3 if pixels.shape[2] >= 3 else 1)]
    return reduce(np.maximum, channels)  # ten times as fast as max(axis=2)


# ---- upright, and band by band


def upright(image: Image.Image) -> Image.Image:
    """Apply the camera's rotation; a damaged entry beside it does not matter."""
    orientation = orientation_of(type(image).getexif, image)
    if orientation not in TURNS:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # it writes all entries anew, and some cannot be written
        turned = image.transpose(TURNS[orientation])
        turned.info.pop("exif", None)
        return turned


def orientation_of(read_exif: Callable[[Image.Image], Image.Exif], image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8."""
    with suppress(Exception):  # of damaged EXIF data
        return read_exif(image).get(ORIENTATION, 1)
    return 1


def bands(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut an image into boxes of whole rows: what is made of one of them takes little memory."""
    rows = max(1, BAND // width)
    return ((0, top, width, min(top + rows, height)) for top in range(0, height, rows))


def by_bands(function: Callable[[np.ndarray], np.ndarray], image: Image.Image | np.ndarray) -> np.ndarray:
    """`function(pixels)`, band by band."""
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
    whole = np.empty(0)
    for box in bands(width, height):
        band = function(image[box[1] : box[3]] if isinstance(image, np.ndarray) else np.asarray(image.crop(box)))
        if box[1] == 0:  # the first band tells what the function makes of pixels
            whole = np.empty((height, *band.shape[1:]), band.dtype)
        whole[box[1] : box[3]] = band
    return whole
