"""Read image files that are whole but for something that does not matter: a missing end, texts that are too long."""

from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

PADDINGS = (b"\x55" * 64, b"\xaa" * 64)
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def with_jpeg_end(file: BinaryIO, decode: Callable[[BinaryIO], Image.Image]) -> Image.Image:
    """Decode a JPEG that lacks its end marker, and nothing else.

    A decoder fills what is missing with gray, without an error. Two fillings behind the data give the same pixels only
    where no pixel is missing.

    Raises
    ------
    ValueError
        If pixels are missing.
    """
    file.seek(0)
    data = file.read().rstrip(b"\xff")
    first, second = (decode(BytesIO(data + padding + b"\xff\xd9")) for padding in PADDINGS)
    if not np.array_equal(np.asarray(first), np.asarray(second)):
        raise ValueError("it is truncated: a part of the image is missing")
    return first


def without_long_texts(file: BinaryIO) -> BytesIO:
    """Return a PNG without its texts and without its ICC profile."""
    file.seek(0)
    kept = [file.read(8)]
    while len(head := file.read(8)) == 8:
        body = file.read(int.from_bytes(head[:4], "big") + 4)
        if head[4:] not in TEXTS:
            kept += [head, body]
    return BytesIO(b"".join(kept))
