"""What the commands share: how photos are read, errors told, folders made and tables printed."""

import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musc_lite.reports.formats import FORMATS
from musc_lite.utils.errors import MuScError
from musc_lite.utils.names import writable

if TYPE_CHECKING:  # the command line answers before it needs torch
    from musc_lite.data.image_set import ImageSet
    from musc_lite.data.view import ResolvedView
    from musc_lite.detector.detector import Detector
    from musc_lite.reports.report import Result
    from musc_lite.results.scores import Scores

START = time.perf_counter()
LONG = 60  # seconds: what takes longer is announced

Photos = Annotated[
    list[Path], typer.Argument(help="Folders of images in any layout, or image files.", metavar="IMAGES")
]
Contamination = Annotated[
    str,
    typer.Option(
        rich_help_panel="Method", help="Expected fraction of defective images, or auto: estimated from the scores."
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        rich_help_panel="Advanced",
        help="auto: read labels where the layout is certain; folder: all outside of good/ is defective; none.",
    ),
]
OnError = Annotated[
    str, typer.Option(help="What to do with an unreadable image: raise or skip.", rich_help_panel="Input")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for results; created if it is missing.", rich_help_panel="Output")
]

Export = Annotated[
    str,
    typer.Option(
        "--export",
        rich_help_panel="Output",
        help="Export for other programs, separated by commas: "
        + "; ".join(f"{name}: {each.files}" + f" ({each.about})" * bool(each.about) for name, each in FORMATS.items())
        + ".",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also print the seconds of each stage.", rich_help_panel="Advanced")
]
PixelThreshold = Annotated[
    float | None,
    typer.Option(
        rich_help_panel="Advanced",
        help="Map value above which a pixel is defective. Default: set for each image, halfway from its median to its "
        "maximum or higher.",
    ),
]


@contextmanager
def error_handler() -> Iterator[None]:
    """Print the project's own errors as one message: exit code 1, interrupted 130; its warnings as one line each."""
    ready_streams()

    def one_line(message, *_, **__) -> None:
        print(f"musc-lite: warning: {message}", file=sys.stderr, flush=True)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = one_line
            warnings.filterwarnings("default", category=DeprecationWarning, module="musc_lite")  # old options
            warnings.filterwarnings("ignore", module="PIL")  # on damaged metadata, without the name of the file
            yield
    except (MuScError, ValueError, OSError) as error:
        print(f"musc-lite: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except (MemoryError, RuntimeError) as error:  # torch has an error of its own for a GPU, none for a CPU
        if not (isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)):
            raise
        print(
            "musc-lite: error: the memory of this machine is not enough: give --max-memory, such as 4GB, fewer images "
            "or a smaller --image-size",
            file=sys.stderr,
        )
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        print(
            "\nmusc-lite: interrupted; the features extracted so far are kept: run the same command to go on",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


Model = Annotated[Path, typer.Argument(help="A file that `musc-lite fit` or `Detector.save` wrote.", metavar="MODEL")]


def examples(*lines: str) -> Callable[[Callable], Callable]:
    """Decorate a command: these lines stand at the end of its help."""

    def decorate(command: Callable) -> Callable:
        command.epilog = listed_examples(*lines)  # type: ignore[attr-defined]
        return command

    return decorate


def listed_examples(*lines: str) -> str:
    """Return the end of a help text, in Markdown."""
    return "Examples:\n\n" + "\n".join(f"- `{line}`" for line in lines)


def ready_streams() -> None:
    """Let nothing that is printed end a run: without a console it goes nowhere, and unknown letters become escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a service, pythonw, a closed descriptor
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the program ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def load_photos(photos: list[Path], labels: str, on_error: str) -> "ImageSet":
    """Read a batch, and say how it was understood."""
    import numpy as np

    from musc_lite.data.quality import remarks_on_sizes

    images = open_photos(photos, labels, on_error)
    print(f"{len(images)} images; {images.labeling}", flush=True)
    for path, reason in images.skipped:
        print(f"musc-lite: left out {writable(str(path))}: {reason}", file=sys.stderr)
    for remark in remarks_on_sizes(np.array([images.size(i) for i in range(len(images))]), images.names):
        print(f"musc-lite: {remark}", file=sys.stderr)
    images.masks(8)  # a mask that does not fit is said now, not after the long work
    return images


def open_photos(photos: list[Path], labels: str, on_error: str = "raise") -> "ImageSet":
    """Load a folder, or several folders, files and patterns as one batch."""
    from musc_lite.data.loaders import load_folder

    photos = [path for each in photos for path in expand(each)]
    several = len(photos) > 1 or photos[0].is_file()
    return load_folder(photos if several else photos[0], on_error=on_error, labels=labels)


def expand(photos: Path) -> list[Path]:
    """Return what a pattern such as today/*.jpg stands for where the shell left it to us; other paths stay."""
    if photos.exists() or not has_magic(str(photos)):
        return [photos]
    found = sorted(map(Path, glob(str(photos), recursive=True)))
    if not found:
        raise ValueError(f"nothing matches {photos}")
    return found


def batch_name(photos: Sequence[Path]) -> str:
    """Return a name of the batch for people."""
    return writable(photos[0].resolve().name) if len(photos) == 1 else f"{len(photos)} folders and files"


def resolve_view(detector: "Detector", images: "ImageSet", output: Path) -> tuple["Detector", "ResolvedView"]:
    """Find where the objects are and how closely to look, where that is asked for, and show it before the long work.

    Returns the detector that need not find it again, and what it looks at.
    """
    from musc_lite.data.roi import WHOLE
    from musc_lite.detector.planning import fill_in_view

    seconds, setup = detector.components.view.seconds, detector.setup()
    detector = detector.with_components(view=fill_in_view(setup, images)).set_params(backbone=setup.backbone)
    resolved_view = detector.resolve_view(images)
    region = resolved_view.region
    if region != WHOLE:
        from musc_lite.reports.export_maps import write_region  # pictures: seconds before the first bar

        write_region(output / "region.jpg", images, region)
        shares = ", ".join(f"{share:.2f}" for share in region)
        print(f"Looking at the region {shares} of each photo: see {output / 'region.jpg'}", flush=True)
    if seconds is not None:
        rows, columns = resolved_view.tiles
        print(f"{seconds} s allow --tiles {rows}x{columns}, by an estimate: give that to look the same way again")
    return detector, resolved_view


def print_cost(detector: "Detector", images: "ImageSet", n_fits: int = 1) -> None:
    """Print how closely the photos are looked at, and before long work how long it takes."""
    from musc_lite.detector.planning import describe_resolution

    cost = detector.cost(len(images), images)
    cost = replace(cost, scoring_seconds=n_fits * cost.scoring_seconds, n_pairs=n_fits * cost.n_pairs)
    print(describe_resolution(detector.setup(), images, cost), flush=True)
    if cost.seconds > LONG:
        print(f"This takes {cost}. Features that are kept from an earlier run take no time.", flush=True)


def print_bit_depth(scores: "Scores") -> None:
    """Print how values of more than 8 bits were scaled, where there are any."""
    from musc_lite.data.pixels import describe_scales

    if text := "" if scores.images is None else describe_scales(scores.images.scales.found):
        print(text)


def warn_no_defects(scores: "Scores", formats: Sequence[str]) -> None:
    """Print where files for other programs are empty because no image is flagged."""
    if formats and not scores.is_outlier.any():
        print(
            f"musc-lite: warning: no image is flagged, so {', '.join(formats)} hold no defects: `score --contamination "
            "0.2` flags the fraction that you expect, `fit --false-alarm-rate` sets the threshold from good images",
            file=sys.stderr,
        )


def reject_output_inside_input(output: Path, photos: Iterable[Path]) -> None:
    """Raise an error rather than write into the folders that are read."""
    for folder in photos:
        # Not `Path.resolve`, which fails at a link to itself.
        if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(folder)):
            raise ValueError(f"the output folder {output} lies inside of {folder}: its pictures would be scored too")


def make_output_dir(output: Path) -> None:
    """Make a folder, and know that it can be written to before the long work."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {output} ({error.strerror}); give another folder with -o") from error


def print_table(results: "Sequence[Result]", seconds: Sequence[Mapping[str, float]] | None) -> None:
    """Print metrics, as far as there are any, and the seconds of each stage, if given; nothing without both."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from musc_lite.results.metrics import IN_TERMINAL, METRICS

    known = [name for name in IN_TERMINAL if any(getattr(r.metrics, name) == getattr(r.metrics, name) for r in results)]
    table = Table("data set", "images", *(METRICS[name].title for name in known), box=None, header_style="bold")
    if not known and not seconds:
        return
    seconds = seconds or [{}] * len(results)
    for stage in seconds[0]:
        table.add_column(f"{stage} (s)", justify="right")
    for result, stages in zip(results, seconds, strict=True):
        values = [getattr(result.metrics, name) for name in known]
        numbers = [f"{value:.3f}" if value == value else "–" for value in values]
        table.add_row(escape(result.name), str(len(result.scores)), *numbers, *(f"{s:.1f}" for s in stages.values()))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def check_model(model: Path) -> None:
    """Raise an error for a folder, and what is not there."""
    if model.is_dir():
        raise ValueError(f"{model} is a folder: give the file of a reference model first, such as model.musc")
    if not model.is_file():
        raise ValueError(f"there is no file {model}: `musc-lite fit IMAGES -o {model}` writes one")
