"""The command that compares methods on one batch."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    LONG,
    START,
    Contamination,
    Labels,
    OnError,
    Output,
    Photos,
    batch_name,
    error_handler,
    examples,
    load_photos,
    make_output_dir,
    reject_output_inside_input,
    resolve_view,
)
from musc_lite.cli.method_options import Method, listed, parse_contamination, takes_method
from musc_lite.detector.components import COMPONENTS, check_methods
from musc_lite.utils.validation import check_compared

if TYPE_CHECKING:
    from musc_lite.detector.planning import Cost
    from musc_lite.results.comparison import Comparison


@examples(
    "musc-lite compare photos/ --methods mutual,subspace,memory,gaussian -o out/compare",
    "musc-lite compare photos/ --methods memory,gaussian --scorer-param references=20 -o out/trusted",
)
@takes_method
def compare(
    photos: Photos,
    output: Output,
    method: Method,
    methods: Annotated[
        str, typer.Option(help=f"Two or more of {listed(COMPONENTS['scorer'])}.")
    ] = "mutual,subspace,memory,gaussian",
    contamination: Contamination = "auto",
    labels: Labels = "auto",
    on_error: OnError = "raise",
) -> None:
    """Score the images of a folder with several methods and show where they disagree.

    Features are extracted once. Writes table.csv (metrics where there are labels, rank correlations, seconds, planned
    memory) and report.html (methods side by side on the images on which they disagree most) to the output folder.
    --scorer-param reaches each method that has such a parameter, all other options each method that they concern.
    """
    with error_handler():
        from musc_lite.data.loaders import left_out

        share, names = parse_contamination(contamination), methods.replace(",", " ").split()
        check_methods(names)
        method.check(names)
        reject_output_inside_input(output, photos)
        images = load_photos(photos, labels, on_error)
        check_compared(len(images))
        make_output_dir(output)

        from musc_lite.data.view import describe_patch_size
        from musc_lite.detector.compare import compare
        from musc_lite.detector.planning import estimate_cost

        detector, scorers = method.musc(share, cache_dir=output / "features"), method.scorers(names)
        detector, resolved_view = resolve_view(detector, images, output)
        print(describe_patch_size(resolved_view, images), flush=True)
        each = [detector.with_scorer(scorer).setup() for scorer in scorers.values()]
        _print_costs([estimate_cost(setup, len(images), resolved_view) for setup in each])
        comparison = compare(images, scorers, detector=detector)

        from musc_lite.reports.comparison_report import write_comparison
        from musc_lite.results.summary import describe_defects_outside_roi

        report = write_comparison(output, comparison, title=f"Methods compared on {batch_name(photos)}")
        _print_comparison(comparison)
        if unseen := describe_defects_outside_roi(next(iter(comparison.scores.values()))):
            print(f"musc-lite: warning: {unseen}", file=sys.stderr)
        print(f"{time.perf_counter() - START:.0f} s in all. Look at {report}")
        if images.skipped:
            print(f"Not seen: {left_out(images)}")


def _print_costs(costs: "Sequence[Cost]") -> None:
    """Print before long work by several methods how long it takes."""
    from musc_lite.detector.planning import duration

    extraction, scoring = costs[0].extraction_seconds, sum(cost.scoring_seconds for cost in costs)
    if extraction + scoring > LONG:
        print(
            f"This takes about {duration(extraction)} for features and {duration(scoring)} for scoring by "
            f"{len(costs)} methods. Features that are kept from an earlier run take no time.",
            flush=True,
        )


def _print_comparison(comparison: "Comparison") -> None:
    """Print a line for each method, and how they differ in words."""
    from rich.console import Console
    from rich.table import Table

    from musc_lite.results.metrics import IN_TERMINAL, METRICS
    from musc_lite.results.summary import describe_comparison

    frame = comparison.to_frame()
    known = [name for name in IN_TERMINAL if name in frame]
    columns = {"method": "method"} | {name: METRICS[name].title for name in known}
    columns |= {
        "outliers": "flagged",
        "own_outliers": "by it alone",
        "seconds": "seconds",
        "planned_gb": "GB, planned",
    }
    table = Table(*columns.values(), box=None, header_style="bold")
    for row in frame[list(columns)].to_dict("records"):
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for sentence in describe_comparison(comparison):
        print(sentence)
