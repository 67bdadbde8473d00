"""The command `info`: show what a reference model contains."""

from typing import TYPE_CHECKING

from musc_lite.cli.common import (
    Model,
    check_model,
    error_handler,
)

if TYPE_CHECKING:
    pass


def info(model: Model) -> None:
    """Show the date, size and content of a reference model, and all its settings."""
    with error_handler():
        check_model(model)
        from musc_lite.detector.detector import Detector
        from musc_lite.monitoring.reference import reference_info

        detector = Detector.load(model)
        settings = {**reference_info(model, detector), **detector.provenance()}
        settings["flagged"] = f"{int(detector.scores_.is_outlier.sum())} of {len(detector.names_)} images"
        width = max(map(len, settings))
        for title, value in settings.items():
            print(f"{title:{width}}  {value}")
