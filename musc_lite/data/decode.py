"""Read a stranger's image file safely.

Whatever goes in, 8-bit RGB comes out:

- 16 bits are scaled (65535 -> 255), never clipped; floats must lie in 0..1
- transparent pixels are laid over white; CMYK, palette and gray become RGB
- the camera's EXIF rotation is applied, to masks too
- of a file with several frames or pages, the first is read; `count_pages` tells how many there are
- HEIC photos of telephones are read where pillow-heif is installed (``pip install 'musc-lite[heic]'``)
- an image of more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` (89 million) is refused, and one that would take more
  memory than 10 bytes for each of them (0.9 GB): a WebP of 56 million pixels, a TIFF of doubles of 28 million

A file that cannot be read whole raises ``ImageReadError``; half an image never comes out. A file from a stranger can
be made to cost minutes or many GB; what is known to do so is refused before it is decoded (see `make stress`).
"""

import math
import mmap
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from io import BufferedReader
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
import tifffile
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from musc_lite.support.errors import ImageReadError

__all__ = [
    "SKIP_HINT",
    "count_pages",
    "decode_image",
    "open_file",
    "read_image",
    "read_mask",
    "read_size",
    "reason",
    "to_rgb",
]

T = TypeVar("T")
# Closed on purpose: asked without a list, Pillow would hand an EPS named x.png to Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_BYTES_PER_PIXEL = 10  # of PIL.Image.MAX_IMAGE_PIXELS: what decoding and converting may take
MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG, strips of a TIFF: each takes some microseconds
MAX_TAGS, MAX_TAG_BYTES = 4_096, 500_000_000
MAX_PAGES = 10_000  # are counted
MAX_SCANNED = 2_000_000_000  # pixels times scans of a progressive JPEG
MAX_RUN_LENGTH_PIXELS = 16_000_000  # Pillow decodes such a BMP byte by byte in Python
TIFF_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, deflate, PackBits, deflate's old number
DEFLATE = (8, 32946)
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # within coded data: no stuffing, no restart
BAND = 1 << 18  # pixels that are converted at a time
ORIENTATION = 274  # EXIF
MAX_MASK_COLORS = 16  # of a mask with transparent parts; a photo has more
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
PNG_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may hold the camera's rotation
SKIP_HINT = "; repair or remove it, or leave bad files out (on_error='skip', --on-error skip)"


def read_image(path: str | PathLike, at_least: int | None = None) -> Image.Image:
    """Read one file as upright 8-bit RGB.

    Parameters
    ----------
    path : path
    at_least : int, optional
        Pixels that each side must keep: a larger JPEG may come out at a half to an eighth of its size, much faster.

    Raises
    ------
    ImageReadError
        When the file cannot be read whole as a PNG, JPEG, BMP, TIFF, WebP or HEIC image.
    """
    return open_file(path, lambda file: decode_image(file, at_least))


def read_mask(path: str | PathLike) -> np.ndarray:
    """Read one mask file: (H, W) bool, True where it is defective.

    Small numbers, such as 0 and 1 or the indices of a palette, count where they are not zero. A gray mask that
    reaches the upper half of its range counts there only: its edges are soft. So does a JPEG or HEIC, whose compression
    leaves noise around zero. Alpha counts alone in a cut-out, of which parts are transparent and colors are all the
    same or those of a photo. Raises as `read_image` does.
    """
    return open_file(path, lambda file: _to_mask(_decode(file)))


def read_size(path: str | PathLike) -> tuple[int, int]:
    """Read (width, height) of the upright image from one file's header: what `read_image` would give, much sooner.

    HEIC photos are decoded, and so is a PNG with texts behind its pixels, for a rotation may be among them.

    Raises
    ------
    ImageReadError
        When the header cannot be read. Whether the pixels can be is known only after `read_image`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (6, 4)).save(Path(folder, "a.png"))
    ...     read_size(Path(folder, "a.png"))
    (6, 4)
    """
    return open_file(path, _size_by_header)


def count_pages(path: str | PathLike) -> int:
    """Count the pages of a TIFF or the frames of a WebP by their headers; 1 for all others, and for what is damaged.

    Copies of a page in a smaller size do not count.
    """
    path = Path(path)
    if not path.is_file():  # a named pipe would not answer
        return 1
    with suppress(OSError), path.open("rb") as file:
        start = file.read(12)
        if start[:4] in TIFF_STARTS:
            return max(1, _tiff_pages(file))
        if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return max(1, _webp_frames(file))
    return 1


# ---- from a file to pixels


def open_file(path: str | PathLike, use: Callable[[BufferedReader], T]) -> T:
    """`use(open file)`; whatever goes wrong leaves as one ImageReadError that names the file."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device, not a file")
        with path.open("rb") as file:
            if not _size(file):
                raise ValueError("it is empty (0 bytes)")
            return use(file)
    # Decoders raise nearly anything on damaged bytes: SyntaxError, struct.error, MemoryError, ...
    except Exception as error:
        raise ImageReadError(f"{path} cannot be read: {reason(error)}{SKIP_HINT}") from error


def decode_image(file: BinaryIO, at_least: int | None = None) -> Image.Image:
    """Do what `read_image` does with a file that is open, at its beginning; to be called within `open_file`."""
    return to_rgb(_decode(file, at_least))


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def reason(error: Exception) -> str:
    """Say what went wrong in words for the user."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not a {', '.join(FORMATS)} image, or its header is damaged"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        limit = f"PIL.Image.MAX_IMAGE_PIXELS = {Image.MAX_IMAGE_PIXELS:,}"
        return f"it has more pixels than {limit}; make it smaller, or raise that limit if you trust the file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _decode(file: BinaryIO, at_least: int | None = None) -> Image.Image | np.ndarray:
    """Decode the first frame: a loaded image, or an array where only tifffile reads it right."""
    start = file.read(12)
    if start[:4] in TIFF_STARTS:
        return _decode_tiff(file)
    if start[4:8] == b"ftyp":
        return _decode_heic(file)
    return _decode_with_pillow(file, *_scans_and_bytes(file, start), at_least)


def _size_by_header(file: BinaryIO) -> tuple[int, int]:
    """Do what `read_size` does with a file that is open, at its beginning."""
    start = file.read(12)
    if start[:4] in TIFF_STARTS:
        size, orientation = _tiff_size(file)
    elif start[4:8] == b"ftyp" or (start[:4] == b"\x89PNG" and _has_late_texts(file)):
        file.seek(0)
        return decode_image(file).size
    else:
        image = _open_with_pillow(file, _scans_and_bytes(file, start)[1])
        # A PNG's own `getexif` would decode it, to look behind the pixels.
        size, orientation = image.size, Image.Image.getexif(image).get(ORIENTATION, 1)
    _check_pixel_count(*size)
    return size[::-1] if orientation in SIDEWAYS else size


def _scans_and_bytes(file: BinaryIO, start: bytes) -> tuple[int, int]:
    """Count scans over all pixels, and the bytes that Pillow holds of the file beside the pixels."""
    if start[:4] == b"\x89PNG":
        return 1, _png_bytes_beside_pixels(file)
    if start[:2] == b"\xff\xd8":
        return _jpeg_scans(file)
    return 1, 2 * _size(file) if start[:4] == b"RIFF" else 0  # a WebP, which Pillow reads whole


def _open_with_pillow(file: BinaryIO, n_bytes: int) -> ImageFile.ImageFile:
    _check_memory(n_bytes)
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def _decode_with_pillow(file: BinaryIO, n_scans: int = 1, n_bytes: int = 0, at_least: int | None = None) -> Image.Image:
    """Decode what Pillow knows; `n_bytes` is what it holds of the file beside the pixels."""
    image = _open_with_pillow(file, n_bytes)
    n_pixels = _check_pixel_count(*image.size)
    if n_scans * n_pixels > MAX_SCANNED:
        raise ValueError(f"its {n_scans} scans of {n_pixels:,} pixels would take minutes: save it anew")
    if n_pixels > MAX_RUN_LENGTH_PIXELS and image.tile[0][0] == "bmp_rle":
        raise ValueError(f"a run-length encoded BMP may have {MAX_RUN_LENGTH_PIXELS:,} pixels: save it as PNG")
    per_pixel = 8  # Pillow keeps most modes in 4 bytes, and conversion to RGB has its own 4
    if image.format == "WEBP":
        per_pixel = 16
    elif n_scans > 1:  # all coefficients are kept, 2 bytes each
        per_pixel = max(8, 4 + 2 * len(image.getbands()))
    _check_memory(per_pixel * n_pixels + n_bytes)
    if at_least:
        image.draft(image.mode, (at_least, at_least))
    image.load()
    return image


def _png_bytes_beside_pixels(file: BinaryIO) -> int:
    """Count what Pillow reads into memory whole: all chunks that hold no pixels, twice while it joins them."""
    return sum(2 * min(length, _size(file)) for kind, length in _png_chunks(file) if kind != b"IDAT")


def _has_late_texts(file: BinaryIO) -> bool:
    """Whether a PNG has texts behind its pixels."""
    kinds = [kind for kind, _ in _png_chunks(file)]
    return b"IDAT" in kinds and any(kind in PNG_TEXTS for kind in kinds[kinds.index(b"IDAT") :])


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Give kind and length of each chunk, up to the last."""
    n_chunks, kind = 0, b""
    file.seek(8)
    while kind != b"IEND" and len(head := file.read(8)) == 8:
        length, kind, n_chunks = int.from_bytes(head[:4], "big"), head[4:], n_chunks + 1
        if n_chunks > MAX_PARTS:
            raise ValueError(f"it has more than {MAX_PARTS:,} chunks: save it anew")
        yield kind, length
        file.seek(length + 4, os.SEEK_CUR)


def _jpeg_scans(file: BinaryIO) -> tuple[int, int]:
    """Count a JPEG's scans, each of which goes over all pixels, and the bytes of its headers."""
    n_scans, n_bytes, at = 0, 0, 2
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for _ in range(MAX_PARTS):
            found = JPEG_MARKER.search(data, at)
            if not found or found[0] == b"\xff\xd9":  # the end; several pictures, or a film, may follow
                return n_scans, n_bytes
            n_scans += found[0] == b"\xff\xda"
            length = int.from_bytes(data[found.end() : found.end() + 2], "big")
            n_bytes, at = n_bytes + length, found.end() + length
    raise ValueError(f"it has more than {MAX_PARTS:,} segments: save it anew")


def _webp_frames(file: BinaryIO) -> int:
    """Count the frames of an animated WebP; a still one has none."""
    n_frames = 0
    for _ in range(MAX_PAGES):
        head = file.read(8)
        if len(head) < 8:
            break
        n_frames += head[:4] == b"ANMF"
        length = int.from_bytes(head[4:], "little")
        file.seek(length + length % 2, os.SEEK_CUR)
    return n_frames


def _decode_heic(file: BinaryIO) -> Image.Image:
    """Decode with libheif, which turns it upright, and refuses pictures larger than their header says."""
    try:
        from pillow_heif import HeifImageFile  # not registered with Pillow: Image.open stays as it is everywhere else
    except ImportError as error:
        raise ValueError("it is a HEIC photo: pip install 'musc-lite[heic]' reads it") from error
    _check_memory(2 * _size(file))  # it is read whole
    _check_boxes(file)
    file.seek(0)
    image = HeifImageFile(file)
    n_pixels = _check_pixel_count(*image.size)
    _check_memory(12 * n_pixels + 2 * _size(file))
    image.load()
    return image


def _check_boxes(file: BinaryIO) -> None:
    """Refuse a HEIC that was cut short: libheif would fill tiles that are missing with gray, without a word."""
    at, needed = 0, {b"meta", b"mdat"}
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        at += max(8, length)
        if at > _size(file) and (needed or head[4:8] in (b"meta", b"mdat")):
            raise ValueError("it is truncated: parts of it are missing")
        if at >= _size(file) or length == 0:  # 0: up to the end; behind what is needed anything may follow
            return
        needed.discard(head[4:8])
    raise ValueError(f"it has more than {MAX_PARTS:,} parts: save it anew")


def _decode_tiff(file: BinaryIO) -> Image.Image | np.ndarray:
    _check_tags(file)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        n_pixels = _check_pixel_count(page.imagewidth, page.imagelength)
        if len(page.dataoffsets) < math.prod(page.chunked):  # both readers would fill in black
            raise ValueError("it is truncated: parts of the image are missing")
        part_bytes = math.prod(page.chunks) * page.bitspersample // 8  # one strip or tile
        _check_memory(4 * n_pixels + max(4 * n_pixels, part_bytes))
        # Pillow misreads 16 bits as planes, or with white as 0, without a word.
        if page.bitspersample <= 8 or (page.planarconfig != 2 and page.photometric != 0):
            with suppress(UnidentifiedImageError):
                return _decode_with_pillow(file)
        upright = page.tags.valueof("Orientation", 1) == 1
        supported = upright and page.photometric <= 2 and page.samplesperpixel <= 4
        pixels = _decode_page(page, part_bytes) if supported else np.empty(0)
        if pixels.ndim not in (2, 3):  # tifffile, too, gives an empty array for what it cannot decode
            raise ValueError("this kind of TIFF is not supported: save it as 8- or 16-bit gray or RGB")
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
        return np.subtract(np.iinfo(pixels.dtype).max, pixels, out=pixels) if page.photometric == 0 else pixels


def _tiff_size(file: BinaryIO) -> tuple[tuple[int, int], int]:
    """Give (width, height) as stored, and the orientation; versions of Pillow differ in which size they give."""
    _check_tags(file)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return (page.imagewidth, page.imagelength), page.tags.valueof("Orientation", 1)


def _tiff_pages(file: BinaryIO) -> int:
    """Count a TIFF's pages from directory to directory; those that hold a page once more, but smaller, do not count."""
    order, wide, n_head, step, at = _tiff_head(file)
    n_pages = 0
    seen: set[int] = set()
    while 0 < at < _size(file) and at not in seen and len(seen) < MAX_PAGES:
        seen.add(at)
        file.seek(at)
        n_tags = int.from_bytes(file.read(n_head), order)
        tags = file.read(min(n_tags, MAX_TAGS) * step)
        if not tags or n_tags > MAX_TAGS:
            break
        is_first = int.from_bytes(tags[:2], order) == 254  # NewSubfileType, the lowest of the common tags
        n_pages += not (is_first and int.from_bytes(tags[4 + wide : 8 + wide], order) & 1)  # reduced in size
        at = int.from_bytes(file.read(wide), order)
    return n_pages


def _tiff_head(file: BinaryIO) -> tuple[Literal["little", "big"], int, int, int, int]:
    """Give byte order, bytes of an offset, of a number of tags and of a tag, and where the first directory is."""
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:1] == b"I" else "big"
    wide, n_head, step = (8, 8, 20) if b"+" in head[:4] else (4, 2, 12)  # BigTIFF, TIFF
    return order, wide, n_head, step, int.from_bytes(head[wide : 2 * wide], order)


def _check_tags(file: BinaryIO) -> None:
    """Refuse a TIFF whose tags alone would fill the memory: both readers take them whole, numbers as Python's."""
    order, wide, n_head, step, at = _tiff_head(file)
    file.seek(at)
    n_tags = int.from_bytes(file.read(n_head), order)
    if n_tags > MAX_TAGS:
        raise ValueError(f"it has more than {MAX_TAGS:,} tags: save it anew")
    n_bytes, tags = 0, file.read(n_tags * step)
    for at in range(0, len(tags) - step + 1, step):
        kind, count = int.from_bytes(tags[at + 2 : at + 4], order), int.from_bytes(tags[at + 4 : at + 4 + wide], order)
        if count <= _size(file):  # both ignore others
            n_bytes += count * (2 if kind in (1, 2, 6, 7) else 64)
    if n_bytes > MAX_TAG_BYTES:
        raise ValueError(f"its tags would take {n_bytes / 1e6:,.0f} MB of memory: save it anew, without metadata")


def _decode_page(page: tifffile.TiffPage, part_bytes: int) -> np.ndarray:
    """Decode with tifffile what cannot come out larger than the header says."""
    if page.compression not in TIFF_COMPRESSIONS:
        raise ValueError(f"compression {page.compression} is not supported here: save it as 8-bit, or with deflate")
    if len(page.dataoffsets) > MAX_PARTS or sum(page.databytecounts) > page.parent.filehandle.size:
        raise ValueError("its strips or tiles are too many, or overlap: save it anew")
    sample_bytes = page.bitspersample / 8
    # Beside the array: a part while it is decoded, or the 8-bit image, or one channel of the mask.
    beside = max(0 if page.compression == 1 else part_bytes, math.prod(page.shape[:2]) * max(4, sample_bytes))
    _check_memory(int(math.prod(page.shape) * sample_bytes + beside))
    if page.compression in DEFLATE and max(page.databytecounts) * 1_032 > part_bytes + 10**8:
        for offset, n_bytes in zip(page.dataoffsets, page.databytecounts, strict=True):
            page.parent.filehandle.seek(offset)
            _check_deflated(page.parent.filehandle.read(n_bytes), 2 * part_bytes)
    return page.asarray(maxworkers=1)


def _check_deflated(data: bytes, most: int) -> None:
    """Refuse deflated data that goes on behind what is needed: it may be a thousand times larger than it looks."""
    unpack, n_bytes = zlib.decompressobj(), 0
    while data and not unpack.eof and n_bytes <= most:
        n_bytes += len(unpack.decompress(data, 1 << 24))
        data = unpack.unconsumed_tail
    if n_bytes > most:
        raise ValueError("its compressed data hold more than the image: it is damaged, or made to fill the memory")


def _check_pixel_count(width: int, height: int) -> int:
    # Pillow by itself only warns between its limit and twice that.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return width * height


def _check_memory(n_bytes: int) -> None:
    if Image.MAX_IMAGE_PIXELS is not None and n_bytes > MAX_BYTES_PER_PIXEL * Image.MAX_IMAGE_PIXELS:
        limit = f"{MAX_BYTES_PER_PIXEL} bytes for each of PIL.Image.MAX_IMAGE_PIXELS = {Image.MAX_IMAGE_PIXELS:,}"
        raise ValueError(
            f"reading it takes {n_bytes / 1e6:,.0f} MB of memory, more than {limit}; make it smaller, or raise that "
            "limit if you trust the file"
        )


# ---- from pixels of any kind to 8-bit RGB, or to a mask


def to_rgb(image: Image.Image | np.ndarray) -> Image.Image:
    """Bring pixels of any kind upright to 8-bit RGB, transparent ones laid over white."""
    if isinstance(image, np.ndarray):
        image = _array_to_image(image)
    image = _upright(image)
    if image.mode[0] in "IF":  # more than 8 bits
        image = _array_to_image(_narrow(_by_bands(lambda band: band, image)))
    return _over_white(image) if image.has_transparency_data else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    opaque = Image.new("RGB", image.size)
    for box in _bands(*image.size):
        band = image.crop(box).convert("RGBA")
        opaque.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), box)
    return opaque


def _to_mask(image: Image.Image | np.ndarray) -> np.ndarray:
    is_lossy = getattr(image, "format", None) in ("JPEG", "MPO", "HEIF")
    is_palette = getattr(image, "mode", None) == "P"
    if isinstance(image, Image.Image):
        image = _upright(image)
        image = image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image
    alpha = _by_bands(_alpha, image) if _has_alpha(image) else None
    if not isinstance(image, np.ndarray) or image.ndim == 3:
        image = _by_bands(_largest_channel, image)
    pixels = _narrow(image)
    if alpha is not None and np.ptp(alpha) and (not np.ptp(pixels) or len(np.unique(pixels)) > MAX_MASK_COLORS):
        pixels = alpha
    half = np.iinfo(pixels.dtype).max // 2 if pixels.dtype.kind == "u" else 0
    has_soft_edges = is_lossy or (not is_palette and pixels.max() > half)
    return pixels > (half if has_soft_edges else 0)


def _has_alpha(image: Image.Image | np.ndarray) -> bool:
    if isinstance(image, np.ndarray):
        return image.ndim == 3 and image.shape[2] in (2, 4)
    return image.mode in ("LA", "RGBA")


def _alpha(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., -1]


def _largest_channel(pixels: np.ndarray) -> np.ndarray:
    """Reduce (H, W, channels) to (H, W), without alpha."""
    if pixels.ndim == 2:
        return pixels
    channels = [pixels[..., c] for c in range(3 if pixels.shape[2] >= 3 else 1)]
    return reduce(np.maximum, channels)  # ten times as fast as max(axis=2)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the camera's rotation; where there is none, `exif_transpose` by itself would copy."""
    return image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _bands(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut an image into boxes of whole rows: what is made of one of them takes little memory."""
    rows = max(1, BAND // width)
    return ((0, top, width, min(top + rows, height)) for top in range(0, height, rows))


def _by_bands(function: Callable[[np.ndarray], np.ndarray], image: Image.Image | np.ndarray) -> np.ndarray:
    """`function(pixels)`, band by band."""
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
    whole = np.empty(0)
    for box in _bands(width, height):
        band = function(image[box[1] : box[3]] if isinstance(image, np.ndarray) else np.asarray(image.crop(box)))
        if box[1] == 0:  # the first band tells what the function makes of pixels
            whole = np.empty((height, *band.shape[1:]), band.dtype)
        whole[box[1] : box[3]] = band
    return whole


def _narrow(pixels: np.ndarray) -> np.ndarray:
    """Pillow's 32-bit integers as the 16-bit values that they usually hold; other pixels unchanged."""
    if pixels.dtype.kind != "i":
        return pixels
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its values run from {pixels.min()} to {pixels.max()}: integers must lie in 0..65535")
    return pixels.astype(np.uint16)


def _array_to_image(array: np.ndarray) -> Image.Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array -> 8-bit image of mode L, RGB or RGBA."""
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        shapes = "(H, W), (H, W, 3) or (H, W, 4); tensors (1, H, W) or (3, H, W)"
        raise ValueError(f"shape {array.shape} is not an image's: give {shapes}")
    _check_range(array)
    height, width = array.shape[:2]
    image = Image.new("L" if array.ndim == 2 else "RGBA"[: array.shape[2]], (width, height))
    for box in _bands(width, height):
        image.paste(Image.fromarray(_to_uint8(array[box[1] : box[3]])), box)
    return image


def _check_range(pixels: np.ndarray) -> None:
    if pixels.dtype.kind not in "bf" and not (pixels.dtype.kind == "u" and pixels.itemsize <= 2):
        raise ValueError(f"dtype {pixels.dtype} is not supported: give uint8, uint16, bool, or float in 0..1")
    low, high = (pixels.min(), pixels.max()) if pixels.dtype.kind == "f" else (0, 1)
    if not np.isfinite(low) or not np.isfinite(high):  # NaN spreads
        raise ValueError("NaN or infinite values: replace them first, for instance with np.nan_to_num")
    if low < 0 or high > 1:
        raise ValueError(f"floats run from {low:g} to {high:g}: scale them to 0..1")


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "b":
        return pixels * np.uint8(255)
    if pixels.dtype.kind == "u" and pixels.itemsize == 2:
        return np.rint(pixels / 257).astype(np.uint8)
    return np.rint(pixels * 255).astype(np.uint8) if pixels.dtype.kind == "f" else pixels
