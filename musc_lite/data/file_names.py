"""Find images by names that people and other programs wrote.

A name is compared exactly first. Else slashes of either kind, a leading ``./``, capitals and the Unicode form
(composed, as on Windows, or decomposed, as on a Mac) do not matter.
"""

import unicodedata
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["NameIndex"]

T = TypeVar("T")


class NameIndex(Generic[T]):
    r"""Values by name.

    Parameters
    ----------
    pairs : iterable of (str, value)
        Several values may have one name.

    Examples
    --------
    >>> index = NameIndex([("day/a.png", 0), ("day/A.png", 1)])
    >>> index.find("day/A.png"), index.find("./DAY\\a.png"), index.find("b.png")
    ([1], [0, 1], [])
    """

    def __init__(self, pairs: Iterable[tuple[str, T]]):
        self._spelled: tuple[dict[str, list[T]], ...] = ({}, {}, {})
        for name, value in pairs:
            for found, spelling in zip(self._spelled, _spellings(name), strict=True):
                found.setdefault(spelling, []).append(value)

    def find(self, *names: str) -> list[T]:
        """Return the values of the first of the names that there is; all exact spellings come before all others."""
        spelled = [_spellings(name) for name in names]
        for level, found in enumerate(self._spelled):
            for spellings in spelled:
                if values := found.get(spellings[level]):
                    return values
        return []


def _spellings(name: str) -> tuple[str, str, str]:
    """Return a name as it is, with plain slashes and composed letters, and without regard to capitals."""
    plain = unicodedata.normalize("NFC", name.replace("\\", "/"))
    while plain.startswith("./"):
        plain = plain[2:]
    return name, plain, unicodedata.normalize("NFC", plain.casefold())
