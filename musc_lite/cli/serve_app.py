"""The command `app`: the review app in the browser."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import musc_lite
from musc_lite.cli.common import error_handler, examples, make_output_dir
from musc_lite.monitoring.app_paths import Places
from musc_lite.utils.errors import MuScError

PAGE = Path(musc_lite.__file__).parent / "monitoring" / "page"  # the notebook, voila's settings and its template
NEEDED = ("voila", "ipywidgets", "anywidget")
PORT = 8866


@examples(
    "musc-lite app",
    "musc-lite app photos/ --root photos/",
)
def serve(
    folder: Annotated[Path | None, typer.Argument(help="Folder of images to open first.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for verdicts, features and the reference model.")
    ] = Path("out/app"),
    root: Annotated[
        Path | None, typer.Option(help="Open folders inside this one only. Default: any folder you may read.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help=f"Port of the page; by default {PORT}, or one near it.", min=1, max=65535)
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address and open no browser.")] = False,
) -> None:
    """Review images in the browser: find anomalies, mark good and bad, save a reference model, score new images.

    The page listens on this machine only and opens by a link that works once. To share it, forward the port (ssh -L)
    and give --root. Ctrl+C stops it and everything it started.
    """
    with error_handler():
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise MuScError(f"the page needs {' and '.join(missing)}: pip install 'musc-lite[lab]'")
        places = Places(output.resolve(), Path.cwd(), None if root is None else _existing(root))
        if folder is not None:
            places = places.beginning_with(_existing(places.inside(str(folder))))
        make_output_dir(output)
        os.environ |= {Places.VARIABLE: places.to_json(), "JUPYTER_PATH": _jupyter_path()}
        _serve(
            [f"--port={port or PORT}", "--Voila.ip=127.0.0.1", *(["--Voila.port_retries=0"] if port else [])],
            no_browser,
        )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return folder.resolve()


def _jupyter_path() -> str:
    """Where voila is to look for templates: first in the package."""
    return os.pathsep.join(filter(None, (str(PAGE), os.environ.get("JUPYTER_PATH"))))


def _serve(arguments: Sequence[str], no_browser: bool) -> None:
    """Run the page until it is ended."""
    from musc_lite.monitoring.server import Server

    # Settings are read from the package alone: voila would also run a voila.py of the folder that the user is in.
    server = Server(not no_browser, config_file_paths=[str(PAGE)], log_level="WARN")
    server.initialize([str(PAGE / "app.ipynb"), *arguments])
    server.start()
