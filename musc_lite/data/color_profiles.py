"""Bring the colors of an image with an ICC profile to sRGB."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # mode of Pillow: color space of the profile
NOTICED = 3  # gray levels: a profile that changes no color by more is sRGB


def to_srgb(image: Image.Image) -> Image.Image:
    """Return an 8-bit image in sRGB by its own profile, alpha unchanged; the same image where it is sRGB already.

    Raises
    ------
    ValueError
        If the profile is damaged, or belongs to another kind of image.
    """
    profile = image.info["icc_profile"]
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB") if image.mode == "P" else image
    alpha = plain.getchannel("A") if plain.mode == "RGBA" else alpha
    plain = plain.convert(plain.mode[:-1]) if alpha else plain
    try:
        transform, mode = _transform(profile, plain.mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
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
