"""Choose the part of the photos to look at: a rectangle, drawn on one of them."""

import anywidget
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from musc_lite.data.loaders import Images, as_image_set
from musc_lite.data.roi import WHOLE, Region, dim_outside, pixel_box
from musc_lite.reports.html import read_web
from musc_lite.results.summary import describe_region
from musc_lite.utils.errors import ImageReadError
from musc_lite.widgets.base import Shown
from musc_lite.widgets.tiles import fitted, jpeg

LONGER_SIDE = 640  # pixels of the picture that is shown


class RegionPicker(Shown, anywidget.AnyWidget):
    """Draw a rectangle on a photo: the part of every photo that is to be looked at.

    Draw with the mouse or a finger; drag inside to move the rectangle, at an edge or corner to resize it, outside to
    draw another. Arrow keys move it by 1 %, Shift and arrow keys resize it at its right and lower edge. Turn over the
    photos to see that it suits all of them.

    Parameters
    ----------
    images : ImageSet, path, or images
        A folder, files, or images in memory, as `MuSc.fit` takes them.
    region : (float, float, float, float), optional
        The rectangle to begin with; by default the whole photo.

    Attributes
    ----------
    region : (float, float, float, float)
        Left, top, right and bottom in shares of the photo, from 0 to 1; can be set.
    image : int
        The photo that is shown.
    sentence : str
        The rectangle in words.

    Examples
    --------
    ``picker = RegionPicker("photos/")``, and ``picker`` as the last line of a cell shows it; when the rectangle is
    drawn, ``musc_lite.MuSc(region=picker.region)``.
    """

    _esm = read_web("widgets/roi_picker.js")
    _css = read_web("widgets/roi_picker.css", "widgets/shown.css")

    region = traitlets.Tuple(*(traitlets.Float() for _ in WHOLE), default_value=WHOLE).tag(sync=True)
    image = traitlets.Int().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)

    def __init__(self, images: Images, region: Region | None = None):
        self.images = as_image_set(images)
        if not len(self.images):
            raise ValueError("there is no photo to draw on: the set of images is empty, give at least 1")
        super().__init__(names=list(self.images.names))
        self.region = WHOLE if region is None else region
        self._show()
        self.observe(lambda _: self._show(), "image")
        self.observe(lambda _: self._say(), "region")

    @traitlets.validate("region")
    def _check_region(self, proposal):
        left, top, right, bottom = proposal.value
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise traitlets.TraitError(
                "a region is (left, top, right, bottom) in shares of the photo, 0 <= left < right <= 1 and "
                f"0 <= top < bottom <= 1, got {proposal.value}"
            )
        return proposal.value

    def _show(self) -> None:
        """Send the photo that is looked at; one that cannot be read says so, and the others still can be seen."""
        self._photo, self._trouble = None, ""
        try:
            photo = self.images[self.image]
        except ImageReadError as error:
            self._trouble = str(error)
        else:
            self._size = photo.size
            self._photo = photo.resize(fitted(*photo.size, LONGER_SIDE), Image.Resampling.LANCZOS)
        with self.hold_sync():
            self.picture = b"" if self._photo is None else jpeg(self._photo, self._photo.size, quality=80)
            self._say()

    def _say(self) -> None:
        self.sentence = self._trouble or describe_region(self.region, self._size)

    def draw(self) -> Figure:
        """Draw the photo with its rectangle."""
        width, height = (3, 1) if self._photo is None else self._photo.size
        figure = Figure(figsize=(7, 7 * min(height / width, 1) + 0.6), layout="constrained")
        ax = figure.subplots()
        ax.set_title(f"image {self.image}\n{self.sentence}", wrap=True, parse_math=False)
        ax.set_axis_off()
        if self._photo is not None:
            left, top, right, bottom = pixel_box(self.region, (width, height))
            ax.imshow(dim_outside(self._photo, self.region))
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=2))
        return figure
