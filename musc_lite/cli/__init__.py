"""The command line: musc-lite demo | inspect | score | compare | benchmark | fit | apply | info | publish | app, ..."""

from musc_lite.cli import common  # isort: skip  # first: the clock starts there
from musc_lite.cli import score, compare, reference, benchmark, publish, serve_app  # isort: skip  # the order of --help
from musc_lite.cli.main import app

__all__ = ["app", "benchmark", "common", "compare", "publish", "reference", "score", "serve_app"]
