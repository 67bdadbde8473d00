"""How long work shows that it goes on: a bar where somebody looks on, a line every half minute in a log file."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain_tqdm

from musc_lite.utils.log import log_info

SECONDS_BETWEEN_LINES = 30
LINE = "{desc}: {percentage:.0f} % of {total_fmt} {unit}s after {elapsed}, about {remaining} to go"

_follower: ContextVar[Callable[[plain_tqdm], None] | None] = ContextVar("follower", default=None)


def progress_bar(*args, show: bool = True, **options) -> plain_tqdm:
    """Make a tqdm bar; where stderr is no terminal and no notebook shows it, one that writes lines.

    Within `progress_callback` nothing is written: the follower is called instead.

    Parameters
    ----------
    *args, **options
        Of `tqdm.auto.tqdm`; `desc`, `unit` and `total` are needed for lines.
    show : bool
        False hides it; so does the variable TQDM_DISABLE, which tqdm's notebook bar overlooks.

    Returns
    -------
    tqdm
    """
    if show and (follower := _follower.get()):
        return _Callback(follower, *args, **options)
    if not show or os.environ.get("TQDM_DISABLE"):
        return plain_tqdm(*args, **options, disable=True)
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    if in_notebook or sys.stderr.isatty():
        return tqdm(*args, **options)
    pace = dict.fromkeys(("mininterval", "maxinterval", "delay"), SECONDS_BETWEEN_LINES)
    return _Lines(*args, **options, **pace, bar_format=LINE, file=sys.stderr)


class _Lines(plain_tqdm):
    """Logs whole lines; none for work that ends before the first is due."""

    disable: bool

    @staticmethod
    def status_printer(file):
        def write(text: str) -> None:
            if text.strip():
                log_info(__name__, "%s", text)

        return write

    def close(self) -> None:
        if not self.disable:  # tqdm's own way ends with an empty line, or a carriage return
            self.disable = True
            self._decr_instances(self)


class _Callback(plain_tqdm):
    """Tells each step to a function, and writes nothing."""

    def __init__(self, follower: Callable[[plain_tqdm], None], *args, **options):
        self._follower = follower
        told = {"file": io.StringIO(), "mininterval": 0, "miniters": 1, "disable": False}  # whatever TQDM_DISABLE says
        super().__init__(*args, **{**options, **told})
        follower(self)

    def display(self, *_, **__) -> None:
        pass

    def update(self, n: float | None = 1) -> bool | None:
        displayed = super().update(n)
        self._follower(self)
        return displayed


@contextmanager
def progress_callback(follower: Callable[[plain_tqdm], None]) -> Iterator[None]:
    """Let the work of this thread tell its progress to a function: for pages, and to end it on the way.

    Parameters
    ----------
    follower : callable
        Called with the tqdm bar at its beginning and after each step. What it raises ends the work, as an error would:
        features that are extracted by then are kept where there is a `cache_dir`.
    """
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note the wall-clock time of a stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
