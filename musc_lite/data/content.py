"""What a file is by its first bytes, whatever its name says."""

HEAD = 64  # bytes are enough to tell
TO_PNG = "convert it to PNG"
IMAGES = (  # that are read
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"II+\0"),
    (0, b"MM\0+"),
    (8, b"WEBPVP8"),
)
OTHERS = (  # where, what stands there, what it is, what to do
    (0, b"GIF8", "a GIF image", TO_PNG),
    (4, b"ftypavif", "an AVIF image", TO_PNG),
    (4, b"ftypavis", "an AVIF image", TO_PNG),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 image", TO_PNG),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", TO_PNG),
    (0, b"\xff\x0a", "a JPEG XL image", TO_PNG),
    (4, b"JXL \r\n\x87\n", "a JPEG XL image", TO_PNG),
    (0, b"v/1\x01", "an OpenEXR image", TO_PNG),
    (0, b"8BPS", "a Photoshop file", TO_PNG),
    (0, b"%PDF", "a PDF document", "export its pictures as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the image itself", "run `git lfs pull`"),
)
HTML = (b"<!doctype html", b"<html")


def is_image(start: bytes) -> bool:
    """Whether the first bytes of a file are those of an image that can be read."""
    is_bmp = (
        start[:2] == b"BM" and start[6:10] == bytes(4) and start[14:18] in (b"(\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0")
    )
    return is_bmp or any(start[at:].startswith(magic) for at, magic in IMAGES)


def what_it_is(start: bytes) -> str:
    """Say what a file is that is not read, and what to do about it; "" where that is not known.

    Examples
    --------
    >>> what_it_is(b"GIF89a")
    'it is a GIF image: convert it to PNG'
    """
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(HTML):
        return "it is a web page, perhaps an error message in place of the image: download it again"
    found = [f"it is {what}: {advice}" for at, magic, what, advice in OTHERS if start[at:].startswith(magic)]
    return found[0] if found else ""
