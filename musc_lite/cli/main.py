"""The program: its commands, each a function in a file of its own."""

from collections.abc import Callable

import typer

from musc_lite.cli.apply import apply
from musc_lite.cli.benchmark import benchmark
from musc_lite.cli.compare import compare
from musc_lite.cli.days import days
from musc_lite.cli.demo import demo
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
    "days": days,
    "benchmark": benchmark,
    "weights": weights,
    "publish": publish,
    "app": serve,
}


def program() -> typer.Typer:
    """Return the program with these commands."""
    made = typer.Typer(
        name="musc-lite",
        help="MuSc: find the odd ones among unlabeled images, by letting the images score each other.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in COMMANDS.items():
        made.command(name, epilog=getattr(command, "epilog", None))(command)
    return made


app = program()
