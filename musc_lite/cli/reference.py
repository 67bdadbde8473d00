"""Commands for a line that runs for months: fit a reference once, apply it to what comes in, see what is inside."""

import sys
import time
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    START,
    Contamination,
    Labels,
    OnError,
    Output,
    Photos,
    PixelThreshold,
    Write,
    check_apart,
    load_photos,
    make_folder,
    named,
    plain_errors,
    print_table,
    say_cost,
    say_depth,
    say_no_defects,
    settle_view,
)
from musc_lite.cli.main import app
from musc_lite.cli.method_options import Method, parse_contamination, parse_formats, takes_method
from musc_lite.cli.watch import keep_watching
from musc_lite.utils.names import check_file_names
from musc_lite.utils.validation import check_contamination, check_pixel_threshold

if TYPE_CHECKING:
    from musc_lite.results.scores import Scores

__all__ = ["apply", "days", "fit", "info"]

MAX_STEADY_DAYS = 30  # days without drift that `days` prints, the latest ones

Line = Annotated[Path, typer.Argument(help="What `musc-lite fit` or `Detector.save` wrote.", metavar="LINE")]


@app.command(
    epilog="Examples: "
    "`musc-lite fit photos/ -o line.musc`; "
    "`musc-lite fit photos/ -o line.musc --verdicts verdicts.csv --false-alarm-rate 0.05`"
)
@takes_method
def fit(
    photos: Photos,
    line: Annotated[Path, typer.Option("--output", "-o", help="The line file to write, such as line.musc.")],
    method: Method,
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
    verdicts: Annotated[
        Path | None,
        typer.Option(help="A table (image, verdict: good, bad or unsure): bad images leave the reference."),
    ] = None,
    trusted: Annotated[bool, typer.Option(help="Score by the images with the verdict good alone.")] = False,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Draw the line so that of good images at most this share is called; by good verdicts."),
    ] = None,
) -> None:
    """Fit a reference batch and keep it in one file, to which `musc-lite apply` compares what comes in.

    Takes the options of `musc-lite score` that shape the scores, but not --groups, --classes, --write,
    --pixel-threshold and --explore. Features are kept in LINE.features: interrupted and started again, it goes
    on where it was; the folder may be deleted.
    """
    with plain_errors():
        from musc_lite.data.verdicts import read_verdicts, sort_by_verdict

        share = parse_contamination(contamination)
        check_contamination(share)
        if share != "auto" and false_alarm_rate is not None:
            raise ValueError("--contamination and --false-alarm-rate each set the threshold: give one of the two")
        method.check()
        if line.is_dir():
            raise ValueError(f"{line} is a folder; -o names the file to write, such as {line / 'line.musc'}")
        check_apart(line, photos)
        if verdicts is None and (trusted or false_alarm_rate is not None):
            raise ValueError("trusted images are those with the verdict good: give --verdicts FILE")
        found = None if verdicts is None else read_verdicts(verdicts)
        images = load_photos(photos, labels, on_error)
        with warnings.catch_warnings(action="ignore"):  # `fit_line` repeats them
            kinds = [] if found is None else sort_by_verdict(images, found)
        make_folder(line.parent)
        features = line.with_name(f"{line.name}.features")

        from musc_lite.monitoring.reference import fit_line, score_by_trusted
        from musc_lite.results.summary import describe_guarantee, describe_scores

        detector = method.detector(share, cache_dir=features, false_alarm_rate=false_alarm_rate)
        if trusted:
            detector = score_by_trusted(detector)
        detector, _ = settle_view(detector, images, line.parent)
        say_cost(detector, images, n_fits=1 if found is None else 2)  # `fit_line` fits before and after the verdicts
        detector, before = fit_line(detector, images, found)
        detector.save(line)

        scores = detector.scores_
        say_depth(scores)
        if before is not None:
            trusted_names = {name for name, kind in zip(images.names, kinds, strict=True) if kind == "good"}
            print(" ".join(_what_verdicts_changed(before, scores, kinds.count("bad"), trusted_names)))
        else:
            print("Without verdicts what is defective among them stays in the reference: its like passes for normal.")
        if detector.calibration_ is not None:
            n_outside = len(detector.calibration_)
            print(f"{n_outside} good ones are kept out of the reference, to draw the line for the false alarm rate.")
            print(" ".join(describe_guarantee(detector.calibration_, detector.threshold_)))
        for sentence in describe_scores(scores):
            print(sentence)
        size = line.stat().st_size / 1e6
        print(f"{time.perf_counter() - START:.0f} s in all. Kept {len(scores)} images in {line}, {size:.0f} MB.")


@app.command(
    name="apply",
    epilog="Examples: "
    "`musc-lite apply line.musc today/ -o out/today`; "
    "`musc-lite apply line.musc arriving/ -o out/arriving --watch`",
)
def apply(
    line: Line,
    photos: Photos,
    output: Output,
    labels: Labels = "auto",
    on_error: OnError = "raise",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None,
    watch: Annotated[
        bool, typer.Option(help="Score what arrives in the folder, each photo once, until Ctrl+C.")
    ] = False,
    write: Write = "",
    pixel_threshold: PixelThreshold = None,
) -> None:
    """Score new photos against a line file; they do not score each other, and one is enough.

    Writes scores.csv, results.json (with the defects of each photo), report.html, maps/ and maps.npz, of the new photos
    only, with the day, the size and the SHA-256 of the reference. With --watch: watched.csv and maps/, as photos
    arrive.
    """
    with plain_errors():
        from musc_lite.data.loaders import left_out

        formats = parse_formats(write)
        check_pixel_threshold(pixel_threshold)
        check_apart(output, photos)
        check_line(line)
        if watch:
            told = {"--write": formats, "--pixel-threshold": pixel_threshold is not None}
            told |= {"--labels": labels != "auto", "--on-error": on_error != "raise"}
            if given := [name for name, is_given in told.items() if is_given]:
                raise ValueError(
                    f"--watch writes watched.csv and maps/ alone, so {', '.join(given)} would do nothing: leave it "
                    "out, and later apply the line to the folder without --watch"
                )
            make_folder(output)
            keep_watching(line, photos, output, device)
            return
        images = load_photos(photos, labels, on_error)
        make_folder(output)
        check_file_names(output, images.names)

        from musc_lite.monitoring.reference import apply_line

        seconds = {"start": time.perf_counter() - START}
        began = time.perf_counter()
        scores = apply_line(line, images, device=device)
        seconds["scoring"] = time.perf_counter() - began

        from musc_lite.reports.export_maps import write_maps, write_scores
        from musc_lite.reports.export_results import remove_results, write_results
        from musc_lite.reports.report import Result, write_report
        from musc_lite.results.summary import describe_scores, describe_unseen_defects

        written = time.perf_counter()
        result = Result(named(photos), scores, pixel_threshold=pixel_threshold)
        remove_results(output)
        write_scores(output / "scores.csv", scores)
        write_results(output, scores, formats, threshold=pixel_threshold, maps=True)
        say_no_defects(scores, formats)
        write_maps(output, scores)
        report = write_report(output / "report.html", [result], title=f"{result.name} against {line.name}", maps="maps")
        seconds["writing"] = time.perf_counter() - written
        print(f"Reference {scores.about['reference']}")
        print_table([result], [seconds])
        say_depth(scores)
        if unseen := describe_unseen_defects(scores):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        for sentence in describe_scores(scores):
            print(sentence)
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


@app.command()
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


@app.command(epilog="Examples: `musc-lite days line.musc out/monday out/tuesday -o days.png`")
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


def check_line(line: Path) -> None:
    """Refuse a folder, and what is not there."""
    if line.is_dir():
        raise ValueError(f"{line} is a folder: the line file comes first, such as line.musc")
    if not line.is_file():
        raise ValueError(f"there is no line file {line}; `musc-lite fit PHOTOS -o {line}` writes one")


def _what_verdicts_changed(before: "Scores", after: "Scores", n_bad: int, good: Collection[str]) -> list[str]:
    """Say how many images leave, which of the others stand out now or no longer, and how their scores changed."""
    stay = set(after.names)
    was, now = (
        {name for name, out in zip(each.names, each.is_outlier, strict=True) if out and name in stay}
        for each in (before, after)
    )
    bad = f"{n_bad} of {len(before)} images {'is' if n_bad == 1 else 'are'} bad by the verdicts"
    sentences = [f"{bad} and {'leaves' if n_bad == 1 else 'leave'} the reference."]
    for some, words in ((now - was, "flagged now, and not before"), (was - now, "not flagged any more")):
        if some:
            names = sorted(some, key=[*after.names].index)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            sentences.append(
                f"{len(names)} of them {'is' if len(names) == 1 else 'are'} {words}: {', '.join(names[:5])}{more}."
            )
    if called := [name for name, out in zip(after.names, after.is_outlier, strict=True) if out and name in good]:
        more = f" and {len(called) - 5} more" if len(called) > 5 else ""
        sentences.append(f"You found good, and the line calls: {', '.join(called[:5])}{more}, and photos like them.")
    earlier = dict(zip(before.names, before.map_scores.tolist(), strict=True))
    changes = [(name, earlier[name], score) for name, score in zip(after.names, after.map_scores.tolist(), strict=True)]
    most = sorted(changes, key=lambda change: -abs(change[2] - change[1]))[:3]
    told = ", ".join(f"{name} from {old:.3f} to {new:.3f}" for name, old, new in most)
    return [*sentences, f"Scores before re-scoring, which can be compared, changed most for {told}."]
