"""The command `publish`: write a reference model as one interactive HTML file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from musc_lite.cli.common import START, Labels, Model, check_model, error_handler, examples, load_photos


@examples(
    "musc-lite publish model.musc -o page.html",
    "musc-lite publish model.musc -o page.html --images photos/ --block 5",
)
def publish(
    model: Model,
    page: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write, such as page.html.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the fitted images, if they have been moved."),
    ] = None,
    labels: Labels = "auto",
    block: Annotated[
        int | None, typer.Option(help="Block of the model to show, counted from 0. Default: the middle one.")
    ] = None,
    r: Annotated[
        int | None, typer.Option(help="Neighborhood size r of the model to show. Default: 3, else the largest.")
    ] = None,
    max_size: Annotated[
        str, typer.Option(help="Largest size of the page. Images that do not fit are left out.")
    ] = "1.5MB",
) -> None:
    """Write one HTML file in which a colleague can explore a model: patches, interval, thresholds, re-scoring.

    The page needs no Python and no network. It computes from a few bytes per patch and states the error of that.
    """
    with error_handler():
        check_model(model)
        if page.is_dir():
            raise ValueError(f"{page} is a folder; -o names the file to write, such as {page / 'page.html'}")
        from musc_lite.detector.detector import Detector
        from musc_lite.static_page.publish import publish

        detector = Detector.load(model)
        photos = None if images is None else load_photos([images], labels, "raise")
        written = publish(detector, page, photos, block=block, r=r, max_bytes=max_size)
        for sentence in written.words:
            print(sentence)
        print(f"{time.perf_counter() - START:.0f} s in all. Open {page}, {written.n_bytes / 1e6:.2f} MB, in a browser")
