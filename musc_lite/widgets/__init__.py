"""Explorers: touch a patch, an interval, a threshold, and see what it changes; one explorer a stage.

Each takes a fitted detector, `PatchExplorer(detector)`, and shows itself as the last line of a notebook cell. Before
any of them, `RegionPicker(images)` chooses the part of the photos to look at; `ToyWorld()` needs no photos at all.
"""

try:
    import anywidget  # noqa: F401
    import ipywidgets  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the explorers need ipywidgets and anywidget ({error}); install them: pip install 'musc-lite[lab]'"
    ) from error


from musc_lite.widgets.defect_classes import DefectKinds
from musc_lite.widgets.explorer import Explorer
from musc_lite.widgets.interval_explorer import IntervalExplorer
from musc_lite.widgets.neighborhood_explorer import NeighborhoodExplorer
from musc_lite.widgets.patch_explorer import PatchExplorer
from musc_lite.widgets.rescoring_explorer import RescoringExplorer
from musc_lite.widgets.roi_picker import RegionPicker
from musc_lite.widgets.similarity_counts import SimilarityCounts
from musc_lite.widgets.threshold_explorer import ThresholdExplorer
from musc_lite.widgets.toy_world import ToyWorld

# What the app offers, in this order: a new explorer is a file and a line here.
EXPLORERS: dict[str, type[Explorer]] = {
    "Decisions": ThresholdExplorer,
    "Kinds of defect": DefectKinds,
    "Patches": PatchExplorer,
    "Similar patches": SimilarityCounts,
    "Neighborhoods": NeighborhoodExplorer,
    "Interval": IntervalExplorer,
    "Re-scoring": RescoringExplorer,
}

__all__ = [
    "DefectKinds",
    "IntervalExplorer",
    "NeighborhoodExplorer",
    "PatchExplorer",
    "RegionPicker",
    "RescoringExplorer",
    "SimilarityCounts",
    "ThresholdExplorer",
    "ToyWorld",
]
