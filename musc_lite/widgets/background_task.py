"""Long work on a page that stays alive: a bar with the time left, a button that stops it, errors as sentences."""

import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import ipywidgets
import traitlets
from tqdm.std import tqdm

from musc_lite.utils.progress import progress_callback
from musc_lite.widgets.explorer import row
from musc_lite.widgets.messages import USER_ERRORS, error_html, told

SECONDS_BETWEEN = 0.2  # messages to the page


class Stopped(Exception):
    """The user stopped the work."""


class BackgroundTask(ipywidgets.VBox):
    """Runs one thing at a time in a thread.

    Attributes
    ----------
    busy : bool
        Whether it works; can be observed.
    bar : ipywidgets.FloatProgress
        From 0 to 1.
    words : ipywidgets.Label
        What is done, how far it is and how long it still takes.
    stop : ipywidgets.Button
    message : ipywidgets.HTML
        What was found; or what went wrong and what to do.
    """

    busy = traitlets.Bool()

    def __init__(self):
        self.bar = ipywidgets.FloatProgress(max=1.0, layout={"width": "240px"})
        self.words, self.message = ipywidgets.Label(), ipywidgets.HTML()
        self.stop = ipywidgets.Button(description="Stop", icon="stop", tooltip="what is extracted is kept")
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self.stop.on_click(lambda _: self._ask())
        self._progress = row(self.bar, self.stop, self.words)
        super().__init__([self._progress, self.message])
        self._show_progress(False)

    def start(self, work: Callable[[], Any], done: Callable[[Any, list[str]], str]) -> None:
        """Run work() in a thread, then done(result, warnings) there, which gives the message; nothing while busy.

        Work is stopped where it tells its progress (`musc_lite.utils.progress`).
        """
        if self.busy:
            return
        self._asked.clear()
        self._next, self.busy, self.message.value = 0.0, True, ""
        self.bar.value, self.words.value, self.stop.disabled = 0.0, "starting", False
        self._show_progress(True)
        self._thread = threading.Thread(target=self._run, args=(work, done), daemon=True)  # ends with the page
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is done: for tests and notebooks."""
        if self._thread is not None:
            self._thread.join()

    def say(self, text: str) -> None:
        """Write the message."""
        self.message.value = told(text)

    def refuse(self, error: Exception) -> None:
        """Show what went wrong."""
        self.message.value = error_html(error)

    def _run(self, work: Callable[[], Any], done: Callable[[Any, list[str]], str]) -> None:
        try:
            with collected_warnings() as texts, progress_callback(self._follow):
                result = work()
                self.say(done(result, list(texts)))
        except Stopped:
            self.say("Stopped. What was extracted is kept: start again, and it goes on where it was.")
        except USER_ERRORS as error:
            self.refuse(error)
        except Exception as error:  # nobody's input: said here too, with what a developer needs in the terminal
            traceback.print_exc(file=sys.__stderr__)
            self.refuse(RuntimeError(f"an error of the program, {type(error).__name__}: {error}"))
        finally:
            self._show_progress(False)
            self.busy = False

    def _follow(self, bar: tqdm) -> None:
        """Take note of the progress, and end the work where that was asked for."""
        if self._asked.is_set():
            raise Stopped
        if (now := time.monotonic()) < self._next and bar.n:
            return
        self._next = now + SECONDS_BETWEEN
        self.bar.value = bar.n / bar.total if bar.total else 0.0
        self.words.value = in_words(bar.format_dict)

    def _ask(self) -> None:
        self._asked.set()
        self.stop.disabled, self.words.value = True, "stopping after what is being worked on"

    def _show_progress(self, shown: bool) -> None:
        self._progress.layout.display = None if shown else "none"


_texts: dict[int, list[str]] = {}  # of each thread that collects its warnings
_show_others = warnings.showwarning


def _show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    texts = _texts.get(threading.get_ident())
    if texts is not None and category is UserWarning:
        texts.append(str(message))
    else:
        _show_others(message, category, *where, **more)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the texts of the `UserWarning`s of this thread; those of other threads are shown as before.

    `warnings.catch_warnings` would take the warnings of all threads, such as those of a cell that runs meanwhile.
    """
    global _show_others
    if warnings.showwarning is not _show:
        _show_others, warnings.showwarning = warnings.showwarning, _show
    warnings.simplefilter("always", UserWarning)
    always = warnings.filters[0]
    try:
        yield _texts.setdefault(threading.get_ident(), [])
    finally:
        del _texts[threading.get_ident()]
        if not _texts:
            with suppress(ValueError):
                warnings.filters.remove(always)  # type: ignore[attr-defined]


def in_words(known: Mapping[str, Any]) -> str:
    """Return what a bar counts, how far it is and how long the rest takes; from its `format_dict`.

    Examples
    --------
    >>> known = {"prefix": "reading images", "n": 2, "total": 8, "elapsed": 10.0, "rate": None}
    >>> in_words(known)
    'reading images: 2 of 8, about 00:30 left'
    >>> in_words({**known, "n": 0})
    'reading images: 0 of 8'
    """
    n, total, elapsed = known["n"], known["total"] or 0, known["elapsed"]
    left = ""
    if n and elapsed:
        rate = known["rate"] or n / elapsed  # of the last steps: where some come from the cache the first are quick
        left = f", about {tqdm.format_interval(max(0, total - n) / rate)} left"
    return f"{known['prefix']}: {n:,.0f} of {total:,.0f}{left}"
