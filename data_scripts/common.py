"""What the get_*.py scripts share: arguments, messages, the way from an archive to a folder. Not to be run."""

import argparse
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from archives import find_folder, unpack
from download import fetch

from musc_lite.data.datasets import look_up
from musc_lite.utils.errors import ArchiveError, MuScError


@dataclass(frozen=True)
class Archive:
    """Where a data set is, and what is known of it.

    Attributes
    ----------
    holds : tuple of str
        Patterns, as for `Path.glob`; the folder in which one matches is the data set.
    largest : int
        Bytes that may come out of it: a few times what it should hold.
    url : str, optional
        None where it must be got by hand.
    size, sha256 : int and str, optional
        Of the file at `url`.
    """

    holds: tuple[str, ...]
    largest: int
    url: str | None = None
    size: int | None = None
    sha256: str | None = None


def parse(description: str, arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to, made if missing")
    parser.add_argument(
        "--url", metavar="FILE_OR_URL", help="another source: a mirror's address, or an archive on this machine"
    )
    parser.add_argument("--sha256", help="refuse any other file from --url (64 hexadecimal digits)")
    parser.add_argument("--keep-archive", action="store_true", help="do not delete a downloaded archive at the end")
    options = parser.parse_args(arguments)
    if options.sha256 and not (options.url and re.fullmatch("[0-9a-fA-F]{64}", options.sha256)):
        parser.error("--sha256 takes 64 hexadecimal digits, and goes with --url")
    return options


@contextmanager
def error_handler() -> Iterator[None]:
    """Print errors as one message: exit code 1, interrupted 130."""
    try:
        yield
    except (MuScError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half is left; run the same command to go on", file=sys.stderr)
        sys.exit(130)


def is_there(archive: Archive, folder: Path) -> bool:
    """Whether the data set was got before."""
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in archive.holds)


@contextmanager
def fetched(archive: Archive, options: argparse.Namespace) -> Iterator[Path]:
    """Return the archive; delete it after use if it was downloaded, unless it shall be kept or something went wrong."""
    source = str(options.url or archive.url)
    published = {"size": archive.size, "sha256": archive.sha256}
    known: dict[str, Any] = {"sha256": options.sha256} if options.url else published
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(source).path).name) or "archive"
    target = options.out.with_name(f"{options.out.name}-{name}")
    file = fetch(source, target, largest=archive.largest, **known)
    try:
        yield file
    except ArchiveError as error:
        hint = f" (the download is kept: delete {file} to get it again)" if file == target else ""
        raise ArchiveError(f"{error}{hint}") from error
    if file == target and not options.keep_archive:
        file.unlink()


def get(archive: Archive, options: argparse.Namespace) -> None:
    """Download and unpack a data set that is one archive, unless it is there."""
    if is_there(archive, options.out):
        print(f"{options.out} is there already")
        return
    if options.out.exists() and (options.out.is_file() or any(options.out.iterdir())):
        raise ArchiveError(f"{options.out} is there already and holds something else: give another folder")
    with fetched(archive, options) as file:
        unpack(file, options.out, largest=archive.largest, choose=partial(choose, archive))


def choose(archive: Archive, unpacked: Path) -> Path:
    """Find the data set in what came out of an archive."""
    return find_folder(unpacked, *archive.holds)


def report(name: str, root: Path) -> None:
    """Say what can be read now of a data set of the catalog, and which command reads it."""
    data_set = look_up(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for category in data_set.find_categories(root):
            images = data_set.load(root, category)
            normal = int(np.sum(images.labels == 0))
            print(f"{category}: {normal} normal and {len(images) - normal} defective images to score")
    for warning in caught:
        print(f"note: {warning.message}")
    command = ["musc-lite", "benchmark", name, "--root", str(root), "--output", f"out/{name}"]
    print(f"next: {shlex.join(command)}")
