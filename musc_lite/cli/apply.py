"""The command `apply`: new photos, scored against a reference."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    START,
    Labels,
    Line,
    OnError,
    Output,
    Photos,
    PixelThreshold,
    Write,
    check_apart,
    check_line,
    examples,
    load_photos,
    make_folder,
    named,
    plain_errors,
    print_table,
    say_depth,
    say_no_defects,
)
from musc_lite.cli.method_options import parse_formats
from musc_lite.cli.watch import keep_watching
from musc_lite.utils.names import check_file_names
from musc_lite.utils.validation import check_pixel_threshold

if TYPE_CHECKING:
    pass


@examples(
    "musc-lite apply line.musc today/ -o out/today",
    "musc-lite apply line.musc arriving/ -o out/arriving --watch",
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
