"""What all explorers share: a fitted detector, its pictures, a menu of features, a figure where no kernel runs."""

import base64
import io
from collections.abc import Sequence

import ipywidgets
import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from musc_lite.detector import MuSc
from musc_lite.images import ImageSet
from musc_lite.plots import outlined
from musc_lite.widgets.tiles import jpeg

__all__ = ["Explorer"]

THUMBNAIL = 96  # pixels
PICTURE = 240
STATIC_DPI = 80


class Explorer(ipywidgets.VBox):
    """Base of the explorers.

    Parameters
    ----------
    detector : MuSc
        Fitted; the explorer shows its batch.

    Attributes
    ----------
    detector : MuSc
    images : ImageSet
        The batch, with labels and masks where they exist: they outline true defects and split histograms.
    """

    def __init__(self, detector: MuSc):
        check_is_fitted(detector)
        super().__init__()
        self.detector = detector
        self.images: ImageSet = detector.images_
        self.grid = detector.features_.grid
        self._tokens: dict[tuple[int, int], Tensor] = {}

    def tokens(self, s: int, r: int) -> Tensor:
        """Give the aggregated tokens (N, M, C) of the s-th layer at degree r, made once."""
        if (s, r) not in self._tokens:
            self._tokens[s, r] = self.detector.aggregated_tokens(s, r)
        return self._tokens[s, r]

    def picture(self, i: int, size: int) -> bytes:
        """Give image i as a JPEG with the outline of its true defect."""
        image, mask = self.images[i], self.images.mask(i)
        return jpeg(image if mask is None else outlined(image.resize((size, size)), mask), size)

    def draw(self) -> Figure:
        """Draw what the explorer shows now as one figure, for pages without a kernel."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.images)} images)"

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, *metadata = bundle if isinstance(bundle, tuple) else (bundle,)
        data = {**data, "text/plain": repr(self), "image/png": base64.b64encode(self.static_png()).decode()}
        return (data, *metadata) if metadata else data

    def static_png(self) -> bytes:
        """Draw the explorer as a PNG of few colors."""
        with plt.style.context("musc_lite.course"):
            figure = self.draw()
        buffer, reduced = io.BytesIO(), io.BytesIO()
        figure.savefig(buffer, format="png", dpi=STATIC_DPI)
        plt.close(figure)
        colors = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
        colors.save(reduced, "png", optimize=True)
        return reduced.getvalue()


def layer_menu(detector: MuSc, with_mean: bool = True) -> ipywidgets.Dropdown:
    """Make the menu of all pairs of layer and r that the detector scored, as (s, r) each, and "mean"."""
    layers = detector.features_.layers
    options = [(f"block {layer}, r = {r}", (s, r)) for s, layer in enumerate(layers) for r in detector.r_]
    options = [("mean of all", "mean"), *options] if with_mean else options
    menu = ipywidgets.Dropdown(options=options, value=options[0][1], description="features")
    menu.layout.width = "260px"
    return menu


def link_menu(explorer: Explorer, trait: str, menu: ipywidgets.Dropdown) -> None:
    """Keep a trait and a `layer_menu` equal; None, the mean, would be an empty line in the menu."""
    to_menu, to_trait = (lambda value: value or "mean"), (lambda value: None if value == "mean" else value)
    traitlets.link((explorer, trait), (menu, "value"), transform=(to_menu, to_trait))


def image_menu(names: Sequence[str], description: str = "image") -> ipywidgets.Dropdown:
    """Make the menu of the batch's images, by number."""
    options = [(f"{i}: {name}", i) for i, name in enumerate(names)]
    return ipywidgets.Dropdown(options=options, value=0, description=description)


def all_pairs(detector: MuSc) -> list[tuple[int, int]]:
    """List the pairs (s, r) that the detector's mean is taken over."""
    return [(s, r) for r in detector.r_ for s in range(len(detector.features_.layers))]


def mean_over(values: Sequence[Tensor]) -> Tensor:
    """Average tensors of one shape."""
    return torch.stack(list(values)).mean(dim=0)
