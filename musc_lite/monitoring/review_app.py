"""The review app: choose a folder, see its anomalies, mark what is bad, save a reference model, score what comes in."""

import html
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import ipywidgets

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import EMBEDDED, load_backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.loaders import load_folder
from musc_lite.data.verdicts import VerdictBook, sort_by_verdict
from musc_lite.detector.explain import find_evidence
from musc_lite.detector.musc import MuSc
from musc_lite.detector.planning import describe_resolution, fill_in_view
from musc_lite.monitoring.app_paths import Places
from musc_lite.monitoring.folder_chooser import FolderChooser
from musc_lite.monitoring.gallery import Gallery
from musc_lite.monitoring.reference import TRUSTED, apply_reference, fit_reference
from musc_lite.monitoring.settings_form import left_out_by_name
from musc_lite.reports.export_maps import write_maps, write_scores
from musc_lite.reports.export_results import write_results
from musc_lite.reports.report import Result, write_report
from musc_lite.results.scores import Scores
from musc_lite.results.summary import describe_guarantee, describe_scores
from musc_lite.utils.errors import MuScError
from musc_lite.utils.files import atomic_write, ensure_dir
from musc_lite.widgets.background_task import BackgroundTask
from musc_lite.widgets.explorer import row
from musc_lite.widgets.messages import USER_ERRORS

PRESETS: dict[str, dict[str, Any]] = {
    "quickly": {},
    "closely, where the objects are": {"region": "auto", "tiles": 2},
    "as closely as 5 minutes allow": {"image_size": "auto"},
}
RATES = {"none": 0.0, "at most 20 %": 0.2, "at most 10 %": 0.1, "at most 5 %": 0.05, "at most 1 %": 0.01}
LABEL = {"description_width": "initial"}


@dataclass
class _Batch:
    """The photos that are shown."""

    folder: Path
    images: ImageSet
    scores: Scores
    detector: MuSc | None  # None: scored against the reference


ScoreFn: TypeAlias = Callable[[Path, ImageSet, str], _Batch]  # from a folder, its photos and how closely to look


class ReviewApp(ipywidgets.VBox):
    """Choose a folder, score it, mark good and bad images, save a reference model, score other folders against it.

    Parameters
    ----------
    places : Places, optional
        Where it may read and where it writes; by default what `musc-lite app` handed on.

    Attributes
    ----------
    folder, look, trusted, rate : ipywidgets widgets
        The path, the preset of the view, whether to compare with good images only, the limit of the false alarm
        rate.
    run, apply, keep, report, go_on, browse : ipywidgets buttons
        Score by each other; score against the reference; keep a reference; write what is shown as one file; the last
        session; list folders.
    chooser : FolderChooser
    work : BackgroundTask
        Progress, stop, messages.
    gallery : Gallery
    """

    def __init__(self, places: Places | None = None):
        self.places = places or Places.from_environment()
        self._backbone: Backbone | None = None
        self._batch: _Batch | None = None
        self.work, self.gallery = BackgroundTask(), Gallery()
        wide = {"style": {"description_width": "60px"}}
        first = str(self.places.first)
        self.folder = ipywidgets.Text(first, description="folder", layout={"width": "min(520px, 97%)"}, **wide)
        self.browse = ipywidgets.ToggleButton(description="Choose ...", icon="folder-open", tooltip="list folders")
        self.chooser = FolderChooser(self.places, self._choose)
        self.look = ipywidgets.Dropdown(
            options=list(PRESETS), description="look", layout={"width": "min(400px, 97%)"}, **wide
        )
        self.run = _button("Find anomalies", "search", "compare these images with each other", "primary")
        self.apply = _button("Score against the reference", "check", "compare each of these images with it")
        self.keep = _button("Keep as reference", "save", "without images marked bad; replaces the previous one")
        self.report = _button("Write a report", "file", "one file with what is shown, to send to others")
        self.trusted = ipywidgets.Checkbox(description="compare with good images only", indent=False)
        self.rate = ipywidgets.Dropdown(
            options=RATES, description="false alarm limit", layout={"width": "min(300px, 97%)"}, style=LABEL
        )
        self.go_on = _button("", "repeat", "")
        self._keeping = row(self.keep, self.trusted, self.rate)
        self.run.on_click(lambda _: self._start(self._find))
        self.apply.on_click(lambda _: self._start(self._apply))
        self.keep.on_click(lambda _: self._keep())
        self.report.on_click(lambda _: self._report())
        self.go_on.on_click(lambda _: self._go_on())
        self.browse.observe(lambda _: self._list_folders(), "value")
        self.folder.observe(lambda _: self._change_folder(), "value")
        self.work.observe(lambda _: self._arrange(), "busy")
        self.gallery.on_mark(self._mark)
        self._session = self._last_session()
        where = f"Verdicts, features and the reference model are saved in {self.places.output}"
        only = f"; only folders inside {self.places.root} can be opened" if self.places.root else ""
        self._list_folders()
        self._arrange()
        choices = row(self.folder, self.browse), self.chooser, row(self.look, self.run, self.apply)
        about = ipywidgets.HTML(
            f'<div style="line-height: 1.4; white-space: normal">{html.escape(where + only)}.</div>'
        )
        super().__init__([self.go_on, *choices, about, self.work, self._keeping, self.report, self.gallery])

    def _start(self, score: ScoreFn) -> None:
        """Score the folder that is chosen and show it."""
        try:
            folder = self.places.inside(self.folder.value)
        except ValueError as error:
            self.work.refuse(error)
            return
        self.browse.value = False
        self._batch = None
        self.gallery.clear()
        self._arrange()
        self.work.start(partial(self._show, score, folder, self.look.value), self._tell)

    def _find(self, folder: Path, images: ImageSet, look: str) -> _Batch:
        """Compare photos with each other."""
        self._backbone = self._backbone or load_backbone(EMBEDDED, precision="auto")
        detector = MuSc(self._backbone, **PRESETS[look], cache_dir=self.places.features)
        detector = detector.with_components(view=fill_in_view(detector.setup(), images))
        return _Batch(folder, images, detector.fit(images).scores_, detector)

    def _apply(self, folder: Path, images: ImageSet, look: str) -> _Batch:
        """Compare photos with the reference, as closely as that was looked at."""
        return _Batch(folder, images, apply_reference(self.places.model, images, cache_dir=self.places.features), None)

    def _show(self, score: ScoreFn, folder: Path, look: str) -> tuple[_Batch, list[str]]:
        """Read a folder, score it, and show and write what comes out; give names whose file changed since a verdict."""
        images = self.places.check(load_folder(folder, on_error="skip", labels="none"))
        batch: _Batch = score(folder, images, look)
        own = ensure_dir(self.places.of_photos(folder))
        write_scores(own / "scores.csv", batch.scores)
        write_results(own, batch.scores)
        verdicts, changed = self._book(folder).of(images)
        self.gallery.show(batch.scores, verdicts)
        self._batch = batch
        self._remember({"folder": str(folder), "look": look, "against_reference": batch.detector is None})
        return batch, changed

    def _tell(self, result: tuple[_Batch, list[str]], warned: list[str]) -> str:
        """Return what was found."""
        batch, changed = result
        scores, images, detector = batch.scores, batch.images, batch.detector
        lines = [f"{len(images)} photos of {batch.folder}.", *describe_scores(scores)]
        if detector:
            lines += describe_resolution(
                detector.setup(), images, detector.cost(len(images), images), option="tiles"
            ).split("\n")[:1]
        else:
            lines.append(f"Compared with {scores.about['reference']}.")
        lines += [f"{note[0].upper()}{note[1:]}." for note in [*warned, left_out_by_name(images)] if note]
        if changed:
            lines.append(
                f"Changed since your verdict, so look again: {', '.join(changed[:5])}{', ...' * (len(changed) > 5)}."
            )
        return "\n".join(lines)

    def _mark(self, i: int, verdict: str) -> None:
        """Write the verdict on photo i before it is shown."""
        if self._batch is None:
            return
        try:
            _check_is_there(self._batch.folder)
            book, images = self._book(self._batch.folder), self._batch.images
            book.mark(images, i, verdict)
            self.gallery.set_verdicts(book.of(images)[0])
        except USER_ERRORS as error:
            self.work.refuse(error)

    def _keep(self) -> None:
        """Fit what is shown again, without what is bad, and write it."""
        if (batch := self._batch) is not None and batch.detector is not None:
            asked = {"references": TRUSTED if self.trusted.value else None, "false_alarm_rate": self.rate.value or None}
            self.work.start(partial(self._fit, batch, batch.detector, asked), lambda told, _: told)

    def _fit(self, batch: _Batch, shown: MuSc, asked: dict[str, Any]) -> str:
        _check_is_there(batch.folder)
        book = self._book(batch.folder)
        verdicts = book.read() if any(book.of(batch.images)[0]) or any(asked.values()) else None
        unfitted = MuSc(**shown.get_params(deep=False)).set_params(**asked)
        detector, before = fit_reference(unfitted, batch.images, verdicts)
        detector.save(self.places.model)
        after, n = detector.scores_, len(batch.images)
        stay = set(after.names)
        told = [f"Saved {len(after)} of {n} images as the reference model: {self.places.model}."]
        outside = 0 if detector.calibration_ is None else len(detector.calibration_)
        if before is not None:
            was = sum(out and name in stay for name, out in zip(before.names, before.is_outlier, strict=True))
            n_bad, now = sort_by_verdict(batch.images, verdicts or []).count("bad"), int(after.is_outlier.sum())
            told.append(f"{n_bad} {'is' if n_bad == 1 else 'are'} bad by your verdicts. Of those that stay")
            told[-1] += f" {now} {'is' if now == 1 else 'are'} flagged now, {was} before."
        else:
            told.append("No verdicts were given: defective images stay in it, and the same defects may pass as normal.")
        if detector.calibration_ is not None:
            told.append(f"The threshold is set from {outside} good images, which are not part of the reference.")
            told += describe_guarantee(detector.calibration_, detector.threshold_)
        return " ".join([*told, "Now choose a folder of new images and score it against the reference."])

    def _report(self) -> None:
        """Write what is shown, with the verdicts, as one file."""
        if (batch := self._batch) is not None:
            self.work.start(partial(self._write_report, batch), lambda told, _: told)

    def _write_report(self, batch: _Batch) -> str:
        _check_is_there(batch.folder)
        folder, scores, own = batch.folder, batch.scores, self.places.of_photos(batch.folder)
        evidence = [] if batch.detector is None else find_evidence(batch.detector)
        result = Result(folder.name, scores, evidence=evidence, verdicts=self._book(folder).read())
        write_maps(own, scores)
        path = write_report(own / "report.html", [result], title=f"Anomalies in {folder.name}", maps="maps")
        return f"Written: {path}. Any browser opens it, without this page; it shows the verdicts of now."

    def _book(self, folder: Path) -> VerdictBook:
        return VerdictBook(self.places.of_photos(folder) / "verdicts.csv")

    def _arrange(self) -> None:
        """Show and enable what makes sense now."""
        busy = self.work.busy
        for button in (self.run, self.keep, self.report, self.go_on):
            button.disabled = busy
        self.apply.disabled = busy or not self.places.model.is_file()  # at once: it must not be there for a moment
        can_keep = self._batch is not None and self._batch.detector is not None
        self._keeping.layout.display = None if can_keep else "none"
        self.report.layout.display = None if self._batch is not None else "none"
        offered = self._session is not None and self._batch is None and not busy
        self.go_on.layout.display = None if offered else "none"
        if offered and self._session:
            folder = Path(self._session["folder"])
            n = 0
            with suppress(MuScError, ValueError, OSError):
                n = len(self._book(folder).read())
            self.go_on.description = f"Go on with {folder.name} ({n} verdict{'s' * (n != 1)})"
            self.go_on.tooltip = str(folder)

    def _choose(self, folder: Path) -> None:
        self.folder.value = str(folder)

    def _change_folder(self) -> None:
        """List what is there, and take back what was said of another folder; what is said of shown photos stays."""
        self._list_folders()
        if self._batch is None and not self.work.busy:
            self.work.say("")

    def _list_folders(self) -> None:
        self.chooser.layout.display = None if self.browse.value else "none"
        if self.browse.value:
            with suppress(ValueError, OSError):  # half a path is typed: keep what was listed
                if (folder := self.places.inside(self.folder.value)).is_dir():
                    self.chooser.show(folder)

    def _go_on(self) -> None:
        """Score the last folder as it was: its features are kept."""
        if self._session:
            self.folder.value, self.look.value = self._session["folder"], self._session["look"]
            self._start(self._apply if self._session["against_reference"] else self._find)

    def _remember(self, session: dict[str, Any]) -> None:
        self._session = session
        with atomic_write(self.places.output / "session.json") as partial_file:
            partial_file.write_text(json.dumps(session) + "\n", encoding="utf-8")

    def _last_session(self) -> dict[str, Any] | None:
        """Read which folder was scored last, if it is there and may be opened."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads((self.places.output / "session.json").read_text(encoding="utf-8"))
            folder = Path(found["folder"])
            if found["look"] in PRESETS and "against_reference" in found and self.places.is_inside(folder):
                return found if folder.is_dir() else None
        return None


def _check_is_there(folder: Path) -> None:
    """Raise `MuScError` where the folder was removed, or its drive, after it was scored."""
    if not folder.is_dir():
        raise MuScError(f"the folder {folder} is gone since it was scored: put it back, then press again")


def _button(text: str, icon: str, tooltip: str, style: str = "") -> ipywidgets.Button:
    layout = {"width": "auto", "align_self": "flex-start"}
    return ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, button_style=style, layout=layout)
