"""The command `score`: the photos of a batch, scored by each other."""

import sys
import time
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
    examples,
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
EXPLORE = "explore.html"


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
        str | None, typer.Option(help="Of several kinds of image, score all by one: largest, or a group's number.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Sort what stands out into so many kinds of defect, or auto: find how many.")
    ] = None,
    write: Write = "",
    pixel_threshold: PixelThreshold = None,
    explore: Annotated[
        bool, typer.Option("--explore", help="Write explore.html too, linked from the report: click patch by patch.")
    ] = False,
) -> None:
    """Score the images of a folder by each other.

    Writes scores.csv, results.json (with the defects of each image), report.html, maps/ (each image with its map) and
    maps.npz to the output folder; groups.jpg where the images are of several kinds, kinds.csv with --classes. Several
    folders and files are one batch. Features are kept in OUTPUT/features: interrupted and started again, it goes on
    where it was.
    """
    with plain_errors():
        from musc_lite.data.loaders import left_out
        from musc_lite.data.roi import WHOLE

        # What needs no torch comes first: its import takes seconds, a slip of the pen is known at once.
        share, normal = parse_contamination(contamination), parse_groups(groups)
        n_classes = parse_classes(classes)
        formats = parse_formats(write)
        check_pixel_threshold(pixel_threshold)
        method.check()
        check_apart(output, photos)
        images = load_photos(photos, labels, on_error)
        if n_classes is not None and n_classes > len(images):
            raise ValueError(f"{len(images)} images hold at most as many kinds of defect, got --classes {n_classes}")
        make_folder(output)
        check_file_names(output, images.names)

        detector = method.detector(share, cache_dir=output / "features").set_params(groups=normal)
        if explore:
            from musc_lite.static_page.payload import check_shows

            check_shows(detector.parts.scorer)
        detector, framing = settle_view(detector, images, output)
        if framing.region == WHOLE:
            (output / "region.jpg").unlink(missing_ok=True)  # of an earlier run
        say_cost(detector, images)
        seconds = {"start": time.perf_counter() - START}
        scores = detector.fit(images).scores_
        written = time.perf_counter()

        from musc_lite.detector.explain import find_evidence
        from musc_lite.reports.export_maps import write_maps, write_scores
        from musc_lite.reports.export_results import remove_results, write_results
        from musc_lite.reports.report import Result, write_report
        from musc_lite.results.summary import (
            describe_defect_classes,
            describe_groups,
            describe_scores,
            describe_unseen_defects,
        )

        remove_results(output)
        lots = _write_groups(detector, output)
        kinds = None if classes is None else _write_kinds(output / "kinds.csv", detector, n_classes)
        result = Result(
            named(photos),
            scores,
            evidence=find_evidence(detector),
            groups=lots,
            classes=kinds,
            pixel_threshold=pixel_threshold,
        )
        write_scores(output / "scores.csv", scores)
        write_results(output, scores, formats, threshold=pixel_threshold, kinds=kinds, maps=True)
        say_no_defects(scores, formats)
        write_maps(output, scores)
        page = _write_page(detector, output) if explore else None
        report = write_report(
            output / "report.html",
            [result],
            title=f"{_title(method)} on {result.name}",
            maps="maps",
            explore=page,
        )
        seconds |= {**scores.seconds, "writing": time.perf_counter() - written}
        print_table([result], [seconds])
        say_depth(scores)
        if unseen := describe_unseen_defects(scores):
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
    """Sort what stands out by the kind of its defect, and write a table of the regions, the most severe first."""
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
        print("\n".join(publish(detector, output / EXPLORE).words))
    except ValueError as error:
        print(f"musc-lite: warning: no {EXPLORE} was written: {error}", file=sys.stderr)
        return None
    return EXPLORE


def _write_groups(detector: "Detector", output: Path) -> "Groups | None":
    """Draw which kinds of image there are, where that was asked for or there are several."""
    from musc_lite.detector.explain import groups_to_show
    from musc_lite.reports.group_plots import write_groups

    groups = groups_to_show(detector)
    if groups is not None:
        write_groups(output / GROUPS, groups, detector.scores_)
    return groups
