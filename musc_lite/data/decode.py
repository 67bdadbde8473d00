"""Read a stranger's image file safely.

Whatever goes in, 8-bit RGB comes out:

- values of more than 8 bits, signed ones and floats are scaled (`pixels`): by the scale of a batch where one is given
- transparent pixels are laid over white, unless all are; CMYK, palette and gray become RGB, and an ICC profile is
  applied
- the camera's EXIF rotation is applied, to masks too
- of a file with several frames or pages, the first is read, previews aside; `count_pages` tells how many there are
- HEIC photos of telephones are read where pillow-heif is installed (``pip install 'musc-lite[heic]'``)
- an image of more than 112 million pixels (1.25 times ``PIL.Image.MAX_IMAGE_PIXELS``) is refused, and one that would
  take more memory than 0.9 GB (8 bytes for each of them): a WebP of 56 million pixels, a TIFF of doubles of 28 million

A file that cannot be read whole raises ``ImageReadError``; half an image never comes out. A file from a stranger can
be made to cost minutes or many GB; what is known to do so is refused before it is decoded (see `make stress`).
"""

import math
import mmap
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedReader, BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

import numpy as np
import tifffile
from PIL import Image, ImageFile, UnidentifiedImageError

from musc_lite.data.discovery import HEAD, TIFF_STARTS, what_it_is
from musc_lite.data.pixels import (
    Note,
    ScaleOf,
    ValueRange,
    bands,
    by_bands,
    deep_pixels,
    orientation_of,
    range_of,
    to_mask,
    to_rgb,
    upright,
)
from musc_lite.utils.errors import ImageReadError

T = TypeVar("T")
# Closed on purpose: asked without a list, Pillow would hand an EPS named x.png to Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS, MAX_BYTES_PER_PIXEL = 1.25, 10  # times PIL.Image.MAX_IMAGE_PIXELS: pixels, and bytes while decoding
MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG, strips of a TIFF: each takes some microseconds
MAX_TAGS, MAX_TAG_BYTES = 4_096, 500_000_000
MAX_PAGES = 10_000  # are counted
MAX_SCANNED = 2_000_000_000  # pixels times scans of a progressive JPEG
MAX_RUN_LENGTH_PIXELS = 16_000_000  # Pillow decodes such a BMP byte by byte in Python
TIFF_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, deflate, PackBits, deflate's old number
DEFLATE = (8, 32946)
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # within coded data: no stuffing, no restart
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
DEEP_COLOR = re.compile("(RGB|RGBA|RGBX);16([BLN])")  # Pillow's name of 16 bits a channel; it keeps the upper 8
LOWER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # read so, it gives the lower 8
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks of a PNG that it is read without where they are too long
JPEG_PADDINGS = (b"\x55" * 64, b"\xaa" * 64)
PNG_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may hold the camera's rotation
SKIP_HINT = "; repair or remove it, or leave bad files out (on_error='skip', --on-error skip)"


def read_image(
    path: str | PathLike, at_least: int | None = None, scale_for: ScaleOf | None = None, note: Note | None = None
) -> Image.Image:
    """Read one file as upright 8-bit RGB.

    Parameters
    ----------
    path : path
    at_least : int, optional
        Pixels that each side must keep: a larger JPEG may come out at a half to an eighth of its size, much faster.
    scale_for : callable, optional
        Gives the scale of a batch for values that are no 8-bit ones; None: the file is scaled by itself.
    note : callable, optional
        Is called with each remark on how the file was read.

    Raises
    ------
    ImageReadError
        When the file cannot be read whole as a PNG, JPEG, BMP, TIFF, WebP or HEIC image.
    """
    return open_file(path, lambda file: decode_image(file, at_least, scale_for, note))


def read_mask(path: str | PathLike) -> np.ndarray:
    """Read one mask file: (H, W) bool, True where it is defective.

    Small numbers, such as 0 and 1 or the indices of a palette, count where they are not zero. A gray mask that
    reaches the upper half of its range counts there only: its edges are soft. So does a JPEG or HEIC, whose compression
    leaves noise around zero. Alpha counts alone in a cut-out, of which parts are transparent and colors are all the
    same or those of a photo. Raises as `read_image` does.
    """
    return open_file(path, lambda file: to_mask(decode_pixels(file)))


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
            return max(1, sum(not is_reduced for is_reduced, _ in _directories(file)))
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


def decode_image(
    file: BinaryIO, at_least: int | None = None, scale_for: ScaleOf | None = None, note: Note | None = None
) -> Image.Image:
    """Do what `read_image` does with a file that is open, at its beginning; to be called within `open_file`."""
    return to_rgb(decode_pixels(file, at_least), scale_for, note, lambda: _declared_bits(file))


def is_deep(file: BinaryIO) -> bool:
    """Whether the header of an open file says that its values are no unsigned 8-bit ones."""
    file.seek(0)
    start = file.read(26)
    if start[:4] == b"\x89PNG":
        return start[24:25] == b"\x10"
    with suppress(Exception):  # what is damaged is said when it is read
        if start[:4] in TIFF_STARTS:
            page = _main_page(file)[1]
            return page.bitspersample > 8 or page.sampleformat != 1
    return False


def measure_values(path: str | PathLike) -> ValueRange | None:
    """Measure the values of a file that `is_deep`; None where they come out as 8-bit ones."""

    def measure(file: BinaryIO) -> ValueRange | None:
        pixels = deep_pixels(decode_pixels(file))
        return None if pixels is None else range_of(pixels, _declared_bits(file))

    return open_file(path, measure)


def _size(file: BinaryIO) -> int:
    return file.getbuffer().nbytes if isinstance(file, BytesIO) else os.fstat(file.fileno()).st_size


def reason(error: Exception) -> str:
    """Return what went wrong in words for the user."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not a {', '.join(FORMATS)} image, or its header is damaged"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more pixels than {_max_pixels():,}: cut it into pieces, or make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def decode_pixels(file: BinaryIO, at_least: int | None = None) -> Image.Image | np.ndarray:
    """Decode the first frame: a loaded image, or an upright array where Pillow alone would not read it right."""
    file.seek(0)
    start = file.read(HEAD)
    if start[:4] in TIFF_STARTS:
        return _decode_tiff(file)
    if other := what_it_is(start):
        raise ValueError(other)
    if start[4:8] == b"ftyp":
        return _decode_heic(file)
    n_scans, n_bytes = _scans_and_bytes(file, start)
    try:
        return _without_long_texts(file, lambda file: _decode_with_pillow(file, n_scans, n_bytes, at_least))
    except OSError as error:
        if start[:2] != b"\xff\xd8" or n_scans != 1 or "truncated" not in str(error):
            raise
    # Only the end marker may be missing. A decoder fills what is missing with gray, without an error: two fillings
    # behind the data give the same pixels only where no pixel is missing.
    file.seek(0)
    data = file.read().rstrip(b"\xff")
    whole, other = (_decode_with_pillow(BytesIO(data + pad + b"\xff\xd9"), n_scans, n_bytes) for pad in JPEG_PADDINGS)
    if not np.array_equal(np.asarray(whole), np.asarray(other)):
        raise ValueError("it is truncated: a part of the image is missing")
    return whole


def _without_long_texts(file: BinaryIO, use: Callable[[BinaryIO], T]) -> T:
    """`use(file)`; where Pillow finds the texts or the ICC profile of a PNG too long, of the file without them."""
    try:
        return use(file)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
    file.seek(0)
    kept = [file.read(8)]
    while len(head := file.read(8)) == 8:
        body = file.read(int.from_bytes(head[:4], "big") + 4)
        kept += [] if head[4:] in TEXTS else [head, body]
    return use(BytesIO(b"".join(kept)))


def _size_by_header(file: BinaryIO) -> tuple[int, int]:
    """Do what `read_size` does with a file that is open, at its beginning."""
    start = file.read(HEAD)
    if start[:4] in TIFF_STARTS:
        page = _main_page(file)[1]
        # Versions of Pillow differ in which size they give.
        size, orientation = (page.imagewidth, page.imagelength), page.tags.valueof("Orientation", 1)
    elif other := what_it_is(start):
        raise ValueError(other)
    elif start[4:8] == b"ftyp" or (start[:4] == b"\x89PNG" and _has_late_texts(file)):
        file.seek(0)
        pixels = decode_pixels(file)
        return pixels.shape[1::-1] if isinstance(pixels, np.ndarray) else upright(pixels).size
    else:
        n_bytes = _scans_and_bytes(file, start)[1]
        image = _without_long_texts(file, lambda file: _open_with_pillow(file, n_bytes))
        # A PNG's own `getexif` would decode it, to look behind the pixels.
        size, orientation = image.size, orientation_of(Image.Image.getexif, image)
    _check_pixel_count(*size)
    return size[::-1] if orientation in SIDEWAYS else size


def _scans_and_bytes(file: BinaryIO, start: bytes) -> tuple[int, int]:
    """Count scans over all pixels, and the bytes that Pillow holds of the file beside the pixels."""
    if start[:4] == b"\x89PNG":  # Pillow reads all chunks that hold no pixels whole, and joins them
        return 1, sum(2 * min(length, _size(file)) for kind, length in _png_chunks(file) if kind != b"IDAT")
    if start[:2] == b"\xff\xd8":
        return _jpeg_scans(file)
    return 1, 2 * _size(file) if start[:4] == b"RIFF" else 0  # a WebP, which Pillow reads whole


def _open_with_pillow(file: BinaryIO, n_bytes: int) -> ImageFile.ImageFile:
    _check_memory(n_bytes)
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def _decode_with_pillow(
    file: BinaryIO, n_scans: int = 1, n_bytes: int = 0, at_least: int | None = None, directory: int = 0
) -> Image.Image | np.ndarray:
    """Decode what Pillow knows; `n_bytes` is what it holds of the file beside the pixels."""
    image = _open_with_pillow(file, n_bytes)
    if directory:
        image.seek(directory)
    n_pixels = _check_pixel_count(*image.size)
    if n_scans * n_pixels > MAX_SCANNED:
        raise ValueError(f"its {n_scans} scans of {n_pixels:,} pixels would take minutes: save it anew")
    if n_pixels > MAX_RUN_LENGTH_PIXELS and image.tile[0][0] == "bmp_rle":
        raise ValueError(f"a run-length encoded BMP may have {MAX_RUN_LENGTH_PIXELS:,} pixels: save it as PNG")
    per_pixel = 8  # Pillow keeps most modes in 4 bytes, and conversion to RGB has its own 4
    if image.format == "WEBP":
        per_pixel = 16
    elif image.mode in ("I", "F"):  # the image and its array have 4 bytes each, and what is made of them is smaller
        per_pixel = 10
    elif n_scans > 1:  # all coefficients are kept, 2 bytes each
        per_pixel = max(8, 4 + 2 * len(image.getbands()))
    deep = [found for tile in image.tile if (found := DEEP_COLOR.fullmatch(_raw_mode(tile)))]
    if two_passes := bool(deep) and len(deep) == len(image.tile):
        per_pixel = 4 + 2 * len(image.getbands())  # an image for half of the bits, and all of them
    _check_memory(per_pixel * n_pixels + n_bytes)
    if at_least:
        image.draft(image.mode, (at_least, at_least))
    image.load()
    if not two_passes:
        return image
    whole = by_bands(lambda band: np.left_shift(band, 8, dtype=np.uint16), upright(image)).view(_WithProfile)
    whole.profile = image.info.get("icc_profile")
    del image
    lower = _open_with_pillow(file, n_bytes)
    lower.seek(directory)
    modes = [f"{found[1]};16{LOWER[found[2]]}" for found in deep]
    lower.tile = [_with_raw_mode(tile, mode) for tile, mode in zip(lower.tile, modes, strict=True)]
    lower.load()
    turned = upright(lower)
    for box in bands(*turned.size):
        whole[box[1] : box[3]] |= np.asarray(turned.crop(box))
    return whole


def _raw_mode(tile: tuple) -> str:
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_raw_mode(tile: Any, mode: str) -> Any:
    return tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode)


class _WithProfile(np.ndarray):
    """Pixels of more than 8 bits, and the ICC profile of their colors."""

    profile: bytes | None = None


def _has_late_texts(file: BinaryIO) -> bool:
    """Whether a PNG has texts behind its pixels."""
    kinds = [kind for kind, _ in _png_chunks(file)]
    return b"IDAT" in kinds and any(kind in PNG_TEXTS for kind in kinds[kinds.index(b"IDAT") :])


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Return kind and length of each chunk, up to the last."""
    n_chunks, kind = 0, b""
    file.seek(8)
    while kind != b"IEND" and len(head := file.read(8)) == 8:
        length, kind, n_chunks = int.from_bytes(head[:4], "big"), head[4:], n_chunks + 1
        if n_chunks > MAX_PARTS:
            raise ValueError(f"it has more than {MAX_PARTS:,} chunks: save it anew")
        at = file.tell()
        yield kind, length
        file.seek(at + length + 4)


def _jpeg_scans(file: BinaryIO) -> tuple[int, int]:
    """Count a JPEG's scans, each of which goes over all pixels, and the bytes of its headers."""
    n_scans, n_bytes, at = 0, 0, 2
    with (
        file.getbuffer() if isinstance(file, BytesIO) else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data
    ):
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
    """Raise an error for a truncated HEIC: libheif would fill missing tiles with gray silently."""
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


def _main_page(file: BinaryIO) -> tuple[int, tifffile.TiffPage]:
    """Find the first page of a TIFF that is no preview, and check the tags up to it; return its index too."""
    directory = 0
    for i, (is_reduced, tag_bytes) in enumerate(_directories(file)):
        if tag_bytes > MAX_TAG_BYTES:
            raise ValueError(f"its tags would take {tag_bytes / 1e6:,.0f} MB of memory: save it anew, without metadata")
        if not is_reduced:
            directory = i
            break
    file.seek(0)
    tiff = tifffile.TiffFile(file)  # there is nothing to close: the file is not its own
    return directory, cast(tifffile.TiffPage, tiff.pages[directory] if directory else tiff.pages.first)


def _decode_tiff(file: BinaryIO) -> Image.Image | np.ndarray:
    directory, page = _main_page(file)
    n_pixels = _check_pixel_count(page.imagewidth, page.imagelength)
    if len(page.dataoffsets) < math.prod(page.chunked):  # both readers would fill in black
        raise ValueError("it is truncated: parts of the image are missing")
    part_bytes = math.prod(page.chunks) * page.bitspersample // 8  # one strip or tile
    _check_memory(4 * n_pixels + max(4 * n_pixels, part_bytes))
    # Pillow misreads 16 bits as planes, or with white as 0, without a word.
    if page.bitspersample <= 8 or (page.planarconfig != 2 and page.photometric != 0):
        with suppress(UnidentifiedImageError):
            image = _decode_with_pillow(file, directory=directory)
            is_signed = page.sampleformat == 2 and page.bitspersample == 8  # which Pillow reads as unsigned
            return np.asarray(upright(cast(Image.Image, image))).view(np.int8) if is_signed else image
    is_upright = page.tags.valueof("Orientation", 1) == 1
    supported = is_upright and page.photometric <= 2 and page.samplesperpixel <= 4
    pixels = _decode_page(page, part_bytes) if supported else np.empty(0)
    if pixels.ndim not in (2, 3):  # tifffile, too, gives an empty array for what it cannot decode
        raise ValueError("this kind of TIFF is not supported: save it as 8- or 16-bit gray or RGB")
    pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    return np.subtract(np.iinfo(pixels.dtype).max, pixels, out=pixels) if page.photometric == 0 else pixels


def _directories(file: BinaryIO) -> Iterator[tuple[bool, int]]:
    """Yield of each directory of a TIFF whether it is a preview, a page once more but smaller, and its tags' bytes."""
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:1] == b"I" else "big"
    wide, n_head, step = (8, 8, 20) if b"+" in head[:4] else (4, 2, 12)  # bytes of an offset, a number of tags, a tag
    at, seen = int.from_bytes(head[wide : 2 * wide], order), set[int]()
    while 0 < at < _size(file) and at not in seen and len(seen) < MAX_PAGES:
        seen.add(at)
        file.seek(at)
        n_tags = int.from_bytes(file.read(n_head), order)
        data = file.read(min(n_tags, MAX_TAGS) * step)
        if not data or n_tags > MAX_TAGS:  # tifffile refuses more
            break
        at, n_bytes, is_reduced = int.from_bytes(file.read(wide), order), 0, False
        for tag in (data[start : start + step] for start in range(0, len(data), step)):
            code, kind, count = (int.from_bytes(tag[a:b], order) for a, b in ((0, 2), (2, 4), (4, 4 + wide)))
            if code == 254:  # NewSubfileType
                is_reduced = bool(int.from_bytes(tag[4 + wide : 8 + wide], order) & 1)
            if count <= _size(file):  # Pillow and tifffile ignore others, and take these whole, numbers as Python's
                n_bytes += count * (2 if kind in (1, 2, 6, 7) else 64)
        yield is_reduced, n_bytes


def _decode_page(page: tifffile.TiffPage, part_bytes: int) -> np.ndarray:
    """Decode with tifffile what cannot come out larger than the header says."""
    if page.compression not in TIFF_COMPRESSIONS:
        raise ValueError(f"compression {page.compression} is not supported here: save it as 8-bit, or with deflate")
    if len(page.dataoffsets) > MAX_PARTS or sum(page.databytecounts) > page.parent.filehandle.size:
        raise ValueError("its strips or tiles are too many, or overlap: save it anew")
    sample_bytes = page.bitspersample / 8
    # Beside the array: a part while it is decoded, or the 8-bit image, or one channel of the mask.
    beside = max(0 if page.compression == 1 else part_bytes, page.imagewidth * page.imagelength * max(4, sample_bytes))
    _check_memory(int(math.prod(page.shape) * sample_bytes + beside))
    if page.compression in DEFLATE and max(page.databytecounts) * 1_032 > part_bytes + 10**8:
        for offset, n_bytes in zip(page.dataoffsets, page.databytecounts, strict=True):
            page.parent.filehandle.seek(offset)
            _check_deflated(page.parent.filehandle.read(n_bytes), 2 * part_bytes)
    return page.asarray(maxworkers=1)


def _check_deflated(data: bytes, most: int) -> None:
    """Raise an error for deflated data longer than needed: it may expand to a thousand times its size."""
    unpack, n_bytes = zlib.decompressobj(), 0
    while data and not unpack.eof and n_bytes <= most:
        n_bytes += len(unpack.decompress(data, 1 << 24))
        data = unpack.unconsumed_tail
    if n_bytes > most:
        raise ValueError("its compressed data hold more than the image: it is damaged, or made to fill the memory")


def _max_pixels() -> int:
    return sys.maxsize if Image.MAX_IMAGE_PIXELS is None else int(MAX_PIXELS * Image.MAX_IMAGE_PIXELS)


def _check_pixel_count(width: int, height: int) -> int:
    if width * height > _max_pixels():
        raise Image.DecompressionBombError
    return width * height


def _check_memory(n_bytes: int) -> None:
    if Image.MAX_IMAGE_PIXELS is not None and n_bytes > (most := MAX_BYTES_PER_PIXEL * Image.MAX_IMAGE_PIXELS):
        raise ValueError(
            f"reading it takes {n_bytes / 1e6:,.0f} MB of memory, more than {most / 1e6:,.0f} MB: cut it into pieces, "
            "or make it smaller"
        )


def _declared_bits(file: BinaryIO) -> int:
    """Return how many bits of 16 the header of an image says are used; 0 where it says nothing."""
    file.seek(0)
    start = file.read(HEAD)
    with suppress(Exception):
        if start[:4] == b"\x89PNG":
            for kind, length in _png_chunks(file):
                if kind == b"sBIT":
                    return max(file.read(length))
                if kind == b"IDAT":
                    return 0
        if start[:4] in TIFF_STARTS:
            page = _main_page(file)[1]
            most = np.max(page.tags.valueof("MaxSampleValue", 0))
            return page.bitspersample if page.bitspersample % 8 else int(most).bit_length() % 16
    return 0
