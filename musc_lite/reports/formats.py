"""The files for other programs that `write_results` can write: one line for each format.

A new format is a function write(path, export) or write(path, export, i), see `Export`, and a line here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the help of the command line is made of this file, without torch
    from musc_lite.analysis.defect_classes import DefectClasses
    from musc_lite.results.scores import Scores
    from musc_lite.results.segmentation import Defect


class Format(NamedTuple):
    """What a format writes: one file, "coco.json", or one for each image, "masks/*.png"; which function does; for whom.

    The help of `musc-lite score --export` is made of these.
    """

    files: str
    write: str  # "module:function", loaded when it is used
    about: str = ""

    @property
    def ending(self) -> str | None:
        """The ending of the files for each image; None: one file for all."""
        return self.files.rpartition("*")[2] if "*" in self.files else None


FORMATS: dict[str, Format] = {
    "coco": Format("coco.json", "musc_lite.reports.export_coco:write_coco", "COCO annotations"),
    "labelme": Format("labelme/*.json", "musc_lite.reports.export_coco:write_labelme", "for LabelMe"),
    "masks": Format("masks/*.png", "musc_lite.reports.export_results:write_mask", "in each photo's own size"),
    "heatmaps": Format(
        "heatmaps/*.png", "musc_lite.reports.export_results:write_heat_map", "16 bits; results.json has their scale"
    ),
}


@dataclass(frozen=True)
class Export:
    """What every format writes from.

    Attributes
    ----------
    scores : Scores
    defects : list of lists of Defect
        Of each image.
    kinds : DefectClasses or None
    """

    scores: "Scores"
    defects: "list[list[Defect]]"
    kinds: "DefectClasses | None"

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The map values that stand for 0 and 65535 in a heat map."""
        maps = self.scores.anomaly_maps
        return min(0.0, float(maps.min())), float(maps.max())


def check_formats(formats: Sequence[str]) -> None:
    """Raise ValueError for a format that there is not."""
    unknown = [name for name in formats if name not in FORMATS]
    if isinstance(formats, str) or unknown:
        wrong = formats if isinstance(formats, str) else unknown[0]
        raise ValueError(f"there is no format {wrong!r} to write; give any of {', '.join(FORMATS)}")
