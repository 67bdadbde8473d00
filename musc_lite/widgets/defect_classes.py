"""Which kinds of defect there are: find how many, or say it, and see examples of each."""

import html
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from musc_lite.analysis.defect_classes import DefectClasses, defect_classes
from musc_lite.detector.detector import Detector
from musc_lite.reports.class_plots import plot_class_gallery
from musc_lite.reports.plots import LINE_COLORS
from musc_lite.results.summary import describe_defect_classes
from musc_lite.widgets.explorer import THUMBNAIL, Explorer, row
from musc_lite.widgets.tiles import Tiles

CHOICES: dict[str, str | int] = {"do not look": "none", "find how many": "auto"}
MOST_KINDS = 8  # that can be asked for here
EXAMPLES = 12  # images of a kind
OPAQUE = 140  # of 255: how a region covers the picture


class DefectKinds(Explorer):
    """Sort defects into kinds of defect, as many as are found or asked for, with typical images of each.

    Parameters
    ----------
    detector : Detector
        Fitted.
    **state
        The traits below, to begin elsewhere: `code` writes them.

    Attributes
    ----------
    kinds : "none", "auto" or int
        Do not look, as at first; find how many kinds there are; so many, at most as many as images are flagged.
    classes : DefectClasses or None
        What was found, see `defect_classes`.
    sentence : str
        What is said of it.
    """

    STATE = ("kinds",)
    kinds = traitlets.Any("none")

    def __init__(self, detector: Detector, **state: Any):
        super().__init__(detector)
        self.classes: DefectClasses | None = None
        self._stand_out = self.shown.is_outlier
        self._numbers = range(2, min(MOST_KINDS, int(self._stand_out.sum())) + 1)
        options = [*CHOICES.items(), *((str(k), k) for k in self._numbers)]
        menu = ipywidgets.Dropdown(options=options, description="kinds of defect", layout={"width": "300px"})
        menu.style.description_width = "110px"
        self._gallery = ipywidgets.VBox()
        self.children = (row(menu), self._text, self._gallery)
        self.bind(kinds=menu)
        self.show()
        self._ready(state)

    @traitlets.validate("kinds")
    def _check_kinds(self, proposal):
        if proposal.value not in (*CHOICES.values(), *self._numbers):
            several = f", or 2 to {self._numbers[-1]} kinds" if self._numbers else ""
            raise traitlets.TraitError(
                f"kinds is 'none' or 'auto'{several} ({self._stand_out.sum()} images are flagged), got "
                f"{proposal.value!r}"
            )
        return proposal.value

    def show(self) -> None:
        """Sort defects, and send examples of each kind."""
        n_images, self.classes, self._gallery.children = int(self._stand_out.sum()), None, ()
        self.sentence = f"{n_images} images are flagged. Find how many kinds of defect they show, or choose a number."
        if self.kinds == "none" and n_images > 1:
            self.say(self.sentence)
            return
        self.say(f"Comparing the defects of {n_images} images ...")
        n_classes = None if isinstance(self.kinds, str) else self.kinds
        features, patch_scores = self.detector.features_, self.detector.patch_scores_
        self.classes = defect_classes(features, patch_scores, self._stand_out, n_classes)
        self._gallery.children = [part for k in range(len(self.classes)) for part in self._examples(self.classes, k)]
        shown = [f"Of each kind up to {EXAMPLES} images, the most typical first, each with its strongest region."]
        self.sentence = " ".join(describe_defect_classes(self.classes) + shown * (n_images > 1))
        self.say(self.sentence)

    def _examples(self, classes: DefectClasses, k: int) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """Return the heading of a kind and the pictures of its most typical images."""
        members = classes.members(k)
        color = LINE_COLORS[k % len(LINE_COLORS)]
        images = classes.regions.images[members[:EXAMPLES]].tolist()
        pictures = [self.picture(i, THUMBNAIL) for i in images]
        covering = np.array([*(np.array(to_rgb(color)) * 255).astype(np.uint8), OPAQUE], dtype=np.uint8)
        tiles = [
            {
                "picture": place,
                "title": f"{self.shown.image_scores[i]:.2f}",
                "name": self.shown.names[i],
                "layer": (classes.regions.mask(region).reshape(-1, 1) * covering).tobytes(),
                "frame": color,
            }
            for place, (i, region) in enumerate(zip(images, members.tolist(), strict=False))
        ]
        title = f"kind {k}: {len(members)} image{'s' * (len(members) > 1)}"
        swatch = f'<span style="color: {color}" aria-hidden="true">&#9632;</span>'
        heading = ipywidgets.HTML(f"{swatch} <b>{html.escape(title)}</b>")
        return heading, Tiles(grid=self.grid, size=THUMBNAIL, pictures=pictures, tiles=tiles, label=title, grow=1.5)

    def table(self) -> tuple[list[str], list[tuple]]:
        """Return the flagged images, each with its kind where they were sorted."""
        kinds = (
            {}
            if self.classes is None
            else dict(zip(self.classes.regions.images.tolist(), self.classes.labels.tolist(), strict=True))
        )
        images = np.flatnonzero(self._stand_out).tolist()
        return ["image", "name", "kind"], [(i, self.shown.names[i], kinds.get(i, "")) for i in images]

    def draw(self) -> Figure:
        """Draw the gallery by kind; where there is none, the sentence."""
        if not self.classes:
            figure = Figure(figsize=(8, 0.5))
            figure.text(0.01, 0.5, self.sentence, va="center")
            return figure
        figure = Figure(layout="constrained")
        plot_class_gallery(self.classes, self.shown, figure=figure)
        return figure
