"""Photos as cameras, scanners and programs write them: small files for `test_field_photos.py`."""

import struct
import zlib
from io import BytesIO

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

SIZE = (64, 96)  # height, width


def pattern(i=0, size=SIZE):
    """Return one of several products that are alike, as gray levels."""
    y, x = np.mgrid[: size[0], : size[1]]
    noise = np.random.default_rng(i).standard_normal(size)
    return np.clip(130 + 60 * np.sin(x / 9 + i) * np.cos(y / 11) + 5 * noise, 0, 255).astype(np.uint8)


def encoded(pixels, kind, **options):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def twelve_bits(i, defective=False):
    """Return values of 12 bits with, perhaps, a faint scratch."""
    y, x = np.mgrid[:192, :192]
    part = 900 + 500 * np.sin(x / 9 + i) * np.cos(y / 11) + 120 * np.random.default_rng(i).standard_normal(x.shape)
    if defective:
        part[60 + i : 70 + i, 40:150] += 450
    return np.clip(part, 0, 4095).astype(np.uint16)


def centikelvin(i, defective=False):
    """Return a thermal photo, 22 to 28 degrees in 1/100 K, with, perhaps, a spot that is 1.8 K warmer."""
    y, x = np.mgrid[:120, :160]
    random = np.random.default_rng(i)
    center = 80 + random.integers(-4, 5)
    kelvin = 29700 + 250 * np.exp(-((x - center) ** 2 + (y - 60) ** 2) / 1800) + 8 * random.standard_normal(x.shape)
    if defective:
        kelvin += 180 * np.exp(-((x - 120) ** 2 + (y - 30) ** 2) / 40)
    return kelvin.astype(np.uint16)


def deep_png(pixels, bits=None):
    """Write a PNG of 16 bits, gray or RGB, without a filter; `bits`: those that it declares (sBIT)."""
    height, width = pixels.shape[:2]
    color = 2 if pixels.ndim == 3 else 0
    rows = np.asarray(pixels, ">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    stream = BytesIO(b"\x89PNG\r\n\x1a\n")
    stream.seek(0, 2)
    PngImagePlugin.putchunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))
    if bits:
        PngImagePlugin.putchunk(stream, b"sBIT", bytes([bits] * (3 if color else 1)))
    PngImagePlugin.putchunk(stream, b"IDAT", zlib.compress(data))
    PngImagePlugin.putchunk(stream, b"IEND", b"")
    return stream.getvalue()


def preview_first(path, photo):
    """Write a TIFF as scanners do: a small preview, then the photo."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(photo[::8, ::8], subfiletype=1)
        tiff.write(photo, subfiletype=0)


COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")
WIDE = np.array([[0.7977, 0.2880, 0.0], [0.1352, 0.7119, 0.0], [0.0313, 0.0001, 0.8249]])  # ProPhoto's colorants
SRGB = np.array([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7139]])


def wide_profile(gamma=1.8):
    """Return a small ICC profile: three colorants and one gamma."""

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    white = fixed(0.9642) + fixed(1) + fixed(0.8249)
    curve = b"curv" + bytes(4) + struct.pack(">I", 1) + struct.pack(">H", round(gamma * 256)) + bytes(2)
    tags = [
        (b"desc", b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(79)),
        (b"wtpt", b"XYZ " + bytes(4) + white),
        *(
            (name, b"XYZ " + bytes(4) + b"".join(map(fixed, xyz)))
            for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE, strict=True)
        ),
        *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")),
        (b"cprt", b"text" + bytes(4) + b"none\0\0\0\0"),
    ]
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags:
        body += bytes(-len(body) % 4)
        table += name + struct.pack(">II", at + len(data), len(body))
        data += body
    body = struct.pack(">I", len(tags)) + table + data
    kinds = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head = kinds + bytes(12) + b"acsp" + bytes(28) + white
    return head + bytes(128 - len(head)) + body


def colors_in_srgb_and_wide():
    """Return the same colors twice: in sRGB, and in the color space of `wide_profile`."""
    linear = 0.02 + 0.5 * np.random.default_rng(0).random((16, 16, 3)) ** 2
    srgb = np.where(linear < 0.0031, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    wide = np.clip(linear @ SRGB @ np.linalg.inv(WIDE), 0, 1) ** (1 / 1.8)
    return np.rint(255 * srgb).astype(np.uint8), np.rint(255 * wide).astype(np.uint8)


def exif_turned(kind):
    """Return EXIF data of a photo to be turned right, with one more entry that cannot be written again."""
    entries = [struct.pack("<HHI", 274, 3, 1) + struct.pack("<HH", 6, 0)]
    tail = b""
    if kind == "rational":
        entries.append(struct.pack("<HHII", 282, 10, 1, 8 + 2 + 24 + 4))
        tail = struct.pack("<ii", -1, 0)
    elif kind == "text":
        entries.append(struct.pack("<HHI", 271, 7, 3) + b"abc\0")
    else:
        entries.append(struct.pack("<HHI", 296, 3, 2) + struct.pack("<HH", 65535, 2))
    start = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    return start + b"".join(entries) + bytes(4) + tail
