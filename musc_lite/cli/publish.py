"""Command that makes one HTML file of a line, to be explored without Python."""

import time
from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import START, Labels, Line, check_line, examples, load_photos, plain_errors


@examples(
    "musc-lite publish line.musc -o page.html",
    "musc-lite publish line.musc -o page.html --images photos/ --block 5",
)
def publish(
    line: Line,
    page: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write, such as page.html.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the photos that were fitted, where they are not any more where they were."),
    ] = None,
    labels: Labels = "auto",
    block: Annotated[
        int | None, typer.Option(help="Which of the line's blocks to show, counted from 0; by default the middle one.")
    ] = None,
    r: Annotated[
        int | None, typer.Option(help="Which of the line's degrees r; by default 3, else the largest.")
    ] = None,
    max_size: Annotated[
        str, typer.Option(help="How large the page may be. Where the photos do not all fit, some are left out.")
    ] = "1.5MB",
) -> None:
    """Write one HTML file in which a colleague can explore a line: its patches, interval, thresholds, re-scoring.

    The page needs no Python and no network. It computes from a few bytes a patch, and says how far that is from the
    exact numbers.
    """
    with plain_errors():
        check_line(line)
        if page.is_dir():
            raise ValueError(f"{page} is a folder; -o names the file to write, such as {page / 'page.html'}")
        from musc_lite.detector.detector import Detector
        from musc_lite.static_page.publish import publish

        detector = Detector.load(line)
        photos = None if images is None else load_photos([images], labels, "raise")
        written = publish(detector, page, photos, block=block, r=r, max_bytes=max_size)
        for sentence in written.words:
            print(sentence)
        print(f"{time.perf_counter() - START:.0f} s in all. Open {page}, {written.n_bytes / 1e6:.2f} MB, in a browser")
