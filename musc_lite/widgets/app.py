"""The whole toolkit without code: choose images, run, explore (`make app`)."""

import html
import warnings
from collections.abc import Sequence
from pathlib import Path

import ipywidgets

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import EMBEDDED, load_backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import left_out, load_folder
from musc_lite.data.textures import PHOTOS, planted_textures
from musc_lite.detector import Detector
from musc_lite.musc import MuSc
from musc_lite.stages.thresholds import in_words
from musc_lite.support.errors import MuScError
from musc_lite.widgets.explorer import Explorer, row
from musc_lite.widgets.interval import IntervalExplorer
from musc_lite.widgets.neighborhood import NeighborhoodExplorer
from musc_lite.widgets.patch_explorer import PatchExplorer
from musc_lite.widgets.rescoring import RescoringExplorer
from musc_lite.widgets.similarity_counts import SimilarityCounts
from musc_lite.widgets.threshold import ThresholdExplorer

__all__ = ["App"]

EXPLORERS: dict[str, type[Explorer]] = {
    "Decisions": ThresholdExplorer,
    "Patches": PatchExplorer,
    "Similar patches": SimilarityCounts,
    "Neighborhoods": NeighborhoodExplorer,
    "Interval": IntervalExplorer,
    "Re-scoring": RescoringExplorer,
}
SIZES = {"224 pixels: quick": 224, "336 pixels": 336, "448 pixels: smaller defects": 448}


class App(ipywidgets.VBox):
    """Choose images, run, explore.

    Parameters
    ----------
    cache_dir : path, optional
        Where features are kept (`extract_features`): a run that was interrupted goes on where it stopped.

    Attributes
    ----------
    source, folder, size : ipywidgets widgets
        What to score: a texture or a folder, and the image size.
    run : ipywidgets.Button
    message : ipywidgets.HTML
        What was found, or what went wrong and what to do.
    explorers : ipywidgets.Tab
        One tab an explorer; each is made when its tab is first opened.
    detector : Detector or None
        The last one fitted.
    """

    def __init__(self, cache_dir: str | Path | None = None):
        self.cache_dir = cache_dir
        self.detector: Detector | None = None
        self._backbone: Backbone | None = None
        self._offered: dict[str, type[Explorer]] = {}
        wide = {"layout": {"width": "340px"}, "style": {"description_width": "80px"}}
        textures = [(f"{name} with planted defects", name) for name in PHOTOS]
        self.source = ipywidgets.Dropdown(options=[*textures, ("a folder", "folder")], description="images", **wide)
        self.folder = ipywidgets.Combobox(description="its path", placeholder="/home/me/photos", **wide)
        self.size = ipywidgets.Dropdown(options=SIZES.items(), description="image size", **wide)
        self.run = ipywidgets.Button(description="Run", button_style="primary", icon="play")
        self.message, self._bars = ipywidgets.HTML(), ipywidgets.Output()
        self.explorers = ipywidgets.Tab(layout={"display": "none"})
        self._choose_source()
        self._list_subfolders()
        self.source.observe(lambda _: self._choose_source(), "value")
        self.folder.observe(lambda _: self._list_subfolders(), "value")
        self.run.on_click(lambda _: self._run())
        self.explorers.observe(lambda _: self._open_tab(), "selected_index")
        super().__init__([row(self.source, self.folder, self.size, self.run), self.message, self._bars, self.explorers])

    def _choose_source(self) -> None:
        self.folder.layout.display = None if self.source.value == "folder" else "none"

    def _list_subfolders(self) -> None:
        """Offer the folders inside the one that is typed."""
        try:
            inside = Path(self.folder.value or Path.home()).expanduser().iterdir()
            self.folder.options = sorted(str(path) for path in inside if path.is_dir() and path.name[0] != ".")[:100]
        except OSError:
            pass  # half a path is typed: keep what was offered

    def _run(self) -> None:
        """Fit and show the explorers; the project's own errors become the message."""
        self.run.disabled, self.explorers.layout.display = True, "none"
        self._say("Working. The bars show how far it is; keep this page open.")
        self._bars.clear_output()
        with self._bars:  # progress bars, and the traceback of an error that is nobody's input
            try:
                with warnings.catch_warnings(record=True) as caught:
                    self.detector = fitted = self._fit(self._images())
            except (MuScError, ValueError, OSError) as error:
                self._say(f"This did not work: {error}", wrong=True)
            else:
                self._bars.clear_output()
                self._say(self._summary(fitted, [str(w.message) for w in caught if w.category is UserWarning]))
                self._offered = {name: each for name, each in EXPLORERS.items() if each.suits(fitted)}
                self.explorers.children = [ipywidgets.VBox() for _ in self._offered]
                self.explorers.titles, self.explorers.selected_index = list(self._offered), 0
                self.explorers.layout.display = None
                self._open_tab()
        self.run.disabled = False

    def _images(self) -> ImageSet:
        if self.source.value != "folder":
            return planted_textures(self.source.value, n_images=40, n_defective=12)
        if not self.folder.value.strip():
            raise ValueError("type the path of a folder of images")
        return load_folder(Path(self.folder.value.strip()).expanduser(), on_error="skip")

    def _fit(self, images: ImageSet) -> Detector:
        if self._backbone is None:
            self._backbone = load_backbone(EMBEDDED)
        return MuSc(self._backbone, image_size=self.size.value, cache_dir=self.cache_dir).fit(images)

    def _summary(self, fitted: Detector, warned: Sequence[str]) -> str:
        images = fitted.images_
        sentences = in_words(fitted.image_scores_, fitted.threshold_, fitted.names_, images.labels)
        names = ", ".join(path.name for path, _ in images.skipped[:5]) + ", ..." * (len(images.skipped) > 5)
        notes = [images.labeling, *warned, f"{left_out(images)}: {names}" if images.skipped else ""]
        return " ".join(sentences + [note[0].upper() + note[1:] + "." for note in notes if note])

    def _say(self, text: str, wrong: bool = False) -> None:
        role, color = ("alert", "; color: var(--jp-error-color1, #b00020)") if wrong else ("status", "")
        self.message.value = f'<div role="{role}" style="line-height: 1.4{color}">{html.escape(text)}</div>'

    def _open_tab(self) -> None:
        """Make the explorer of the tab that is open, once."""
        if self.explorers.children and (tab := self.explorers.children[self.explorers.selected_index]).children == ():
            explorer = list(self._offered.values())[self.explorers.selected_index]
            tab.children = [explorer(self.detector)]
