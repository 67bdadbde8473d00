"""The command `days`: whether good images drift from the reference."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    Line,
    check_line,
    examples,
    plain_errors,
)

if TYPE_CHECKING:
    pass

MAX_STEADY_DAYS = 30  # days without drift that `days` prints, the latest ones


@examples(
    "musc-lite days line.musc out/monday out/tuesday -o days.png",
)
def days(
    line: Line,
    results: Annotated[list[Path], typer.Argument(help="Folders that `musc-lite apply` wrote, watched or not.")],
    picture: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("days.png"),
) -> None:
    """Hold the photos of each day against the trusted ones: how many are called, and whether the good ones drift.

    A day is what one apply wrote, or a date of a watch. The line must have been fitted with good verdicts and
    --false-alarm-rate.
    """
    with plain_errors():
        check_line(line)
        from musc_lite.detector.detector import Detector
        from musc_lite.monitoring.drift import Day, drift_of_days, write_days
        from musc_lite.monitoring.reference import line_digest
        from musc_lite.monitoring.watch_log import read_watched

        detector = Detector.load(line)
        if detector.calibration_ is None:
            raise ValueError(
                f"{line} trusts no images, so there is nothing to hold the days against: fit it with --verdicts FILE "
                "--false-alarm-rate 0.05"
            )
        found: list[Day] = []
        for folder in results:
            watched = read_watched(folder)
            found += Day.of_watch(watched) if watched else [Day.read(folder)]
        foreign = [day.name for day in found if line_digest(line) not in day.reference]
        if foreign:
            raise ValueError(
                f"{', '.join(foreign)}: not scored against this {line}, so its threshold says nothing there; run "
                f"`musc-lite apply {line} PHOTOS` again"
            )
        from musc_lite.results.summary import describe_drift

        drifts = drift_of_days(found, detector.calibration_, detector.threshold_)
        steady = [k for k, drift in enumerate(drifts) if not drift.is_likely]
        unprinted = set(steady[:-MAX_STEADY_DAYS])
        if unprinted:
            print(f"{len(unprinted)} earlier days without drift are in the picture only.")
        for k, (day, drift) in enumerate(zip(found, drifts, strict=True)):
            if k in unprinted:
                continue
            sentences = describe_drift(drift) or [f"no drift is seen, against {drift.n_trusted} trusted images."]
            print(f"{day.name}: {drift.n_called} of {drift.n_images} called; {' '.join(sentences)}")
        write_days(picture, found, detector.calibration_, detector.threshold_)
        print(f"Look at {picture}")
