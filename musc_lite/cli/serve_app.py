"""The command for people who do not type commands: the page of a foreman, in the browser."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import musc_lite
from musc_lite.cli.common import examples, make_folder, plain_errors
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
    folder: Annotated[Path | None, typer.Argument(help="A folder of images that the page begins with.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for verdicts, features and the reference; made if missing.")
    ] = Path("out/app"),
    root: Annotated[
        Path | None, typer.Option(help="The page opens folders inside of this one only; by default any that you may.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help=f"Port of the page; by default {PORT}, or one near it.", min=1, max=65535)
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Say where the page is, and open nothing.")] = False,
) -> None:
    """Find the odd ones in the browser: look, mark good and bad, keep a reference, score what comes in.

    The page listens on this machine only, and opens by a link that works once: for others forward the port (ssh -L)
    and give --root. Ctrl+C ends it, with all that it started.
    """
    with plain_errors():
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise MuScError(f"the page needs {' and '.join(missing)}: pip install 'musc-lite[lab]'")
        places = Places(output.resolve(), Path.cwd(), None if root is None else _existing(root))
        if folder is not None:
            places = places.beginning_with(_existing(places.inside(str(folder))))
        make_folder(output)
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
