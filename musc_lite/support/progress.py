"""How long work shows that it goes on: a bar where somebody looks on, a line every half minute in a log file."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain_tqdm

from musc_lite.support.log import tell

__all__ = ["progress_bar", "timed"]

SECONDS_BETWEEN_LINES = 30
LINE = "{desc}: {percentage:.0f} % of {total_fmt} {unit}s after {elapsed}, about {remaining} to go"


def progress_bar(*args, show: bool = True, **options) -> plain_tqdm:
    """Make a tqdm bar; where stderr is no terminal and no notebook shows it, one that writes lines.

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
                tell(__name__, "%s", text)

        return write

    def close(self) -> None:
        if not self.disable:  # tqdm's own way ends with an empty line, or a carriage return
            self.disable = True
            self._decr_instances(self)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note the wall-clock time of a stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
