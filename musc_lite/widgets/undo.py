"""What an explorer shows as one line of code, and the way back to what it showed before."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import traitlets

SECONDS_OF_A_DRAG = 0.7  # changes of one control that follow each other so closely are undone together


class History:
    """Remember the changes of some traits.

    Parameters
    ----------
    owner : HasTraits
    names : tuple of str
        The traits that make up its state; one that another one changes comes after it.
    subject : str
        What the owner is made of, as a variable's name: "detector".
    changed : callable
        Called after each change.
    """

    def __init__(self, owner: traitlets.HasTraits, names: tuple[str, ...], subject: str, changed: Callable[[], None]):
        self._owner, self._names, self._subject, self._changed = owner, names, subject, changed
        self._began = self._now = self._state()
        self._past: list[dict[str, Any]] = []
        self._asleep, self._last = False, ("", 0.0)
        if names:
            owner.observe(self._note, list(names))

    def __len__(self) -> int:
        return len(self._past)

    def undo(self) -> None:
        """Go one step back; at the beginning nothing happens."""
        if not self._past:
            return
        with self.without_history():
            for name, value in self._past.pop().items():
                setattr(self._owner, name, value)
        self._now = self._state()
        self._changed()

    @contextmanager
    def without_history(self) -> Iterator[None]:
        """Take no note of what changes here: it follows from another change, and is undone with it."""
        before, self._asleep = self._asleep, True
        try:
            yield
        finally:
            self._asleep = before

    def line(self, always: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> str:
        """Write the line that makes such an owner, with what differs from how it begins by itself."""
        given = [
            f"{name}={_plain(value)!r}"
            for name, value in self._state().items()
            if name in always or (value != self._began[name] and name not in never)
        ]
        return f"{type(self._owner).__name__}({', '.join([self._subject, *given])})"

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self._owner, name) for name in self._names}

    def _note(self, change) -> None:
        if self._asleep:
            return
        name, then = self._last
        self._last = change.name, time.monotonic()
        if not self._past or change.name != name or self._last[1] - then > SECONDS_OF_A_DRAG:
            self._past.append(self._now)
        self._now = self._state()
        self._changed()


def _plain(value: Any) -> Any:
    """Round what a slider left behind to what one would write."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return round(value, 6) if isinstance(value, float) else value
