"""Image files of seven formats, damaged in a hundred ways, the same ones for the same seed."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from random import Random

import numpy as np
import tifffile
from PIL import Image

FORMATS = ("png", "jpg", "mpo", "bmp", "tif", "webp", "gif")
EXTREMES = (0, 1, 2, 255, 256, 9_400, 16_383, 32_767, 65_535, 65_536, 2**24 - 1, 89_000_000, 2**31 - 1, 2**32 - 1)
SOF = (0xC0, 0xC1, 0xC2)  # JPEG markers of frame headers: baseline, extended, progressive

Field = tuple[int, int, str]  # offset, bytes, byte order of a number in a file


@dataclass(frozen=True)
class Mutant:
    """One damaged file: its name tells how it was made; `whole` is what it was made of where pixels must survive."""

    name: str
    data: bytes
    whole: bytes | None = None


def mutants(n: int, seed: int = 0) -> Iterator[Mutant]:
    """Make n mutants: formats and ways of damage in turn, the rest drawn by seed and number."""
    ways = list(WAYS)
    for i in range(n):
        random = Random(f"{seed}/{i}")
        kind, way = FORMATS[i % len(FORMATS)], ways[i // len(FORMATS) % len(ways)]
        number = random.randrange(len(unique_indices()[kind]))
        whole = unique_indices()[kind][number]
        suffix = random.choice(FORMATS) if way == "suffix" else "jpg" if kind == "mpo" else kind
        keeps_pixels = way in ("cut", "suffix")
        name = f"{seed}-{i:05d}-{kind}{number}-{way}.{suffix}"
        yield Mutant(name, WAYS[way](random, whole, kind), whole if keeps_pixels else None)


# ---- what is damaged


@cache
def unique_indices() -> dict[str, list[bytes]]:
    """Give good files of each format: color, gray, palette, alpha, 16 bits, compressions, several frames, metadata."""
    numbers = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    smooth = np.stack([x * 4, y * 5, x + y], axis=-1) + numbers.integers(0, 16, (48, 64, 3))
    array = smooth.astype(np.uint8)
    color, gray = Image.fromarray(array), Image.fromarray(array[..., 0])
    alpha, palette = color.convert("RGBA"), color.quantize(16)
    alpha.putalpha(gray)
    frames = {"save_all": True, "append_images": [color.rotate(90), color.rotate(180)]}
    exif = Image.Exif()
    exif[274], exif[0x010E] = 6, "a description " * 20
    wide = array.astype(np.uint16) * 257
    return {
        "png": [
            _file(color, "PNG", exif=exif, icc_profile=bytes(500)),
            _file(alpha, "PNG"),
            _file(palette, "PNG", transparency=3),
            _file(Image.fromarray(wide[..., 0]), "PNG"),
            _file(gray.convert("1"), "PNG", bits=1),
            _file(color, "PNG", **frames),
        ],
        "jpg": [
            _file(color, "JPEG", exif=exif),
            _file(color, "JPEG", progressive=True, subsampling=0),
            _file(gray, "JPEG", restart_marker_rows=1),
            _file(color.convert("CMYK"), "JPEG", icc_profile=bytes(500)),
        ],
        "mpo": [_file(color, "MPO", **frames), _file(color, "MPO", exif=exif, **frames)],
        "bmp": [*(_file(image, "BMP") for image in (color, gray, gray.convert("1"), alpha)), _rle(gray)],
        "tif": [
            *(_file(color, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "jpeg", "tiff_deflate", "packbits")),
            _file(gray.convert("1"), "TIFF", compression="group4"),
            _file(alpha, "TIFF", compression="tiff_lzw", exif=exif),
            _file(palette, "TIFF", save_all=True, append_images=[palette.rotate(90)]),
            _tiff(wide, compression="zlib", photometric="rgb"),
            _tiff(np.moveaxis(wide, -1, 0), compression="zlib", photometric="rgb", planarconfig="separate"),
            _tiff(array / 255, photometric="rgb", rowsperstrip=8),
            _tiff((array / 255).astype(np.float32), photometric="rgb", tile=(16, 16), compression="zlib"),
            _tiff(wide[..., 0], photometric="miniswhite", bigtiff=True, byteorder=">"),
        ],
        "webp": [
            _file(color, "WEBP", exif=exif),
            _file(color, "WEBP", lossless=True),
            _file(alpha, "WEBP", icc_profile=bytes(500)),
            _file(color, "WEBP", **frames),
        ],
        "gif": [_file(palette, "GIF"), _file(color, "GIF", **frames)],
    }


def _file(image: Image.Image, kind: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _tiff(array: np.ndarray, **options) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def _rle(gray: Image.Image) -> bytes:
    """Write a run-length encoded BMP, which Pillow only reads."""
    plain = _file(gray, "BMP")
    start = int.from_bytes(plain[10:14], "little")
    runs = b"".join(b"\x01" + plain[i : i + 1] for i in range(start, len(plain))) + b"\x00\x01"
    return plain[:30] + b"\x01\0\0\0" + plain[34:start] + runs


# ---- how it is damaged


def _flip(random: Random, data: bytes, kind: str) -> bytes:
    damaged = bytearray(data)
    for _ in range(random.randint(1, 16)):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _flip_head(random: Random, data: bytes, kind: str) -> bytes:
    """Flip bits where the headers are, and let checksums agree, so that decoders go on."""
    head = min(len(data), 200)
    return _with_checksums(_flip(random, data[:head], kind) + data[head:], kind)


def _cut(random: Random, data: bytes, kind: str) -> bytes:
    return data[: random.randrange(1, len(data))]


def _insert(random: Random, data: bytes, kind: str) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 100, 5_000))) + data[at:]


def _delete(random: Random, data: bytes, kind: str) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 4, 100)) :]


def _blank(random: Random, data: bytes, kind: str) -> bytes:
    at, n = random.randrange(len(data)), random.choice((4, 64, 1_000))
    return (data[:at] + bytes([random.choice((0, 255))]) * n + data[at + n :])[: len(data)]


def _chunks(random: Random, data: bytes, kind: str) -> bytes:
    """Double, drop or move whole parts of the file: chunks, segments, or slices where there are none."""
    parts = COMPONENTS.get(kind, _slices)(data)
    at, to = random.randrange(len(parts)), random.randrange(len(parts) + 1)
    match random.randrange(4):
        case 0:
            parts[at:at] = [parts[at]] * random.choice((1, 2, 50))
        case 1:
            del parts[at]
        case 2:
            parts.insert(to, parts.pop(at))
        case 3:  # what belongs to another file of the format
            parts.insert(
                to, random.choice(COMPONENTS.get(kind, _slices)(random.choice(unique_indices().get(kind, [data]))))
            )
    return b"".join(parts)


def _sizes(random: Random, data: bytes, kind: str) -> bytes:
    """Set numbers of the headers to extremes: pixels, lengths, counts, offsets."""
    damaged, fields = bytearray(data), FIELDS[kind](data)
    for offset, n_bytes, order in random.sample(fields, min(len(fields), random.choice((1, 1, 2, 3)))):
        value = random.choice(EXTREMES) & (256**n_bytes - 1)
        damaged[offset : offset + n_bytes] = value.to_bytes(n_bytes, order)
    return _with_checksums(bytes(damaged), kind)


def _splice(random: Random, data: bytes, kind: str) -> bytes:
    other = random.choice(unique_indices()[random.choice(FORMATS)])
    at = random.randrange(len(data))
    return data[:at] + other[min(at, len(other) // 2) :]


def _suffix(random: Random, data: bytes, kind: str) -> bytes:
    return data


def _empty(random: Random, data: bytes, kind: str) -> bytes:
    return data[: random.choice((0, 1, 2, 4, 8, 12))]


WAYS = {
    "flip": _flip,
    "head": _flip_head,
    "cut": _cut,
    "insert": _insert,
    "delete": _delete,
    "blank": _blank,
    "chunks": _chunks,
    "sizes": _sizes,
    "sizes2": _sizes,
    "splice": _splice,
    "suffix": _suffix,
    "empty": _empty,
}


# ---- where the parts and numbers of a file are


def _slices(data: bytes) -> list[bytes]:
    step = max(1, len(data) // 16)
    return [data[i : i + step] for i in range(0, len(data), step)]


def _png_parts(data: bytes) -> list[bytes]:
    parts, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def _jpeg_parts(data: bytes) -> list[bytes]:
    parts, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def _webp_parts(data: bytes) -> list[bytes]:
    parts, at = [data[:12]], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append(data[at : at + 8 + size + size % 2])
        at += 8 + size + size % 2
    return parts


COMPONENTS = {"png": _png_parts, "jpg": _jpeg_parts, "mpo": _jpeg_parts, "webp": _webp_parts}


def _starts(parts: list[bytes]) -> list[int]:
    return [0, *np.cumsum([len(part) for part in parts]).tolist()][: len(parts)]


def _png_fields(data: bytes) -> list[Field]:
    lengths = [(start, 4, "big") for start in _starts(_png_parts(data))[1:]]
    return [(16, 4, "big"), (20, 4, "big"), (24, 1, "big"), (25, 1, "big"), (28, 1, "big"), *lengths]


def _jpeg_fields(data: bytes) -> list[Field]:
    fields = []
    for start, part in zip(_starts(_jpeg_parts(data)), _jpeg_parts(data), strict=True):
        if part[1] in SOF:
            fields += [(start + 5, 2, "big"), (start + 7, 2, "big"), (start + 9, 1, "big"), (start + 11, 1, "big")]
        if part[1] in (0xE1, 0xE2):  # EXIF, or the index of several pictures: numbers of a TIFF
            fields += [(start + at, 4, "big") for at in range(8, min(len(part) - 4, 60), 4)]
        fields.append((start + 2, 2, "big"))
    return fields


def _bmp_fields(data: bytes) -> list[Field]:
    return [(at, 4, "little") for at in (2, 10, 14, 18, 22, 30, 34, 46)] + [(28, 2, "little")]


def _tiff_fields(data: bytes) -> list[Field]:
    order = "little" if data[:2] == b"II" else "big"
    mark = "<" if order == "little" else ">"
    if data[2 if order == "little" else 3] == 43:  # BigTIFF
        start = struct.unpack_from(mark + "Q", data, 8)[0]
        n, start, step, wide = struct.unpack_from(mark + "Q", data, start)[0], start + 8, 20, 8
    else:
        start = struct.unpack_from(mark + "I", data, 4)[0]
        n, start, step, wide = struct.unpack_from(mark + "H", data, start)[0], start + 2, 12, 4
    fields = [(8 if wide == 8 else 4, wide, order)]
    for entry in range(start, start + n * step, step):
        fields += [(entry + 2, 2, order), (entry + 4, wide, order), (entry + 4 + wide, wide, order)]
        fields += [(entry + 4 + wide, 2, order)] * 2  # values of 16 bits stand in front
    return fields


def _webp_fields(data: bytes) -> list[Field]:
    fields = [(4, 4, "little")]
    for start, part in zip(_starts(_webp_parts(data)), _webp_parts(data), strict=True):
        places = {b"VP8X": [(12, 3), (15, 3)], b"VP8 ": [(14, 2), (16, 2)], b"VP8L": [(9, 4)], b"ANMF": [(14, 3)]}
        fields += [(start + at, n, "little") for at, n in places.get(part[:4], [])]
        fields.append((start + 4, 4, "little"))
    return [f for f in fields if f[0] >= 16 or f[0] == 4]


def _gif_fields(data: bytes) -> list[Field]:
    return [(6, 2, "little"), (8, 2, "little"), (10, 1, "little"), (11, 1, "little")]


FIELDS = {
    "png": _png_fields,
    "jpg": _jpeg_fields,
    "mpo": _jpeg_fields,
    "bmp": _bmp_fields,
    "tif": _tiff_fields,
    "webp": _webp_fields,
    "gif": _gif_fields,
}


def _with_checksums(data: bytes, kind: str) -> bytes:
    """Let a PNG's checksums agree with its changed chunks as far as they can still be found."""
    if kind != "png":
        return data
    parts = _png_parts(data)
    return parts[0] + b"".join(
        part[:-4] + zlib.crc32(part[4:-4]).to_bytes(4, "big") if len(part) >= 12 else part for part in parts[1:]
    )
