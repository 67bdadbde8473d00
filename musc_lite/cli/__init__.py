"""The command line, a file for each command; they stand here in the order of the help."""

from musc_lite.cli import common  # isort: skip  # first: the clock starts there
from musc_lite.cli import demo, inspect, score, compare, fit, apply, info, days  # isort: skip
from musc_lite.cli import benchmark, weights, publish, serve_app  # isort: skip
from musc_lite.cli.main import app

__all__ = [
    "app",
    "apply",
    "benchmark",
    "common",
    "compare",
    "days",
    "demo",
    "fit",
    "info",
    "inspect",
    "publish",
    "score",
    "serve_app",
    "weights",
]
