"""Get a file from the network: its name stands for the whole file, checked, or for none.

``data_scripts/get_*.py`` say where a data set is; nothing here knows of one.
"""

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
import urllib3
from tqdm import tqdm

from musc_lite.data.discovery import from_here, user_path
from musc_lite.utils.errors import DownloadError
from musc_lite.utils.log import log_info

CHUNK = 1 << 14  # small: what a broken connection loses of bytes that had come
LARGEST = 100_000_000_000  # bytes: far more than any data set here has
BY_HAND = "get the file by hand and give that one (scripts in data_scripts/: --url FILE_OR_URL)"
KINDS = {
    b"PK": "a zip archive",
    b"\x1f\x8b": "gzip data",
    b"\xfd7zXZ\0": "xz data",
    b"BZh": "bzip2 data",
    b"7z\xbc\xaf": "a 7z archive, which Python does not read",
    b"Rar!": "a RAR archive, which Python does not read",
}
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


def fetch(
    source: str | Path,
    path: str | Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    largest: int = LARGEST,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
    progress: bool = True,
) -> Path:
    """Download a file, or go on where a download was interrupted.

    What has come is kept in ``NAME.partial`` and renamed at the end. It is continued only where the server shows that
    its file is still the same one; otherwise the download begins again.

    Parameters
    ----------
    source : str or Path
        An http or https address; or a local file (a path or file://), which is checked and used where it is.
    path : str or Path
        Where to write. A file there is not fetched again if it is right as far as `size` and `sha256` say.
    size, sha256 : int and str, optional
        What is known of the file: bytes, and 64 hexadecimal digits.
    largest : int
        Bytes that may come where `size` is unknown, so that an endless answer ends.
    timeout : float
        Seconds without a single byte after which the server counts as silent. A slow one may take its time.
    attempts : int
        So many attempts in a row may bring no further byte.
    pause : float
        Seconds before the second attempt; twice as many before each further one.
    progress : bool
        Show a bar, in a terminal.

    Returns
    -------
    Path
        `path`, or the local file.

    Raises
    ------
    DownloadError
        If the server refuses or stays silent, there is no room, or what came is not what was expected.
    """
    local = _local_file(source)
    if local is not None:
        if difference := _difference(local, size, sha256):
            raise DownloadError(f"{local} is not the expected file: {difference}; {BY_HAND}")
        return local
    path = Path(path)
    if path.is_file() and not _difference(path, size, sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(path, str(source))
    continued = True
    while continued:  # at most twice: what was begun earlier may have been wrong
        continued = partial.kept() > 0
        _receive_all(partial, size, largest, timeout, attempts, pause, progress)
        difference = _difference(partial.file, size, sha256)
        if not difference:
            os.replace(partial.file, path)
            partial.discard()
            return path
        partial.discard()
    raise DownloadError(f"{source} is not the expected file: {difference}; {BY_HAND}")


class _TryAgainError(Exception):
    """An attempt brought nothing that can be used; the next one may."""


class _Partial:
    """What has come of a file so far, and a note of which version of which file that is."""

    def __init__(self, path: Path, source: str):
        self.path, self.source = path, source
        self.file = path.with_name(f"{path.name}.partial")
        self._note = path.with_name(f"{path.name}.partial.json")

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def kept(self) -> int:
        """Count the bytes that can be continued: none where nothing tells two versions of the file apart."""
        return self.size() if any(self.read_note()) else 0

    def read_note(self) -> tuple[str | None, int | None]:
        """Return the validator and the bytes of the whole file, as far as the server told them."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return (note["validator"], note["total"]) if note["source"] == self.source else (None, None)
        except (OSError, ValueError, TypeError, KeyError):
            return None, None

    def write_note(self, validator: str | None, total: int | None) -> None:
        note = {"source": self.source, "validator": validator, "total": total}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _receive_all(
    partial: _Partial, size: int | None, largest: int, timeout: float, attempts: int, pause: float, progress: bool
) -> None:
    """Make attempts until everything is there."""
    failures, furthest = 0, partial.kept()
    while True:
        try:
            return _receive(partial, size, largest, timeout, progress)
        except requests.exceptions.SSLError as error:
            raise DownloadError(
                f"cannot download {partial.source} safely: {_reason(error, timeout)}; {BY_HAND}"
            ) from error
        except (*BROKEN, _TryAgainError) as error:
            reached = partial.size()
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            reason, wait = _reason(error, timeout), pause * 2 ** (failures - 1)
            if failures >= attempts:
                kept = f"{partial.kept()} bytes are kept in {partial.file}: run the same again to go on"
                advice = kept if partial.kept() else "Try again later"
                raise DownloadError(f"cannot download {partial.source}: {reason}. {advice}, or {BY_HAND}") from error
            if progress:
                log_info("musc_lite.download", "%s: %s; trying again in %g s", partial.path.name, reason, wait)
            time.sleep(wait)
        except requests.RequestException as error:  # no valid address, too many redirections
            raise DownloadError(f"cannot download {partial.source}: {error}; {BY_HAND}") from error
        except OSError as error:
            raise DownloadError(
                f"cannot write {partial.file}: {error.strerror or error}. {partial.kept()} bytes are kept there. "
                "Make room and run the same again to go on"
            ) from error


def _receive(partial: _Partial, size: int | None, largest: int, timeout: float, progress: bool) -> None:
    """Ask for what is missing, and write it."""
    offset, (known_validator, known_total) = partial.kept(), partial.read_note()
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known_validator:
            headers["If-Range"] = known_validator
    with requests.get(partial.source, headers=headers, stream=True, timeout=timeout) as response:
        start, total = _start_and_total(response, offset)
        validator = _validator(response)
        changed = _differ(total, known_total) or _differ(validator, known_validator)
        if response.status_code == 416 and total == offset and not changed:
            return
        if response.status_code == 416 or (start and (changed or start != offset)):
            partial.discard()
            raise _TryAgainError("the file on the server is another one now")
        _refuse(response, partial.path.name, size, total)
        if size is None and (total or 0) > largest:
            raise _too_large(partial, largest)
        _check_room(partial.file.parent, None if total is None else total - start)
        with partial.file.open("r+b" if start else "wb") as file:
            if not start:
                partial.write_note(validator, total)
            file.seek(start)
            hidden = not progress or bool(os.environ.get("TQDM_DISABLE")) or None  # None hides it in log files
            bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=partial.path.name, disable=hidden)
            with bar:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
                    if size is not None and file.tell() > size:
                        return  # too much already
                    if size is None and file.tell() > largest:
                        raise _too_large(partial, largest)
    expected = size if total is None else total
    if expected is not None and partial.size() < expected:
        raise _TryAgainError(f"the connection ended after {partial.size()} of {expected} bytes")


def _too_large(partial: _Partial, largest: int) -> DownloadError:
    """Return the error of a file that has more bytes than may come, and remove what has come of it."""
    partial.discard()
    return DownloadError(f"{partial.source} has more than {largest:,} bytes, which is too large; {BY_HAND}")


def _differ(one: str | int | None, other: str | int | None) -> bool:
    return None not in (one, other) and one != other


def _start_and_total(response: requests.Response, offset: int) -> tuple[int, int | None]:
    """Read from the answer at which byte it starts, and how long the whole file is."""
    span = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)$", response.headers.get("Content-Range", ""))
    if response.status_code in (206, 416):
        return (int(span[1] or offset), int(span[2]) if span[2] != "*" else None) if span else (-1, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(response: requests.Response) -> str | None:
    """Return what tells versions of a file apart, as If-Range takes it: a strong ETag, or a date."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _refuse(response: requests.Response, name: str, size: int | None, total: int | None) -> None:
    """Raise where the answer is not the file: an error, a web page, another size."""
    status = f"the server answers {response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise _TryAgainError(status)
    if response.status_code not in (200, 206):
        raise DownloadError(f"cannot download {response.url}: {status}; {BY_HAND}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise DownloadError(f"{response.url} is a web page ({kind}) instead of {name}; {BY_HAND}")
    if size is not None and total not in (None, size):
        raise DownloadError(f"{response.url} has {total} bytes, {size} are expected; {BY_HAND}")


def _check_room(folder: Path, needed: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise DownloadError(f"{needed / 1e9:.2f} GB are needed in {folder}, {free / 1e9:.2f} are free: make room")


def _reason(error: Exception, timeout: float) -> str:
    """Return why an attempt failed."""
    if isinstance(error, _TryAgainError):
        return str(error)
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server sent nothing for {timeout:g} s"
    # Errors of the network come wrapped in each other: the innermost one says most.
    texts = re.findall(r"\[Errno [^\]]*\] ([^'\")]+)", str(error)) or re.findall(r"'([^']+)'", str(error))
    return texts[-1] if texts else "the connection broke"


def _local_file(source: str | Path) -> Path | None:
    """Return the local file that `source` names; None where it is an address."""
    scheme = str(source).partition("://")[0].lower() if "://" in str(source) else None
    if scheme in ("http", "https"):
        return None
    if scheme not in (None, "file"):
        raise DownloadError(f"{source}: only http, https and file addresses can be used, or a local file")
    path = Path(url2pathname(urlsplit(str(source)).path)) if scheme else user_path(source)
    if path.is_dir():
        raise DownloadError(f"{path} is a folder: give the archive (data that is unpacked can be used where it is)")
    if not path.is_file():
        raise DownloadError(f"there is no file {path}: check the spelling{from_here(Path(path))}")
    return path


def _difference(path: Path, size: int | None, sha256: str | None) -> str:
    """Return how a file differs from what is known of it; nothing if it does not."""
    there, kind = path.stat().st_size, describe(path)
    if size not in (None, there):
        return f"it has {there} bytes instead of {size} and is {kind}"
    if sha256 is None:
        return f"it is {kind}" if kind in ("an empty file", "a web page") else ""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if digest == sha256.lower() else f"its SHA-256 is {digest} instead of {sha256.lower()}, and it is {kind}"


def describe(path: Path) -> str:
    """Return what a file is by its first bytes."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((kind for magic, kind in KINDS.items() if head.startswith(magic)), "no archive that is known here")
