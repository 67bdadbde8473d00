"""What the app asks for: which images to score, which part of them, how closely."""

import html
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ipywidgets

from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import left_out, load_folder
from musc_lite.data.roi import WHOLE, Region
from musc_lite.data.synthetic import PHOTOS, planted_textures
from musc_lite.monitoring.app_paths import Places
from musc_lite.scorers.base import PatchScorer
from musc_lite.scorers.recurring import RecurringScorer
from musc_lite.widgets.explorer import row
from musc_lite.widgets.messages import USER_ERRORS, error_html
from musc_lite.widgets.roi_picker import RegionPicker

SIZES: dict[str, int | str] = {"224 pixels: quick": 224, "336 pixels": 336, "448 pixels: smaller defects": 448}
SIZES |= {"as 224, in the photos' shape": "aspect", "as close as 5 minutes allow": "auto"}
COMPONENTS = {"the whole photo": "whole", "where the objects are": "auto", "a part that I draw": "drawn"}
TILES = {"1: the whole at once": 1, "2 along the longer side": 2, "3 along the longer side": 3}
TILES |= {"4 along the longer side": 4}
SCORE_BY = {"all images": "all", "the largest group": "largest", "all, recurring defects apart": "recurring"}
HINTS = {
    "all": "",
    "largest": "Where there are several kinds of image, all are scored by the images of the most frequent kind alone.",
    "recurring": RecurringScorer.summary,
}


class Choices(ipywidgets.VBox):
    """Controls: what to score, and how closely to look at it.

    Parameters
    ----------
    changed : callable
        Called after every change.
    places : Places, optional
        Which folders may be opened; by default all.

    Attributes
    ----------
    source, folder, part, size, tiles, score_by : ipywidgets widgets
        A texture or a folder, its path, which part of the photos, the image size, tiles along the longer side, which
        images an image is scored by: all, the largest of several kinds, those that share no rare patch with it.
    hint : ipywidgets.HTML
        What the choice of `score_by` means, where it is not the usual one.
    drawing : ipywidgets.VBox
        Holds the picker, or says why there is none.
    picker : RegionPicker or None
        On which the part is drawn, once "a part that I draw" is chosen and the images can be read.
    """

    def __init__(self, changed: Callable[[], None], places: Places | None = None):
        self._changed, self._places = changed, places or Places.from_environment()
        self.picker: RegionPicker | None = None
        wide = {"layout": {"width": "340px"}, "style": {"description_width": "80px"}}
        textures = [(f"{name} with planted defects", name) for name in PHOTOS]
        self.source = ipywidgets.Dropdown(options=[*textures, ("a folder", "folder")], description="images", **wide)
        self.folder = ipywidgets.Combobox(description="its path", placeholder="/home/me/photos", **wide)
        self.part = ipywidgets.Dropdown(options=COMPONENTS.items(), description="look at", **wide)
        self.size = ipywidgets.Dropdown(options=SIZES.items(), description="image size", **wide)
        self.tiles = ipywidgets.Dropdown(options=TILES.items(), description="tiles", **wide)
        self.score_by = ipywidgets.Dropdown(options=SCORE_BY.items(), description="score by", **wide)
        self.hint = ipywidgets.HTML()
        self.drawing = ipywidgets.VBox()
        self._choose_source()
        self._list_subfolders()
        for control in (self.source, self.folder):
            control.observe(lambda _: self._choose_source(), "value")
        self.folder.observe(lambda _: self._list_subfolders(), "value")
        self.part.observe(lambda _: self._choose_part(), "value")
        self.size.observe(lambda change: self.tiles.set_trait("disabled", change.new == "auto"), "value")
        self.score_by.observe(lambda change: self.hint.set_trait("value", _remark(HINTS[change.new])), "value")
        for control in (self.source, self.folder, self.part, self.size, self.tiles, self.score_by):
            control.observe(lambda _: changed(), "value")
        above, below = row(self.source, self.folder), row(self.part, self.size, self.tiles, self.score_by)
        super().__init__([above, below, self.hint, self.drawing])

    def images(self) -> ImageSet:
        """Read the images that are chosen."""
        if self.source.value != "folder":
            return planted_textures(self.source.value, n_images=40, n_defective=12)
        return self._places.check(load_folder(self._places.inside(self.folder.value), on_error="skip"))

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters of `MuSc` that are chosen."""
        tiles = None if self.tiles.disabled else self.tiles.value
        look = {"image_size": self.size.value, "region": self._region(), "tiles": tiles}
        return look | {"groups": "largest" if self.score_by.value == "largest" else None}

    @property
    def scorer(self) -> PatchScorer | None:
        """The scorer that is chosen; None: that of `MuSc`."""
        return RecurringScorer() if self.score_by.value == "recurring" else None

    def _region(self) -> Region | str | None:
        if self.part.value != "drawn":
            return "auto" if self.part.value == "auto" else None
        if self.picker is None:  # what could not be read before may be there now
            self._offer_picker()
        if self.picker is None or self.picker.region == WHOLE:
            raise ValueError("no part is drawn yet: draw a rectangle on the photo, or look at the whole photo")
        return self.picker.region

    def _choose_source(self) -> None:
        self.folder.layout.display = None if self.source.value == "folder" else "none"
        self.picker = None
        self._choose_part()

    def _choose_part(self) -> None:
        """Show what a part is drawn on; a path counts when it is typed to its end, or each folder on it is read."""
        is_drawn = self.part.value == "drawn"
        self.folder.continuous_update = not is_drawn
        if is_drawn and self.picker is None:
            self._offer_picker()
        self.drawing.layout.display = None if is_drawn else "none"

    def _offer_picker(self) -> None:
        try:
            self.picker = RegionPicker(self.images())
        except USER_ERRORS as error:
            self.drawing.children = [ipywidgets.HTML(error_html(error))]
        else:
            self.picker.observe(lambda _: self._changed(), "region")
            self.drawing.children = [self.picker]

    def _list_subfolders(self) -> None:
        """Offer the folders inside the one that is typed."""
        with suppress(
            OSError, ValueError, RuntimeError
        ):  # no home is known; half a path is typed: keep what was offered
            folder = self._places.inside(self.folder.value or str(self._places.root or Path.home()))
            self.folder.options = [str(path) for path in self._places.subfolders(folder)][:100]


def left_out_by_name(images: ImageSet) -> str:
    """Return which files were left out, and why; "" where none was."""
    names = ", ".join(path.name for path, _ in images.skipped[:5]) + ", ..." * (len(images.skipped) > 5)
    return f"{left_out(images)}: {names}" if images.skipped else ""


def _remark(text: str) -> str:
    return f'<div style="line-height: 1.4; white-space: normal">{html.escape(text)}</div>'
