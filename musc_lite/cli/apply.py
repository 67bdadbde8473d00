"""The command `apply`: score new images against a reference model."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    START,
    Export,
    Labels,
    Model,
    OnError,
    Output,
    Photos,
    PixelThreshold,
    Verbose,
    batch_name,
    check_model,
    error_handler,
    examples,
    load_photos,
    make_output_dir,
    print_bit_depth,
    print_table,
    reject_output_inside_input,
    warn_no_defects,
)
from musc_lite.cli.method_options import parse_formats
from musc_lite.cli.watch import keep_watching
from musc_lite.utils.names import check_file_names
from musc_lite.utils.validation import check_pixel_threshold

if TYPE_CHECKING:
    pass


@examples(
    "musc-lite apply model.musc today/ -o out/today",
    "musc-lite apply model.musc arriving/ -o out/arriving --watch",
)
def apply(
    model: Model,
    photos: Photos,
    output: Output,
    labels: Labels = "auto",
    on_error: OnError = "raise",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ... Default: a GPU if there is one.", rich_help_panel="Performance")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(help="Watch the folder and score each new image once, until Ctrl+C.", rich_help_panel="Input"),
    ] = False,
    export: Export = "",
    pixel_threshold: PixelThreshold = None,
    verbose: Verbose = False,
) -> None:
    """Score new images against a reference model. They do not score each other: one image is enough.

    Writes scores.csv, results.json (with the defects of each image), report.html, maps/ and maps.npz for the new
    images, with the date, the size and the SHA-256 of the reference model. With --watch, writes watched.csv and maps/
    as images arrive.
    """
    with error_handler():
        from musc_lite.data.loaders import left_out

        formats = parse_formats(export)
        check_pixel_threshold(pixel_threshold)
        reject_output_inside_input(output, photos)
        check_model(model)
        if watch:
            options = {"--export": formats, "--pixel-threshold": pixel_threshold is not None}
            options |= {"--labels": labels != "auto", "--on-error": on_error != "raise"}
            if given := [name for name, is_given in options.items() if is_given]:
                raise ValueError(
                    f"--watch writes watched.csv and maps/ only, so {', '.join(given)} would do nothing: leave it "
                    "out, and later apply the model to the folder without --watch"
                )
            make_output_dir(output)
            keep_watching(model, photos, output, device)
            return
        images = load_photos(photos, labels, on_error)
        make_output_dir(output)
        check_file_names(output, images.names)

        from musc_lite.monitoring.reference import apply_reference

        seconds = {"start": time.perf_counter() - START}
        began = time.perf_counter()
        scores = apply_reference(model, images, device=device)
        seconds["scoring"] = time.perf_counter() - began

        from musc_lite.reports.export_maps import write_maps, write_scores
        from musc_lite.reports.export_results import remove_results, write_results
        from musc_lite.reports.report import Result, write_report
        from musc_lite.results.summary import describe_defects_outside_roi, describe_scores

        written = time.perf_counter()
        result = Result(batch_name(photos), scores, pixel_threshold=pixel_threshold)
        remove_results(output)
        write_scores(output / "scores.csv", scores)
        write_results(output, scores, formats, threshold=pixel_threshold, maps=True)
        warn_no_defects(scores, formats)
        write_maps(output, scores)
        report = write_report(
            output / "report.html", [result], title=f"{result.name} against {model.name}", maps="maps"
        )
        seconds["writing"] = time.perf_counter() - written
        print(f"Reference model {scores.about['reference']}")
        print_table([result], [seconds] if verbose else None)
        print_bit_depth(scores)
        if unseen := describe_defects_outside_roi(scores):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        for sentence in describe_scores(scores):
            print(sentence)
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")
