"""The program: its commands, each a function in a file of its own."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import musc_lite
from musc_lite.cli.apply import apply
from musc_lite.cli.benchmark import benchmark
from musc_lite.cli.common import listed_examples
from musc_lite.cli.compare import compare
from musc_lite.cli.demo import demo
from musc_lite.cli.drift import drift
from musc_lite.cli.fit import fit
from musc_lite.cli.info import info
from musc_lite.cli.inspect import inspect
from musc_lite.cli.publish import publish
from musc_lite.cli.score import score
from musc_lite.cli.serve_app import serve
from musc_lite.cli.weights import weights

# In the order of the help: a new command is a file and a line here.
COMMANDS: dict[str, Callable] = {
    "demo": demo,
    "inspect": inspect,
    "score": score,
    "compare": compare,
    "fit": fit,
    "apply": apply,
    "info": info,
    "drift": drift,
    "benchmark": benchmark,
    "weights": weights,
    "publish": publish,
    "app": serve,
}


# Of the previous version: they work with a warning. A command comes first; an option anywhere after it.
OLD_COMMANDS = {"days": "drift"}
OLD_OPTIONS = {
    "--write": "--export",
    "--explore": "--interactive",
    "--set": "--scorer-param",
    "--trusted": "--references-good-only",
    "--windows": "--rescoring-sizes",
    "--window": "--search-window",
}


class Program(TyperGroup):
    """The program; it takes the names of the previous version too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace old names by those of today."""
        return super().parse_args(ctx, current_arguments(args))


def current_arguments(args: list[str]) -> list[str]:
    """Replace old names of commands and options, each with a line that says so.

    Examples
    --------
    >>> current_arguments(["drift", "model.musc", "out"])
    ['drift', 'model.musc', 'out']
    """
    found = []
    for k, text in enumerate(args):
        name, equals, value = text.partition("=")
        new = OLD_COMMANDS.get(name, name) if k == 0 else OLD_OPTIONS.get(name, name)
        if new != name:
            typer.echo(
                f"musc-lite: warning: {name} is called {new} now; the old name goes with the next version", err=True
            )
        found.append(new + equals + value)
    return found


def show_version(is_asked: bool) -> None:
    """Print the version and stop, if that was asked for."""
    if is_asked:
        typer.echo(f"musc-lite {musc_lite.__version__}")
        raise typer.Exit


def program() -> typer.Typer:
    """Return the program with these commands."""
    made = typer.Typer(
        name="musc-lite",
        help="Find anomalous images in a folder without labels or training: images are scored by mutual comparison "
        "(MuSc).",
        epilog=listed_examples(
            "musc-lite demo -o out/demo",
            "musc-lite score photos/ -o out/photos",
            "musc-lite app",
        ),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        cls=Program,
        rich_markup_mode="markdown",
    )

    @made.callback()
    def main(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for name, command in COMMANDS.items():
        made.command(name, epilog=getattr(command, "epilog", None))(command)
    return made


app = program()
