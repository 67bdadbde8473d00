"""The command `score`: score the images of a batch by mutual comparison."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    START,
    Contamination,
    Export,
    Labels,
    OnError,
    Output,
    Photos,
    PixelThreshold,
    Verbose,
    batch_name,
    error_handler,
    examples,
    load_photos,
    make_output_dir,
    print_bit_depth,
    print_cost,
    print_table,
    reject_output_inside_input,
    resolve_view,
    warn_no_defects,
)
from musc_lite.cli.method_options import (
    Method,
    parse_classes,
    parse_contamination,
    parse_formats,
    parse_groups,
    takes_method,
)
from musc_lite.detector.components import scorer_name
from musc_lite.utils.names import check_file_names
from musc_lite.utils.tables import write_frame
from musc_lite.utils.validation import check_pixel_threshold

if TYPE_CHECKING:
    from musc_lite.analysis.defect_classes import DefectClasses
    from musc_lite.analysis.groups import Groups
    from musc_lite.detector.detector import Detector

GROUPS = "groups.jpg"
INTERACTIVE = "explore.html"


@examples(
    "musc-lite score photos/ -o out/photos",
    "musc-lite score photos/ -o out/photos --image-size 448 --on-error skip",
    "musc-lite score bottle/ -o out/bottle --backbone ViT-L-14-336 --image-size 518",
)
@takes_method
def score(
    photos: Photos,
    output: Output,
    method: Method,
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
    groups: Annotated[
        str | None,
        typer.Option(
            help="In a batch of several kinds of images, compare with one group: largest, or its number.",
            rich_help_panel="Advanced",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Cluster the defects into this number of classes, or auto: estimate it.", rich_help_panel="Advanced"
        ),
    ] = None,
    export: Export = "",
    pixel_threshold: PixelThreshold = None,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            help="Also write explore.html, in which every patch can be clicked.",
            rich_help_panel="Output",
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Score the images of a folder by comparing them with each other.

    Writes report.html, scores.csv, results.json (with the defects of each image), maps/ and maps.npz to the output
    folder; groups.jpg if there are several kinds of images; kinds.csv with --classes. Several folders and files form
    one batch. Features are cached in OUTPUT/features: an interrupted run resumes when it is started again.
    """
    with error_handler():
        from musc_lite.data.loaders import left_out
        from musc_lite.data.roi import WHOLE

        # What needs no torch comes first: its import takes seconds, a slip of the pen is known at once.
        share, normal = parse_contamination(contamination), parse_groups(groups)
        n_classes = parse_classes(classes)
        formats = parse_formats(export)
        check_pixel_threshold(pixel_threshold)
        method.check()
        reject_output_inside_input(output, photos)
        images = load_photos(photos, labels, on_error)
        if n_classes is not None and n_classes > len(images):
            raise ValueError(f"{len(images)} images hold at most as many kinds of defect, got --classes {n_classes}")
        make_output_dir(output)
        check_file_names(output, images.names)

        detector = method.detector(share, cache_dir=output / "features").set_params(groups=normal)
        if interactive:
            from musc_lite.static_page.payload import check_shows

            check_shows(detector.components.scorer)
        detector, resolved_view = resolve_view(detector, images, output)
        if resolved_view.region == WHOLE:
            (output / "region.jpg").unlink(missing_ok=True)  # of an earlier run
        print_cost(detector, images)
        seconds = {"start": time.perf_counter() - START}
        scores = detector.fit(images).scores_
        written = time.perf_counter()

        from musc_lite.detector.explain import find_evidence
        from musc_lite.reports.export_maps import write_maps, write_scores
        from musc_lite.reports.export_results import remove_results, write_results
        from musc_lite.reports.report import Result, write_report
        from musc_lite.results.summary import (
            describe_defect_classes,
            describe_defects_outside_roi,
            describe_groups,
            describe_scores,
        )

        remove_results(output)
        lots = _write_groups(detector, output)
        kinds = None if classes is None else _write_kinds(output / "kinds.csv", detector, n_classes)
        result = Result(
            batch_name(photos),
            scores,
            evidence=find_evidence(detector),
            groups=lots,
            classes=kinds,
            pixel_threshold=pixel_threshold,
        )
        write_scores(output / "scores.csv", scores)
        write_results(output, scores, formats, threshold=pixel_threshold, kinds=kinds, maps=True)
        warn_no_defects(scores, formats)
        write_maps(output, scores)
        page = _write_page(detector, output) if interactive else None
        report = write_report(
            output / "report.html",
            [result],
            title=f"{_title(method)} on {result.name}",
            maps="maps",
            explore=page,
        )
        seconds |= {**scores.seconds, "writing": time.perf_counter() - written}
        print_table([result], [seconds] if verbose else None)
        print_bit_depth(scores)
        if unseen := describe_defects_outside_roi(scores):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        for sentence in describe_scores(scores):
            print(sentence)
        if lots is not None:
            print(*describe_groups(lots, scores), f"See {output / GROUPS}")
        if kinds is not None:
            print(" ".join(describe_defect_classes(kinds)))
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


def _title(method: Method) -> str:
    name = scorer_name(method.method)
    return "MuSc" if name == "mutual" else f"The method {name}"


def _write_kinds(path: Path, detector: "Detector", n_classes: int | None) -> "DefectClasses":
    """Sort defects by the kind of its defect, and write a table of the regions, the most severe first."""
    from musc_lite.analysis.defect_classes import defect_classes
    from musc_lite.analysis.severity import severity

    scores, patch_scores = detector.scores_, detector.patch_scores_
    kinds = defect_classes(detector.features_, patch_scores, scores.is_outlier, n_classes)
    table = kinds.to_frame(scores.names, severity(kinds.regions, patch_scores, scores.is_outlier))
    write_frame(path, table)
    return kinds


def _write_page(detector: "Detector", output: Path) -> str | None:
    """Write the page to explore and say what it is; what does not fit on a page costs no one the report."""
    from musc_lite.static_page.publish import publish

    try:
        print("\n".join(publish(detector, output / INTERACTIVE).words))
    except ValueError as error:
        print(f"musc-lite: warning: no {INTERACTIVE} was written: {error}", file=sys.stderr)
        return None
    return INTERACTIVE


def _write_groups(detector: "Detector", output: Path) -> "Groups | None":
    """Draw which kinds of image there are, where that was asked for or there are several."""
    from musc_lite.detector.explain import groups_to_show
    from musc_lite.reports.group_plots import write_groups

    groups = groups_to_show(detector)
    if groups is not None:
        write_groups(output / GROUPS, groups, detector.scores_)
    return groups
