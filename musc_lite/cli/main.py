"""The program that the commands register with."""

import typer

__all__ = ["app"]

app = typer.Typer(
    name="musc-lite",
    help="MuSc: find the odd ones among unlabeled images, by letting the images score each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
