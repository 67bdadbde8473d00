"""The whole toolkit without code: choose images, look before the work, run, explore (`musc-lite app`)."""

import gc
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import ipywidgets
import numpy as np
from sklearn.base import clone

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import EMBEDDED, load_backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.quality import remarks_on_sizes
from musc_lite.data.roi import WHOLE, Region
from musc_lite.detector.detector import Detector
from musc_lite.detector.explain import groups_to_show
from musc_lite.detector.musc import MuSc
from musc_lite.detector.planning import describe_resolution, fill_in_view
from musc_lite.monitoring.app_paths import Places
from musc_lite.monitoring.settings_form import Choices, left_out_by_name
from musc_lite.reports.export_maps import draw_region
from musc_lite.reports.group_plots import group_picture
from musc_lite.results.summary import describe_groups, describe_region, describe_scores
from musc_lite.widgets import EXPLORERS
from musc_lite.widgets.explorer import Explorer, row
from musc_lite.widgets.messages import USER_ERRORS, error_html, told
from musc_lite.widgets.tiles import jpeg

Warned: TypeAlias = Sequence[warnings.WarningMessage]


class App(ipywidgets.VBox):
    """Choose images and how closely to look at them, check what would be seen, run, explore.

    Parameters
    ----------
    cache_dir : path, optional
        Where features are kept (`extract_features`): a run that was interrupted goes on where it stopped.
    places : Places, optional
        Which folders may be opened; by default all.

    Attributes
    ----------
    choices : Choices
        What to score, and how closely.
    check, run : ipywidgets.Button
        Say what would be looked at; say it, and do it.
    message : ipywidgets.HTML
        What would be looked at, and how closely; or what went wrong and what to do.
    picture : ipywidgets.Image
        Three photos with the region, where it is not the whole photo.
    summary : ipywidgets.HTML
        What was found.
    groups : ipywidgets.Image
        Which kinds of image there are, where there are several or they were asked for.
    explorers : ipywidgets.Tab
        One tab an explorer; each is made when its tab is first opened.
    detector : Detector or None
        The last one fitted.
    """

    def __init__(self, cache_dir: str | Path | None = None, places: Places | None = None):
        self.cache_dir = cache_dir
        self.detector: Detector | None = None
        self._backbone: Backbone | None = None
        self._found: dict[tuple[str, ...], Region] = {}
        self._offered: dict[str, type[Explorer]] = {}
        self.choices = Choices(self._forget, places)
        self.check = ipywidgets.Button(description="Check", icon="search", tooltip="what would be looked at")
        self.run = ipywidgets.Button(description="Run", button_style="primary", icon="play")
        self.message, self.summary, self._bars = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.Output()
        fits = {"align_self": "flex-start", "max_width": "calc(100% - 4px)"}  # its margins are 2 pixels each
        self.picture = ipywidgets.Image(format="jpeg", layout={"display": "none", **fits})
        self.groups = ipywidgets.Image(format="jpeg", layout={"display": "none", **fits})
        self.explorers = ipywidgets.Tab()
        self._results = ipywidgets.VBox([self.summary, self.explorers, self.groups], layout={"display": "none"})
        self.check.on_click(lambda _: self._press(self._look))
        self.run.on_click(lambda _: self._press(self._run))
        self.explorers.observe(lambda _: self._open_tab(), "selected_index")
        buttons = row(self.check, self.run)
        super().__init__([self.choices, buttons, self.message, self._bars, self.picture, self._results])

    def _press(self, work: Callable[[Warned], object]) -> None:
        """Do what a button is for, with the list of warnings; the project's own errors become the message."""
        self.run.disabled = self.check.disabled = True
        self._forget()
        self._bars.clear_output()
        with self._bars:  # progress bars, and the traceback of an error that is nobody's input
            try:
                with warnings.catch_warnings(record=True) as caught:
                    work(caught)
            except USER_ERRORS as error:
                self._forget()
                self.message.value = error_html(error)
            else:
                self._bars.clear_output()
        self.run.disabled = self.check.disabled = False

    def _forget(self) -> None:
        """Take back what was said of other choices; results stay."""
        self.message.value, self.picture.layout.display = "", "none"

    def _look(self, caught: Warned, doing: str = "") -> tuple[Detector, ImageSet, list[str]]:
        """Show the view; return the detector, the images, and sentences on what is seen."""
        self.message.value = told("Looking at the photos.")
        images, musc, scorer = self.choices.images(), self._make_detector(), self.choices.scorer
        musc = self._settled(musc, images)
        region = musc.resolve_view(images).region
        detector: Detector = musc if scorer is None else musc.with_scorer(scorer)
        cost = detector.cost(len(images), images)
        covers, *closer = describe_resolution(detector.setup(), images, cost, option="tiles").split("\n")
        sizes = [images.size(i) for i in range(len(images))]
        remarks = remarks_on_sizes(np.array(sizes), images.names)
        seen = [covers]
        if region != WHOLE:
            seen = [*_sentences([describe_region(region, sizes[0])]), covers]
            self.picture.value = jpeg(picture := draw_region(images, region), picture.size, quality=80)
            self.picture.layout.display = None
        lines = [f"{len(images)} images.", *_sentences([*_notes(images, caught), *map(str, remarks)]), *seen, *closer]
        lines += [f"Run takes {cost}. Features that are kept from an earlier run take no time.", doing]
        self.message.value = told("\n".join(lines).rstrip())
        return detector, images, seen

    def _run(self, caught: Warned) -> None:
        """Look, fit, and show the explorers."""
        self._results.layout.display = "none"
        detector, images, seen = self._look(caught, "Working. The bars show how far it is; keep this page open.")
        self._release()
        self.detector = fitted = detector.fit(images)
        found = describe_scores(fitted.scores_)
        notes = _sentences(_notes(images, caught))
        self.summary.value = told(" ".join([*found, *seen, *notes, *self._show_groups(fitted)]))
        self._offered = {name: each for name, each in EXPLORERS.items() if each.supports(fitted)}
        self.explorers.children = [ipywidgets.VBox() for _ in self._offered]
        self.explorers.titles, self.explorers.selected_index = list(self._offered), 0
        self._forget()
        self._results.layout.display = None
        self._open_tab()

    def _release(self) -> None:
        """Close the explorers of the previous run, and free its detector before the next one takes memory."""
        _close(self.explorers.children)
        self.explorers.children, self.detector = (), None
        gc.collect()  # widgets and their observers refer to each other

    def _show_groups(self, fitted: Detector) -> list[str]:
        """Draw the kinds of image, where there is something to show, and say what they mean."""
        groups = groups_to_show(fitted)
        self.groups.layout.display = "none" if groups is None else None
        if groups is None:
            return []
        self.groups.value = group_picture(groups, fitted.scores_)
        return describe_groups(groups, fitted.scores_) if fitted.normal_ is None else []  # else it was warned of

    def _make_detector(self) -> MuSc:
        settings = self.choices.settings
        self._backbone = self._backbone or load_backbone(EMBEDDED, precision="auto")
        return MuSc(self._backbone, **settings, cache_dir=self.cache_dir)

    def _settled(self, detector: Detector, images: ImageSet) -> Detector:
        """Return a detector that need not look for objects; those found in the same photos are not looked for again."""
        if detector.components.view.region != "auto":
            return detector.with_components(view=fill_in_view(detector.setup(), images))
        photos = tuple(images.digest(i) for i in range(len(images)))
        known = clone(detector.components.view).set_params(region=self._found.get(photos, "auto"))
        view = fill_in_view(detector.with_components(view=known).setup(), images)
        found: Any = view.region
        self._found = {photos: found} if found != WHOLE else {}  # where none are, that is warned of anew
        return detector.with_components(view=view)

    def _open_tab(self) -> None:
        """Make the explorer of the tab that is open, once."""
        if self.explorers.children and (tab := self.explorers.children[self.explorers.selected_index]).children == ():
            explorer = list(self._offered.values())[self.explorers.selected_index]
            with self._bars:  # as for a button
                try:
                    tab.children = [explorer(self.detector)]
                except USER_ERRORS as error:
                    tab.children = [ipywidgets.HTML(error_html(error))]


def _close(held: object) -> None:
    """Close widgets with all that they hold: ipywidgets' registry keeps alive what is not closed."""
    if isinstance(held, tuple | list):
        for each in held:
            _close(each)
    elif isinstance(held, ipywidgets.Widget) and held.comm is not None:
        parts = [getattr(held, name) for name in held.keys]
        held.close()
        _close([*parts, *vars(held).values()])


def _notes(images: ImageSet, caught: Warned) -> list[str]:
    """Return how labels were understood, what was warned of, and which files were left out."""
    warned = [str(each.message) for each in caught if each.category is UserWarning]
    return [images.labeling, *warned, left_out_by_name(images)]


def _sentences(notes: Iterable[str]) -> list[str]:
    return [note[0].upper() + note[1:] + "." for note in notes if note]
