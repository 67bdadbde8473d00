"""All photos of a batch on one page, those that were remarked on framed."""

import re
from contextlib import suppress
from functools import cache

import numpy as np
from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from musc_lite.data.quality import Inspection

DEJAVU = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"  # comes with matplotlib
# Families with Chinese, Japanese and Korean letters, as far as this machine has one.
WIDE = re.compile(
    "CJK|IPA|Gothic|Mincho|Meiryo|Hiragino|YaHei|SimHei|SimSun|PingFang|WenQuanYi|Fallback|Unicode|Malgun"
)
THUMBNAIL, MARGIN, FRAME = 150, 10, 4  # pixels
FONT, LINE = 12, 16  # pixels
INK, GRAY, WHITE = "#222222", "#777777", "#ffffff"
# Okabe and Ito's colors, safe for color-blind readers; beneath each picture stands the kind in words.
COLORS = {
    "copy": "#CC79A7",
    "near copy": "#CC79A7",
    "dark": "#D55E00",
    "bright": "#D55E00",
    "blurred": "#0072B2",
    "gray": "#009E73",
    "color": "#009E73",
    "camera": "#009E73",
}
OTHER = "#A66F00"  # turned, shape, size: their orange, dark enough for letters


def contact_sheet(inspection: Inspection, max_images: int = 60, columns: int = 10) -> Image.Image:
    """Draw thumbnails with names; images that were remarked on have a frame and the kinds of remarks below.

    Parameters
    ----------
    inspection : Inspection
        As `inspect_images` gives it; its images are read once more.
    max_images : int
        Of more images those with remarks are shown first of all, then others evenly from the whole batch.
    columns : int

    Returns
    -------
    PIL.Image
        RGB; save it as JPEG or PNG.
    """
    if max_images < 1 or columns < 1:
        raise ValueError(f"max_images and columns must be at least 1, got {max_images} and {columns}")
    shown = _chosen(inspection, max_images)
    font = ImageFont.truetype(DEJAVU, FONT)
    wide, high = THUMBNAIL + MARGIN, THUMBNAIL + 2 * LINE + MARGIN
    columns = min(columns, len(shown))
    sheet = Image.new("RGB", (columns * wide + MARGIN, -(-len(shown) // columns) * high + MARGIN + LINE), WHITE)
    draw = ImageDraw.Draw(sheet)
    for place, i in enumerate(shown):
        left, top = MARGIN + place % columns * wide, MARGIN + place // columns * high
        kinds = inspection.remarks_of(i)
        sheet.paste(_framed(inspection.images.digest_and_image(i, THUMBNAIL)[1], kinds), (left, top))
        name, own = _legible(inspection.images.names[i])
        draw.text((left, top + THUMBNAIL), _fitting(name, own), INK, own)
        if kinds:
            draw.text((left, top + THUMBNAIL + LINE), _fitting(", ".join(kinds), font, end=True), _color(kinds), font)
    said = f"{len(shown)} of {inspection.n_images} images"
    draw.text((MARGIN, sheet.height - LINE - 2), _fitting(said, font, width=sheet.width), GRAY, font)
    return sheet


def _chosen(inspection: Inspection, max_images: int) -> list[int]:
    """Choose images with remarks, then others evenly; in the batch's order."""
    everything = range(inspection.n_images)
    remarked = [i for i in everything if inspection.remarks_of(i)]
    others = [i for i in everything if not inspection.remarks_of(i)]
    remarked = _evenly(remarked, max_images)
    return sorted(remarked + _evenly(others, max_images - len(remarked)))


def _evenly(items: list[int], at_most: int) -> list[int]:
    """Take so many items, evenly from first to last."""
    n = min(len(items), at_most)
    return [items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int)] if n else []


def _framed(image: Image.Image, kinds: list[str]) -> Image.Image:
    """Put an image into the middle of a square, in a frame if there are remarks on it."""
    cell = Image.new("RGB", (THUMBNAIL, THUMBNAIL), WHITE)
    image.thumbnail((THUMBNAIL - 2 * FRAME, THUMBNAIL - 2 * FRAME))
    if kinds:
        edge = Image.new("RGB", (image.width + 2 * FRAME, image.height + 2 * FRAME), _color(kinds))
        edge.paste(image, (FRAME, FRAME))
        image = edge
    cell.paste(image, ((THUMBNAIL - image.width) // 2, (THUMBNAIL - image.height) // 2))
    return cell


def _color(kinds: list[str]) -> str:
    return COLORS.get(kinds[0], OTHER)


def _legible(name: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a name and a font that has all of its letters; without such a font the others as escapes, not as boxes."""
    if not _missing(DEJAVU, name):
        return name, ImageFont.truetype(DEJAVU, FONT)
    for path in _wide_fonts():
        if not _missing(path, name):
            return name, ImageFont.truetype(path, FONT)
    missing = _missing(DEJAVU, name)
    escaped = "".join(
        letter.encode("ascii", "backslashreplace").decode() if letter in missing else letter for letter in name
    )
    return escaped, ImageFont.truetype(DEJAVU, FONT)


def _missing(path: str, text: str) -> set[str]:
    return {letter for letter in text if ord(letter) not in _letters(path)}


@cache
def _letters(path: str) -> set[int]:
    """Return the code points that a font file draws."""
    with suppress(RuntimeError, OSError):
        return set(FT2Font(path).get_charmap())
    return set()


@cache
def _wide_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager  # reads the machine's list of fonts

    return [font.fname for font in fontManager.ttflist if WIDE.search(font.name)]


def _fitting(text: str, font: ImageFont.FreeTypeFont, end: bool = False, width: int = THUMBNAIL) -> str:
    """Shorten a text to a width: at its beginning, for names differ in their ends; or at its end."""
    shown = text
    while len(text) > 1 and font.getlength(shown) > width:
        text = text[:-1] if end else text[1:]
        shown = f"{text}…" if end else f"…{text}"
    return shown
