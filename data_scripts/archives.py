"""Unpack an archive that is not trusted: its new folder holds all of it, or does not exist."""

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from download import describe
from tqdm import tqdm

from musc_lite.utils.errors import ArchiveError

BLOCK = 4096  # what even an empty file takes on a disk, about
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    largest: int,
    choose: Callable[[Path], Path] | None = None,
    progress: bool = True,
) -> Path:
    """Unpack a zip or tar archive (plain, gz, bz2 or xz) into a new folder.

    Parameters
    ----------
    archive : str or Path
        The archive. Its entries must be plain files and folders that lie inside it: links, devices, absolute paths
        and ``..`` are refused, wherever they lead.
    folder : str or Path
        The folder to make. It may exist if it is empty.
    largest : int
        Bytes that may come out of the archive, counted while they are written.
    choose : callable, optional
        Gets the folder with all that was unpacked, gives the one in it that shall become `folder`; see `find_folder`.
    progress : bool
        Show a bar, in a terminal.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    ArchiveError
        If `archive` is no archive, damaged, unsafe or too large, there is no room, or `folder` is there already.
        Nothing stays of what was unpacked.
    """
    archive, folder = Path(archive), Path(folder)
    with atomic_folder(folder) as unpacked:
        try:
            with archive.open("rb") as raw:
                _unpack_into(unpacked, raw, largest, progress)
        except DAMAGED as error:
            raise ArchiveError(f"{archive} ({describe(archive)}) cannot be unpacked: {error}; get it again") from error
        except OSError as error:
            raise ArchiveError(f"cannot unpack {archive} to {folder}: {error.strerror or error}") from error
        except (RuntimeError, ValueError) as error:  # encrypted, an unknown compression, a name that cannot be written
            raise ArchiveError(f"{archive} cannot be unpacked: {error}; try another program") from error
        if choose is not None:
            _keep_only(choose(unpacked), unpacked)
    return folder


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Return a temporary folder beside the real one, renamed at the end: no reader sees half of it.

    Raises
    ------
    ArchiveError
        If the real one is there already and not empty.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ArchiveError(f"{folder} is there already and stays as it is: give another folder, or delete that one")
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        building.mkdir(parents=True)
        yield building
        if folder.exists():
            folder.rmdir()  # it is empty; on Windows nothing can be renamed over it
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def find_folder(folder: Path, *patterns: str, depth: int = 2) -> Path:
    """Find the outermost folder in which a pattern matches, at most `depth` levels down.

    Parameters
    ----------
    folder : Path
        Where to begin.
    *patterns : str
        As for `Path.glob`; one of them is enough.
    depth : int
        How many levels down.

    Raises
    ------
    ArchiveError
        If there is none; the message says what is there instead.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "dataset-main", "bottle", "test").mkdir(parents=True)
    ...     find_folder(Path(folder), "*/test").name
    'dataset-main'
    """
    level = [folder]
    for _ in range(depth + 1):
        for candidate in level:
            if any(next(candidate.glob(pattern), None) for pattern in patterns):
                return candidate
        level = [child for parent in level for child in sorted(parent.iterdir()) if child.is_dir()]
    there = sorted(path.relative_to(folder).as_posix() for path in [*folder.glob("*"), *folder.glob("*/*")])
    listed = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "") or "nothing"
    raise ArchiveError(f"not the expected data: {' or '.join(patterns)} was looked for, there are {listed}")


def _unpack_into(folder: Path, raw: BinaryIO, largest: int, progress: bool) -> None:
    is_zip = raw.read(2) == b"PK"
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    _check_room(folder, _at_least(raw, size, is_zip), largest)
    count = 0

    def add(size: int) -> None:
        nonlocal count
        count += size
        if count > largest:
            raise ArchiveError(f"more than {largest / 1e9:g} GB come out of {raw.name}: it is left alone")

    hidden = not progress or bool(os.environ.get("TQDM_DISABLE")) or None  # None hides it in log files
    with tqdm(total=size, unit="B", unit_scale=True, desc="unpacking", disable=hidden) as bar:
        for name, content in _zip_entries(raw) if is_zip else _tar_entries(raw, largest):
            add(BLOCK)
            target = _inside(folder, name)
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while chunk := content.read(1 << 20):
                    add(len(chunk))
                    file.write(chunk)
            bar.update(max(raw.tell() - bar.n, 0))


def _at_least(raw: BinaryIO, size: int, is_zip: bool) -> int:
    """How many bytes will come out, as far as the archive says so beforehand."""
    if not is_zip:
        return size  # packed or not
    with zipfile.ZipFile(raw) as archive:
        return sum(info.file_size for info in archive.infolist())


def _check_room(folder: Path, needed: int, largest: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > largest:
        raise ArchiveError(f"{needed / 1e9:g} GB would come out of the archive, at most {largest / 1e9:g} are expected")
    if needed > free:
        raise ArchiveError(f"{needed / 1e9:.2f} GB are needed in {folder.parent}, {free / 1e9:.2f} are free: make room")


def _zip_entries(raw: BinaryIO) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield names with their content, None for folders."""
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{raw.name} holds {info.filename}, a link or device: it is left alone")
            if info.filename.endswith(("/", "\\")):
                yield info.filename, None
            else:
                with archive.open(info) as content:
                    yield info.filename, content


def _tar_entries(raw: BinaryIO, largest: int) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield names with their content, None for folders."""
    magic = raw.read(6)
    raw.seek(0)
    # These read files of several streams, as parallel packers write them; tarfile's own "r|xz" does not.
    openers: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.open,
        b"\xfd7zXZ\0": lzma.open,
        b"BZh": bz2.open,
    }
    stream = next((opened(raw) for start, opened in openers.items() if magic.startswith(start)), raw)
    # Entries are written by `_unpack_into`, not by tarfile, so tarfile's own filters have nothing to do.
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20, tarinfo=_StrictHeader) as archive:
        for member in archive:
            if not (member.isdir() or member.isreg()):
                raise ArchiveError(f"{raw.name} holds {member.name}, a link or device: it is left alone")
            yield member.name, archive.extractfile(member)
    rest = 0
    while rest < largest and (padding := stream.read(1 << 20)):  # to the checksum at the end of a compressed file
        rest += len(padding)


class _StrictHeader(tarfile.TarInfo):
    """A header that may not be damaged or missing, where tarfile would take it for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):
                raise  # a block of zeros is the end
            raise tarfile.ReadError(f"it is damaged or cut short ({error})") from error


def _inside(folder: Path, name: str) -> Path:
    """Return the path of an entry, and refuse names that lead out of the folder on any system."""
    parts = re.split(r"[/\\]", name)  # some packers write backslashes
    if ".." in parts or name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) or "\0" in name:
        raise ArchiveError(f"the archive holds {name!r}, which leads out of its folder: it is left alone")
    return folder.joinpath(*(part for part in parts if part not in ("", ".")))


def _keep_only(chosen: Path, folder: Path) -> None:
    """Replace a folder by one that it holds."""
    if chosen == folder:
        return
    outer = folder.with_name(f"{folder.name}.outer")
    try:
        inner = outer / chosen.relative_to(folder)
        folder.rename(outer)
        inner.rename(folder)
    finally:
        shutil.rmtree(outer, ignore_errors=True)
