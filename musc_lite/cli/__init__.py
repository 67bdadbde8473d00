"""The command line, a file for each command; `main` lists them."""

from musc_lite.cli.main import app

__all__ = ["app"]
