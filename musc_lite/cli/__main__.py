"""`python -m musc_lite.cli`."""

from musc_lite.cli import app

app()
