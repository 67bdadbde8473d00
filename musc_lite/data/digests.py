"""SHA-256 of files, each computed once."""

import hashlib
import os
import time
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from musc_lite.data.decode import open_file

__all__ = ["Digests"]

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
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}  # path -> (state, digest)

    def of_file(self, path: Path) -> str:
        """Give the digest of a file, which is opened only where it is not known.

        Raises
        ------
        ImageReadError
            If the file cannot be read.
        """
        with suppress(OSError):  # `open_file` says what is wrong
            if known := self._remembered(path, os.stat(path)):
                return known
        return open_file(path, lambda file: self.of_open(path, file))

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """Give the digest of a file that is open anyway, and leave it at its beginning."""
        about = os.fstat(file.fileno())  # before it is read: what is written meanwhile counts as a change
        if known := self._remembered(path, about):
            return known
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        if time.time_ns() - about.st_mtime_ns > TICK:
            self._known[path] = (_state(about), digest)
        return digest

    def _remembered(self, path: Path, about: os.stat_result) -> str | None:
        state, digest = self._known.get(path, (None, None))
        return digest if state == _state(about) else None


def _state(about: os.stat_result) -> tuple[int, int, int]:
    """Give what differs when a file has changed; the last, not on Windows, also where its time was set back."""
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns
