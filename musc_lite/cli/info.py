"""The command `info`: what a reference is made of."""

from typing import TYPE_CHECKING

from musc_lite.cli.common import (
    Line,
    check_line,
    plain_errors,
)

if TYPE_CHECKING:
    pass


def info(line: Line) -> None:
    """Say what is inside of a line file: its day, size and content, and all settings."""
    with plain_errors():
        check_line(line)
        from musc_lite.detector.detector import Detector
        from musc_lite.monitoring.reference import about_line

        detector = Detector.load(line)
        settings = {**about_line(line, detector), **detector.describe()}
        settings["stand out"] = f"{int(detector.scores_.is_outlier.sum())} of {len(detector.names_)} images"
        width = max(map(len, settings))
        for title, value in settings.items():
            print(f"{title:{width}}  {value}")
