"""The command `inspect`: what a folder holds, before anything is scored."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.cli.common import (
    Photos,
    error_handler,
    examples,
    make_output_dir,
    open_photos,
    reject_output_inside_input,
)
from musc_lite.utils.files import atomic_write
from musc_lite.utils.names import writable

if TYPE_CHECKING:
    pass


@examples(
    "musc-lite inspect photos/",
    "musc-lite inspect monday/ tuesday/ -o out/photos",
)
def inspect(
    photos: Photos,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for contact_sheet.jpg; created if it is missing.")
    ] = None,
) -> None:
    """Check the images of a folder before scoring: sizes, duplicates, quality. Takes seconds.

    Says which are there twice, dark, bright, blurred, gray, of another camera, shape or size, unreadable or left out,
    and what to do. With -o it also writes contact_sheet.jpg: thumbnails with names, those with remarks framed.
    """
    with error_handler():
        from musc_lite.data.quality import inspect_images

        if output is not None:
            reject_output_inside_input(output, photos)
            make_output_dir(output)
        # Neither labels nor masks matter here, so none of their errors does.
        found = inspect_images(open_photos(photos, "none"))
        print(found)
        for path, reason in found.images.skipped:
            print(f"musc-lite: left out {writable(str(path))}: {reason}", file=sys.stderr)
        if output is not None:
            from musc_lite.reports.contact_sheet import contact_sheet

            with atomic_write(output / "contact_sheet.jpg") as partial:
                contact_sheet(found).save(partial, "JPEG", quality=88)
            print(f"Look at {output / 'contact_sheet.jpg'}")
