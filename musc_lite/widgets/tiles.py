"""Pictures that can be clicked patch by patch: what the explorers let a browser draw."""

import io
from collections.abc import Callable
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.colors import Colormap, to_hex, to_rgb
from numpy.typing import ArrayLike
from PIL import Image

from musc_lite.reports.html import read_web


class Tiles(anywidget.AnyWidget):
    """Pictures side by side, each with a title, colors over its patches, marked patches, a number and a frame.

    A click on a patch, or a key on a focused picture, calls the function given to `on_pick`. The pictures are one tab
    stop: where a key moves from patch to patch (arrows, Enter), Page Up and Page Down go to the next picture; where
    `arrows` is "tiles" the arrows do.

    Parameters
    ----------
    pictures : list of bytes
        Image files that browsers read, sent to the browser once; each is drawn in its own shape.
    tiles : list of dict
        What to show: "picture", index into `pictures`; and what of the following it has.

        - "title", "name": written below, of the name the end where it is too long.
        - "number": a text that stands large on the picture.
        - "layer": RGBA bytes for each patch (`colored_layer`).
        - "over": a PNG with transparency, of any size, that is laid over the picture (`painted`).
        - "values", "unit": what a patch says under the pointer: float32 bytes (M,), and what they are.
        - "bar": its color scale (`color_bar`).
        - "marks": lists of a patch, its color, and "round" where it is not framed by a square.
        - "region": first and last row, first and last column of patches that are framed, each counted in.
        - "frame": a color.
        - "walk": True where arrow keys only move a cursor over the picture, and Enter picks.
        - "points": True where the patch under the mouse is told to `on_point`.
        - "of": the image that is seen, where it can be looked at closer: all pictures of one together, by the keys
          + and - (0: the whole), two fingers, or Ctrl and the wheel; then the wheel moves it.
    grid : (int, int)
        Rows and columns of patches, which divide every picture.
    size : int
        Longer side of each picture on the screen, in pixels.
    grow : float
        By how much pictures may be larger where the page has room.
    label : str
        What a screen reader says about the pictures as a whole.
    arrows : {"patches", "tiles"}
        What arrow keys move between.
    clickable, pointable, draggable : bool
        Whether a click, the mouse above a patch, a rectangle that is drawn is answered: True once `on_pick`,
        `on_point`, `on_region` was called.
    """

    _esm = read_web("widgets/zoom.js", "widgets/tiles.js")
    _css = read_web("widgets/tiles.css")

    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    tiles = traitlets.List(traitlets.Dict()).tag(sync=True)
    grid = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1, 1)).tag(sync=True)
    size = traitlets.Int(96).tag(sync=True)
    grow = traitlets.Float(1.0).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    arrows = traitlets.Unicode("patches").tag(sync=True)
    clickable = traitlets.Bool().tag(sync=True)
    pointable = traitlets.Bool().tag(sync=True)
    draggable = traitlets.Bool().tag(sync=True)

    def on_pick(self, call: Callable[[int, int], None]) -> None:
        """Call call(tile, patch), two ints, whenever the user picks a patch."""
        self.clickable = True
        self._answer("patch", lambda tile, patch: call(tile, int(patch)))

    def on_point(self, call: Callable[[int, int | None], None]) -> None:
        """Call call(tile, patch) when the mouse rests on a patch of a tile that has "points"; patch None: it left."""
        self.pointable = True

        def point(tile: int, patch: Any) -> None:
            call(tile, None if patch is None else int(patch))
            self.send({"pointed": patch})

        self._answer("point", point)

    def on_region(self, call: Callable[[int, tuple[int, int, int, int]], None]) -> None:
        """Call call(tile, (first row, last row, first column, last column)) when a rectangle of patches is drawn."""
        self.draggable = True

        def draw(tile: int, region: Any) -> None:
            top, bottom, left, right = map(int, region)
            call(tile, (top, bottom, left, right))

        self._answer("region", draw)

    def on_enlarge(self, call: Callable[[int], None]) -> None:
        """Call call(image) when an image is looked at closer for the first time, so that a sharper picture may come."""

        def hear(_widget, message: dict, _buffers) -> None:
            if "enlarged" in message:
                call(int(message["enlarged"]))

        self.on_msg(hear)

    def _answer(self, name: str, answer: Callable[[int, Any], None]) -> None:
        """Call answer(tile, what a message says under a name) for each message that has it."""

        def hear(_widget, message: dict, _buffers) -> None:
            if name in message:
                answer(int(message["tile"]), message[name])

        self.on_msg(hear)


def fitted(width: int, height: int, longer: int) -> tuple[int, int]:
    """Return the width and height of this shape whose longer side has so many pixels.

    Examples
    --------
    >>> fitted(2000, 1500, 640)
    (640, 480)
    """
    scale = longer / max(width, height)
    return max(1, round(scale * width)), max(1, round(scale * height))


def jpeg(image: Image.Image, size: tuple[int, int], quality: int = 65) -> bytes:
    """Make a JPEG of an image, resized to this width and height."""
    buffer = io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def webp(image: Image.Image, size: tuple[int, int], quality: int = 70) -> bytes:
    """Make a WebP of an image, resized to this width and height: half of a JPEG's bytes, which a notebook keeps."""
    buffer = io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def colored_layer(values: ArrayLike, cmap: Colormap, low: float, high: float, opacity: ArrayLike = 0.75) -> bytes:
    """Color one value per patch: the RGBA bytes that `Tiles` lays over a picture.

    Parameters
    ----------
    values : (M,)
    cmap : matplotlib Colormap
    low, high : float
        Color scale.
    opacity : float or (M,)
        0 shows the picture alone, 1 the color alone.
    """
    scaled = np.clip((np.asarray(values, dtype=float) - low) / max(high - low, 1e-12), 0, 1)
    rgba = cmap(scaled)
    rgba[:, 3] = opacity
    return np.rint(255 * rgba).astype(np.uint8).tobytes()


def color_bar(cmap: Colormap, low: float, high: float, words: str, digits: int = 2) -> dict:
    """Make the color scale of a tile: its colors, both ends as text, and what they measure.

    Examples
    --------
    >>> import matplotlib
    >>> bar = color_bar(matplotlib.colormaps["viridis"], 0, 39, "images", digits=0)
    >>> bar["low"], bar["high"], bar["words"], bar["colors"][0]
    ('0', '39', 'images', '#440154')
    """
    colors = [to_hex(cmap(share)) for share in np.linspace(0, 1, 9)]
    return {"colors": colors, "low": f"{low:,.{digits}f}", "high": f"{high:,.{digits}f}", "words": words}


def values_of(values: ArrayLike) -> bytes:
    """Return one value per patch as the bytes that `Tiles` reads out."""
    return np.asarray(values, dtype="<f4").tobytes()


def painted(pixels: ArrayLike, color: str, opacity: float = 0.7) -> bytes:
    """Paint pixels (H, W) bool in one color: a PNG that `Tiles` lays over a picture; no bytes where there are none."""
    pixels = np.asarray(pixels, dtype=bool)
    if not pixels.any():
        return b""
    picture, buffer = Image.fromarray(pixels.astype(np.uint8), "P"), io.BytesIO()
    picture.putpalette([0, 0, 0, *(round(255 * share) for share in to_rgb(color))])
    picture.save(buffer, "PNG", bits=1, transparency=bytes([0, round(255 * opacity)]))
    return buffer.getvalue()
