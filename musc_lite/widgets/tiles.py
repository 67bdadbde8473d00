"""Pictures that can be clicked patch by patch: what the explorers let a browser draw."""

import io
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from matplotlib.colors import Colormap
from numpy.typing import ArrayLike
from PIL import Image

__all__ = ["Tiles", "colored_layer", "fitted", "jpeg"]


class Tiles(anywidget.AnyWidget):
    """Pictures side by side, each with a title, a layer of colors over its patches, marked patches and a frame.

    A click on a patch, or the arrow keys on a focused picture, call the function given to `on_pick`.

    Parameters
    ----------
    pictures : list of bytes
        JPEG files, sent to the browser once.
    tiles : list of dict
        What to show: "picture", index into `pictures`; optionally "title"; "name", written after the title, the end
        of it where it is too long; "layer", RGBA bytes for each patch (`colored_layer`); "marks", pairs of a patch and
        its color; "frame", a color.
    grid : (int, int)
        Rows and columns of patches; pictures are drawn in its shape.
    size : int
        Longer side of each picture on the screen, in pixels.
    label : str
        What a screen reader says about the pictures as a whole.
    clickable : bool
        Whether a click is answered: True once `on_pick` was called.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    tiles = traitlets.List(traitlets.Dict()).tag(sync=True)
    grid = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1, 1)).tag(sync=True)
    size = traitlets.Int(96).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    clickable = traitlets.Bool().tag(sync=True)

    def on_pick(self, call) -> None:
        """Call call(tile, patch), two ints, whenever the user picks a patch."""
        self.clickable = True
        self.on_msg(lambda _widget, message, _buffers: call(int(message["tile"]), int(message["patch"])))


def fitted(width: int, height: int, longer: int) -> tuple[int, int]:
    """Give the width and height of this shape whose longer side has so many pixels.

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
