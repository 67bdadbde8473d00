"""SHA-256 of files, each computed once, and what their headers say of the depth of their values."""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from musc_lite.data.decode import is_deep, open_file

T = TypeVar("T")
ATTEMPTS = 3  # to read a file that changes meanwhile
TICK = 20_000_000  # ns; file systems of disks note times in steps of up to 10 ms


class Digests:
    """SHA-256 of files, remembered until they change.

    Size and times tell a change. A file that was changed within the last tick of the file system's clock is not
    remembered: one more change within that tick would show in neither.

    Examples
    --------
    >>> import tempfile
    >>> digests = Digests()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("a")
    ...     digests.of_file(Path(folder, "a.txt"))
    'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
    """

    def __init__(self):
        self._known: dict[Path, tuple[tuple[int, int, int], str, bool]] = {}  # path -> (state, digest, `is_deep`)

    def of_file(self, path: Path) -> str:
        """Return the digest of a file, which is opened only where it is not known.

        Raises
        ------
        ImageReadError
            If the file cannot be read.
        """
        return self._of_file(path)[0]

    def is_deep(self, path: Path) -> bool:
        """Whether the values of an image file are no unsigned 8-bit ones; raise as `of_file` does."""
        return self._of_file(path)[1]

    def _of_file(self, path: Path) -> tuple[str, bool]:
        with suppress(OSError):  # `open_file` says what is wrong
            if known := self._remembered(path, os.stat(path)):
                return known
        return open_file(path, lambda file: self._of_open(path, file))

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """Return the digest of a file that is open anyway, and leave it at its beginning."""
        return self._of_open(path, file)[0]

    def of_same_bytes(self, path: Path, file: BufferedReader, use: Callable[[BufferedReader], T]) -> tuple[str, T]:
        """Return the digest of an open file and `use(file)`, both of the same bytes.

        Raises
        ------
        ValueError
            If the file changes each time that it is read.
        """
        for _ in range(ATTEMPTS):
            about, is_old = os.fstat(file.fileno()), _is_old(os.fstat(file.fileno()))
            digest, result = self.of_open(path, file), use(file)
            is_same = is_old and _state(os.fstat(file.fileno())) == _state(about)
            if is_same or _sha256(file) == digest:
                return digest, result
            self._known.pop(path, None)
        raise ValueError("it changes while it is read: wait until it is complete")

    def _of_open(self, path: Path, file: BufferedReader) -> tuple[str, bool]:
        about = os.fstat(file.fileno())  # before it is read: what is written meanwhile counts as a change
        if known := self._remembered(path, about):
            return known
        found = _sha256(file), is_deep(file)
        file.seek(0)
        if _is_old(about):
            self._known[path] = (_state(about), *found)
        return found

    def _remembered(self, path: Path, about: os.stat_result) -> tuple[str, bool] | None:
        state, digest, deep = self._known.get(path, (None, "", False))
        return (digest, deep) if state == _state(about) else None


def _sha256(file: BufferedReader) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def _is_old(about: os.stat_result) -> bool:
    """Whether a file was changed so long ago that one more change would show in its times."""
    return time.time_ns() - about.st_mtime_ns > TICK


def _state(about: os.stat_result) -> tuple[int, int, int]:
    """Return what differs when a file has changed; the last, not on Windows, also where its time was set back."""
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns
