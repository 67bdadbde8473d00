"""What everything that shows a batch shares: images that are checked to exist, a figure where no kernel runs."""

import base64
import io

import ipywidgets
import matplotlib.pyplot as plt
import traitlets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from musc_lite.data.image_set import ImageSet

STATIC_DPI = 80


class Shown(ipywidgets.DOMWidget):
    """Base of the widgets that show a batch; comes before the kind of widget among the bases.

    Attributes
    ----------
    images : ImageSet
        The batch.
    """

    images: ImageSet

    @traitlets.validate("image", "compared")
    def _check_image(self, proposal):
        return proposal.value if proposal.value is None else self.check_image(proposal.value)

    def check_image(self, i: int) -> int:
        """Return the number of an image, or raise `TraitError` where the batch has none of that number."""
        if not 0 <= i < len(self.images):
            raise traitlets.TraitError(f"there is no image {i}: the batch has {len(self.images)}, counted from 0")
        return i

    def draw(self) -> Figure:
        """Draw what the widget shows now as one figure, for pages without a kernel."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.images)} images)"

    def _ipython_display_(self) -> None:
        """Display the widget, and after it the still picture as an output of its own."""
        # A saved notebook that is opened again has no widget: Jupyter writes "model not found" in place of the first
        # output, and shows no other form of it. Where the widget lives, its style sheet hides the output after it.
        self.add_class("musc-shown")
        bundle = super()._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        display({**data, "text/plain": repr(self)}, metadata=metadata, raw=True)
        picture = base64.b64encode(self.static_png()).decode()
        display({"image/png": picture, "text/plain": f"{self!r}: still picture"}, raw=True)

    def static_png(self) -> bytes:
        """Draw the widget as a PNG of few colors."""
        with plt.style.context("musc_lite.course"):
            figure = self.draw()
            buffer, reduced = io.BytesIO(), io.BytesIO()
            figure.savefig(buffer, format="png", dpi=STATIC_DPI)
        colors = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
        colors.save(reduced, "png", optimize=True)
        return reduced.getvalue()
