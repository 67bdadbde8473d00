"""One selection for all explorers of a detector: who picks an image or a patch in one sees it in the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from musc_lite.detector.detector import Detector

PatchRef = tuple[int, int | None]  # an image, and a patch where one is picked


class Linked(Protocol):
    """What takes part: it says where it is, and can be sent elsewhere."""

    def select_patch(self, image: int, patch: int | None) -> None:
        """Show this image, and this patch."""


class LinkedSelection:
    """Sends the others where one goes. Of each kind of explorer the one made last takes part.

    (Widgets live as long as the kernel: a cell that is run ten times would leave nine that answer unseen.)
    """

    def __init__(self):
        self._members: WeakValueDictionary[type, Linked] = WeakValueDictionary()
        self._moving = False

    def join(self, member: Linked) -> None:
        """Take part from now on."""
        self._members[type(member)] = member

    def moved(self, member: Linked, place: PatchRef) -> None:
        """Send the others to the place where a member went, unless it was sent there itself."""
        if self._moving or self._members.get(type(member)) is not member:
            return
        with self._alone():
            for other in list(self._members.values()):
                if other is not member:
                    other.select_patch(*place)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._moving = True
        try:
            yield
        finally:
            self._moving = False


_of_detectors: WeakKeyDictionary[Detector, LinkedSelection] = WeakKeyDictionary()


def selection_of(detector: Detector) -> LinkedSelection:
    """Return the one selection of a detector."""
    return _of_detectors.setdefault(detector, LinkedSelection())
