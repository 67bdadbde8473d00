"""The command line: musc-lite demo | inspect | score | compare | benchmark | fit | apply | info | publish | app, ..."""

from musc_lite.cli import common  # isort: skip  # first: the clock starts there
from musc_lite.cli import batch, line, publishing, methods, data_sets, serve  # isort: skip  # in the order of the help
from musc_lite.cli.program import app

__all__ = ["app", "batch", "common", "data_sets", "line", "methods", "publishing", "serve"]
