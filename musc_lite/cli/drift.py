"""The command `drift`: test whether good images drift away from the reference model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    Model,
    check_model,
    error_handler,
    examples,
)

if TYPE_CHECKING:
    pass

MAX_STEADY_DAYS = 30  # days without drift that `days` prints, the latest ones


@examples(
    "musc-lite drift model.musc out/monday out/tuesday -o drift.png",
)
def drift(
    model: Model,
    results: Annotated[
        list[Path], typer.Argument(help="Output folders of `musc-lite apply`, with or without --watch.")
    ],
    picture: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")] = Path("drift.png"),
) -> None:
    """Compare the images of each day with the calibration images: count flagged ones, test for drift of good ones.

    A day is one run of `apply`, or one date of a watch. The model must have been fitted with good verdicts and
    --false-alarm-rate.
    """
    with error_handler():
        check_model(model)
        from musc_lite.detector.detector import Detector
        from musc_lite.monitoring.drift import Day, drift_of_days, write_days
        from musc_lite.monitoring.reference import reference_digest
        from musc_lite.monitoring.watch_log import read_watched

        detector = Detector.load(model)
        if detector.calibration_ is None:
            raise ValueError(
                f"{model} has no calibration images to compare the days with: fit it with --verdicts FILE "
                "--false-alarm-rate 0.05"
            )
        found: list[Day] = []
        for folder in results:
            watched = read_watched(folder)
            found += Day.of_watch(watched) if watched else [Day.read(folder)]
        foreign = [day.name for day in found if reference_digest(model) not in day.reference]
        if foreign:
            raise ValueError(
                f"{', '.join(foreign)}: scored against another model than {model}, so its threshold does not apply: "
                f"run `musc-lite apply {model} IMAGES` again"
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
            sentences = describe_drift(drift) or [
                f"no drift detected, compared with {drift.n_trusted} calibration images."
            ]
            print(f"{day.name}: {drift.n_called} of {drift.n_images} flagged; {' '.join(sentences)}")
        write_days(picture, found, detector.calibration_, detector.threshold_)
        print(f"Look at {picture}")
