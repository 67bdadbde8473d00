"""Files that are small or well formed, and cost far more than they should: in memory, in time or on disk."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

SIDE = 10_570  # pixels: just below the reader's limit of 112 million when squared


def bombs(folder: Path, names: list[str] | None = None) -> Iterator[Path]:
    """Write the bombs one by one, all or those of these names."""
    for name in BOMBS if names is None else names:
        path = folder / name
        made = BOMBS[name]()
        data, size = made if isinstance(made, tuple) else (made, None)
        path.write_bytes(data)
        if size:  # a hole up to this size, which takes no disk
            os.truncate(path, size)
        yield path


# ---- PNG


def _png(bits: int, color: int, channels: int, interlaced: int = 0, side: int = SIDE, extra: bytes = b"") -> bytes:
    row = 1 + (side * channels * bits + 7) // 8
    header = struct.pack(">IIBBBBB", side, side, bits, color, 0, 0, interlaced)
    pixels = _zeros(row * side + interlaced * side * 16)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _zeros(n: int) -> bytes:
    """Compress so many zeros, a thousandth of them, without ever holding them."""
    packer, step = zlib.compressobj(6), bytes(1 << 24)
    return b"".join([packer.compress(step[: min(len(step), n - i)]) for i in range(0, n, len(step))]) + packer.flush()


# ---- JPEG


def _jpeg(mode: str, **options) -> bytes:
    stream = BytesIO()
    Image.new(mode, (SIDE, SIDE), 99 if mode == "L" else (10, 20, 30, 5)[: len(mode)]).save(stream, "JPEG", **options)
    return stream.getvalue()


def _many_scans(n: int) -> bytes:
    """Repeat the last scan of a progressive JPEG: each goes over all pixels again."""
    data = _jpeg("L", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n + data[-2:]


# ---- WebP, BMP


def _webp(width: int, height: int, alpha: int = 1) -> bytes:
    """Write a lossless WebP of one color, 38 bytes for any number of pixels."""
    size = (width - 1) | (height - 1) << 14 | alpha << 28
    # No transform, no color cache, no groups; five codes of one symbol each: pixels cost no bits.
    body = b"\x2f" + size.to_bytes(4, "little") + bytes.fromhex("8888080000000000")
    body += bytes(len(body) % 2)
    return b"RIFF" + (len(body) + 12).to_bytes(4, "little") + b"WEBPVP8L" + len(body).to_bytes(4, "little") + body


def _bmp_of_line_ends() -> bytes:
    """Ask for a run-length encoded line of 112 million pixels, filled by one line end."""
    width = SIDE * SIDE
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", start + 8, 0, 0, start) + header + bytes(1024) + b"\x01\x05\0\0\x01\x05\0\x01"


def _bmp_without_pixels(bits: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 2000, 0, 0, 54) + header + bytes(2000)


# ---- TIFF


def _tiff(
    dtype: str,
    channels: int = 1,
    *,
    side: int = SIDE,
    rows: int = 64,
    planes: bool = False,
    compression: int = 8,
    segment: bytes | None = None,
    shared: bool = False,
    tile: int | None = None,
    photometric: int | None = None,
) -> bytes:
    """Write a TIFF of zeros, one compressed strip (or tile) for each `rows` rows."""
    bits = int(dtype[1:]) * 8
    kind = {"u": 1, "i": 2, "f": 3}[dtype[0]]
    per_strip = 1 if planes else channels
    if segment is None:
        segment = zlib.compress(bytes((tile or side) * (tile or rows) * per_strip * bits // 8), 6)
    n = -((-side // (tile or rows)) ** (2 if tile else 1)) * (channels if planes else 1)
    entries = {
        256: [side],
        257: [side],
        258: [bits] * channels,
        259: [compression],
        262: [(2 if channels >= 3 else 1) if photometric is None else photometric],
        277: [channels],
        284: [2 if planes else 1],
        339: [kind] * channels,
    }
    if channels == 4:
        entries[338] = [2]  # the last one is alpha
    where, sizes = (324, 325) if tile else (273, 279)
    entries |= {322: [tile], 323: [tile]} if tile else {278: [rows]}
    entries |= {where: [0] * n, sizes: [len(segment)] * n}
    directory = 2 + 12 * len(entries) + 4
    values, packed = b"", []
    start = 8 + directory
    n_values = sum(len(v) * 4 for v in entries.values() if len(v) > 1)
    entries[where] = [start + n_values + (0 if shared else i * len(segment)) for i in range(n)]
    for tag, numbers in sorted(entries.items()):
        code = 4 if tag in (256, 257, 273, 278, 279, 322, 323, 324, 325) else 3
        data = struct.pack(f"<{len(numbers)}{'I' if code == 4 else 'H'}", *numbers)
        if len(data) > 4:
            packed.append(struct.pack("<HHII", tag, code, len(numbers), start + len(values)))
            values += data
        else:
            packed.append(struct.pack("<HHI", tag, code, len(numbers)) + data.ljust(4, b"\0"))
    values = values.ljust(n_values, b"\0")
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(packed)) + b"".join(packed) + bytes(4)
    return head + values + segment * (1 if shared else n)


def _tiff_with_tag(tag: int, kind: int, count: int) -> bytes:
    """Write the head of a TIFF that one tag fills."""
    fields = {256: (4, 1, 9), 257: (4, 1, 9), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    fields |= {279: (4, 1, 81), tag: (kind, count, 1000)}
    entries = b"".join(struct.pack("<HHII", key, *values) for key, values in sorted(fields.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + entries + bytes(4)


BOMBS: dict[str, Callable[[], bytes | tuple[bytes, int]]] = {
    "color.png": lambda: _png(8, 2, 3),
    "alpha.png": lambda: _png(8, 6, 4),
    "gray-alpha.png": lambda: _png(8, 4, 2),
    "palette-alpha.png": lambda: _png(8, 3, 1, extra=_chunk(b"PLTE", bytes(768)) + _chunk(b"tRNS", bytes(9))),
    "gray-16-bit.png": lambda: _png(16, 0, 1),
    "color-16-bit-interlaced.png": lambda: _png(16, 6, 4, interlaced=1),
    "one-bit.png": lambda: _png(1, 0, 1),
    "too-many-pixels.png": lambda: _png(1, 0, 1, side=40_000),
    "texts.png": lambda: _png(8, 2, 3, side=9, extra=_chunk(b"zTXt", b"a\0\0" + _zeros(10**9)) * 50),
    "profile.png": lambda: _png(8, 2, 3, side=9, extra=_chunk(b"iCCP", b"a\0\0" + _zeros(4 * 10**9))),
    "holes.png": lambda: (b"\x89PNG\r\n\x1a\n", 40 * 10**9),
    "long-chunk.png": lambda: (_png(8, 2, 3, side=9)[:33] + b"\x7f\xff\xff\xffeXIf", 3 * 10**9),
    "many-chunks.png": lambda: _png(8, 2, 3, side=9)[:33] + _chunk(b"teXt", b"") * 3_000_000,
    "color.jpg": lambda: _jpeg("RGB"),
    "progressive.jpg": lambda: _jpeg("RGB", progressive=True, subsampling=0),
    "four-inks.jpg": lambda: _jpeg("CMYK", progressive=True, subsampling=0),
    "scans.jpg": lambda: _many_scans(2000),
    "some-scans.jpg": lambda: _many_scans(15),
    "many-segments.jpg": lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 10_000_000 + _jpeg("L")[2:],
    "arithmetic.jpg": lambda: _jpeg("RGB", subsampling=0).replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11", 1),
    "small.webp": lambda: _webp(16_000, 5_500),
    "less-small.webp": lambda: _webp(8_000, 6_000),
    "no-alpha.webp": lambda: _webp(16_000, 5_500, alpha=0),
    "holes.webp": lambda: (_webp(9, 9)[:4] + b"\xff\xff\xff\x7f" + _webp(9, 9)[8:], 2**31),
    "many-chunks.webp": lambda: _webp(9, 9)[:4] + b"\x00\0\0\x0a" + _webp(9, 9)[8:] + bytes(10 * 2**24),
    "line-ends.bmp": _bmp_of_line_ends,
    "no-pixels.bmp": lambda: _bmp_without_pixels(24),
    "no-pixels-32.bmp": lambda: _bmp_without_pixels(32),
    "color.tif": lambda: _tiff("u1", 3),
    "alpha.tif": lambda: _tiff("u1", 4),
    "color-16-bit.tif": lambda: _tiff("u2", 3),
    "one-strip-16-bit.tif": lambda: _tiff("u2", 3, rows=SIDE),
    "planes-16-bit.tif": lambda: _tiff("u2", 3, planes=True),
    "one-strip-planes.tif": lambda: _tiff("u2", 3, planes=True, rows=SIDE),
    "inverted-16-bit.tif": lambda: _tiff("u2", photometric=0),
    "doubles.tif": lambda: _tiff("f8", 3),
    "one-strip-doubles.tif": lambda: _tiff("f8", 3, rows=SIDE),
    "floats.tif": lambda: _tiff("f4"),
    "floats-color.tif": lambda: _tiff("f4", 3, side=6_000, rows=6_000),
    "integers.tif": lambda: _tiff("i4"),
    "integers-unsigned.tif": lambda: _tiff("u4"),
    "behind-the-pixels.tif": lambda: _tiff("f8", 3, side=64, segment=_zeros(4 * 10**9)),
    "behind-each-strip.tif": lambda: _tiff("f8", 3, side=2_000, rows=1, segment=_zeros(10**9), shared=True),
    "shared-strip.tif": lambda: _tiff("u2", 3, planes=True, rows=1, segment=_zeros(10**7), shared=True),
    "huge-tile.tif": lambda: _tiff("u1", 3, side=64, tile=30_000, segment=_zeros(10**6)),
    "huge-tile-16-bit.tif": lambda: _tiff("u2", 3, side=64, tile=30_000, planes=True, segment=_zeros(10**6)),
    "huge-tile-packed.tif": lambda: _tiff("u1", 3, side=64, tile=16_000, segment=_zeros(768_000_000)),
    "many-strips.tif": lambda: _tiff("u1", side=SIDE, rows=1, segment=b"x\x9c\x03\0\0\0\0\x01"),
    "holes.tif": lambda: (b"II*\0\x08\0\0\0", 40 * 10**9),
    "many-offsets.tif": lambda: (_tiff_with_tag(273, 4, 10**8), 10**9),
    "long-text.tif": lambda: (_tiff_with_tag(270, 2, 10**9), 2 * 10**9),
}
