"""What explorers share that look at one block and one r: a menu of both, distances, long work in a thread."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from torch import Tensor

from musc_lite.detector.detector import Detector
from musc_lite.stages.similarity_counts import default_features, default_threshold
from musc_lite.utils.progress import progress_bar
from musc_lite.widgets.background_task import BackgroundTask
from musc_lite.widgets.explorer import Explorer

PATIENCE = 0.4  # seconds: what is done by then was no long work

Builder = Callable[[Callable[[int], object]], Any]  # of a function that is told how many steps were done


class QuietTask(BackgroundTask):
    """Work whose result is shown by the explorer; said are errors alone."""

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is done, or as long as that."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _show_progress(self, shown: bool) -> None:
        super()._show_progress(shown)
        self.layout.display = None if shown or self.message.value else "none"  # no gap where there is no work

    def say(self, text: str) -> None:
        """Leave the message to the explorer."""


class FeatureExplorer(Explorer):
    """An explorer of one layer at one degree r, chosen by a menu; `MEAN` allows the mean of all, None, too.

    Attributes
    ----------
    features : (int, int) or None
        Index of the layer among those the detector read, and r.
    """

    MEAN = False
    features = traitlets.Tuple(traitlets.Int(), traitlets.Int(), allow_none=True, default_value=None)

    def __init__(self, detector: Detector):
        super().__init__(detector)
        self.work = QuietTask()
        self.work.stop.tooltip = "what was shown before comes back"
        layers = detector.features_.layers
        self.all_features = [(s, r) for s in range(len(layers)) for r in detector.r_]
        options: list[tuple[str, object]] = [(f"block {layers[s]}, r = {r}", (s, r)) for s, r in self.all_features]
        options = [("mean of all", "mean"), *options] if self.MEAN else options  # None would be an empty line
        self.feature_menu = ipywidgets.Dropdown(options=options, description="features", layout={"width": "260px"})
        self.features = default_features(len(layers), detector.r_)
        to_menu, to_trait = (lambda value: value or "mean"), (lambda value: None if value == "mean" else value)
        traitlets.link((self, "features"), (self.feature_menu, "value"), transform=(to_menu, to_trait))

    @traitlets.validate("features")
    def _check_features(self, proposal):
        if proposal.value not in self.all_features and not (self.MEAN and proposal.value is None):
            raise traitlets.TraitError(
                f"the detector did not score (layer, r) = {proposal.value}: choose one of {self.all_features}"
                + (", or None for their mean" if self.MEAN else "")
            )
        return proposal.value

    def sorted_distances(self) -> Tensor:
        """Return the distances (N', M, J) that the scorer averages, without copies, nearest image first."""
        return self.kept.get(("distances", *self.features), self._make_distances)

    def _make_distances(self, progress: Callable[[int], object] = lambda _: None) -> Tensor:
        s, r = self.features
        return self.detector.get_scorer(s, r).nearest(self.tokens(s, r), replace(self.context, progress=progress))

    def with_distances(self, then: Callable[[], None]) -> None:
        """Call then() when the distances of the chosen features are there."""
        self.when_made(("distances", *self.features), self._make_distances, then, len(self.unique) ** 2)

    def when_made(self, key: tuple, make: Builder, then: Callable[[], None], n_steps: int) -> None:
        """Call then() when what is kept under a key is there: now, or after work in a thread that can be stopped.

        The kernel stays free, and a bar shows how far it is. Where it is stopped, what was shown before comes back.
        """
        if key in self.kept:
            then()
            return
        if self.work.busy:  # when that is done, what is wanted by then is shown
            return
        made = []

        def work() -> Any:
            with progress_bar(total=n_steps, desc="comparing images", unit="pair") as bar:
                return self.kept.get(key, lambda: make(bar.update))

        def done(*_) -> str:
            made.append(True)
            return ""

        def go_on(change) -> None:
            if not change.new:
                self.work.unobserve(go_on, "busy")
                then() if made else self.undo()

        self.work.observe(go_on, "busy")
        self.work.start(work, done)
        self.work.wait(PATIENCE)

    def patch_scores(self, s: int, r: int) -> np.ndarray:
        """Return the detector's patch scores (N, M) of the s-th layer at degree r."""
        return self.detector.patch_scores_[self.detector.r_.index(r), s]


PER_UNIT = 100  # thresholds to a distance of 1: all explorers share them, so that their thresholds can be linked


class Similarity(FeatureExplorer):
    """Has a threshold in hundredths, from 0 to 2.

    Attributes
    ----------
    threshold : float
        Largest distance that counts as similar; what is set is rounded to hundredths. At first the default of the
        chosen features, which it follows until it is set.
    """

    threshold = traitlets.Float()

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal):
        if not 0 <= proposal.value <= 2:
            raise traitlets.TraitError(f"unit vectors lie 0 to 2 apart: give such a threshold, got {proposal.value}")
        return round(proposal.value * PER_UNIT) / PER_UNIT

    def default_threshold(self) -> float:
        """Compute the default threshold of the chosen features from the detector's scores."""
        return default_threshold(self.patch_scores(*self.features))

    def begin_at_default_threshold(self) -> None:
        """Set the default threshold, and set it again where other features are chosen before it was changed."""
        self.threshold = self._default = self.default_threshold()
        self.observe(self._follow_features, "features")

    def _follow_features(self, _) -> None:
        before, self._default = self._default, self.default_threshold()
        if self.threshold == before:
            with self.without_history():
                self.threshold = self._default
