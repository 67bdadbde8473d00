"""Score what arrives in a folder against a line, each photo once, until it is stopped.

What is done stands in a table, `watched.csv`, to which whole rows are added; a photo counts as done once its row is on
the disk. Killed at any moment and started again, the watch goes on where it was.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout
from PIL import Image

from musc_lite.data.decode import SKIP_HINT
from musc_lite.data.folders import existing_folder, find_images
from musc_lite.data.image_set import ImageSet
from musc_lite.detector import Detector
from musc_lite.line import line_digest
from musc_lite.results.exports import map_names, write_map
from musc_lite.results.plots import color_range
from musc_lite.results.scores import Scores
from musc_lite.results.watched import TABLE, Watched, add_rows, mend_table, read_watched
from musc_lite.support.errors import ImageReadError
from musc_lite.support.files import make_folder, remove_leftovers
from musc_lite.support.names import writable

__all__ = ["check_reference", "watch_folder"]

LOCK = ".watching.lock"
PATIENCE = 30  # seconds: a file that cannot be read and has not grown for so long will not become a photo
IN_REFERENCE = "is in the reference: it finds itself there and looks normal"


def watch_folder(
    line: str | Path,
    detector: Detector,
    folder: str | Path,
    output: str | Path,
    *,
    seconds: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Watched]:
    """Score photos as they arrive, and give each once what is said of it is on the disk.

    A file is read once its size and time have not changed between two looks; one that cannot be read is tried again
    when it changes, and is told after `PATIENCE` seconds. A photo that is replaced by another of its name is a new one.

    Parameters
    ----------
    line : str or Path
        The line file: its SHA-256 goes into the table.
    detector : Detector
        What was read from it.
    folder : str or Path
        Where photos arrive, also in folders of it.
    output : str or Path
        Gets watched.csv, and maps/ with the map of each photo over it.
    seconds : float
        From one look to the next.
    stop : callable
        Asked at each look whether to end.

    Raises
    ------
    ValueError
        If another process watches into the same output, or it was begun with another line file.
    """
    output, folder = make_folder(Path(output)), existing_folder(folder)
    reference = line_digest(line)
    try:
        with FileLock(output / LOCK, timeout=0):
            done = check_reference(output, reference)
            mend_table(output, done)
            remove_leftovers(output)
            remove_leftovers(output / "maps")
            yield from _watch(detector, folder, output, reference, done, seconds, stop)
    except Timeout as error:
        raise ValueError(f"another process watches into {output} already: stop it, or give another folder") from error


def check_reference(output: str | Path, reference: str) -> list[Watched]:
    """Read what a watch has said so far, or refuse a table that was begun with another line file."""
    done = read_watched(output)
    if done and done[-1].reference != reference:
        raise ValueError(
            f"{Path(output) / TABLE} was begun with another line file (SHA-256 {done[-1].reference[:12]}...): scores "
            "would not be comparable; give another folder with -o"
        )
    return done


@dataclass(frozen=True)
class _File:
    """A file as it is at one look."""

    path: Path
    name: str
    size: int
    modified_ns: int

    @property
    def state(self) -> tuple[str, int, int]:
        return self.name, self.size, self.modified_ns


_Photo: TypeAlias = tuple[_File, str, Image.Image]  # with its SHA-256


def _look(folder: Path) -> list[_File]:
    """List the photos, the oldest first; what goes away meanwhile is not there."""
    found = []
    try:
        paths, _ = find_images(folder)
    except OSError:  # a network drive that comes back
        return []
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            continue
        found.append(_File(path, writable(path.relative_to(folder).as_posix()), about.st_size, about.st_mtime_ns))
    return sorted(found, key=lambda file: file.modified_ns)


class _Waiting:
    """Which files have not changed since the last look, and were not tried in vain as they are."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[tuple[str, int, int], float]] = {}  # name: state, and when it was first seen so
        self._tried: set[tuple[str, int, int]] = set()

    def ready(self, files: Sequence[_File], now: float) -> list[tuple[_File, bool]]:
        """Give those to read now, and whether it is for the last time."""
        before, found = self._since, []
        self._since = {
            f.name: before[f.name] if before.get(f.name, ("",))[0] == f.state else (f.state, now) for f in files
        }
        for file in files:
            if file.name in before and before[file.name][0] == file.state:
                last = now - before[file.name][1] > PATIENCE
                if last or file.state not in self._tried:
                    found.append((file, last))
                    self._tried.add(file.state)
        return found


def _watch(
    detector: Detector,
    folder: Path,
    output: Path,
    reference: str,
    done: Sequence[Watched],
    seconds: float,
    stop: Callable[[], bool],
) -> Iterator[Watched]:
    states = {(each.image, each.size, each.modified_ns) for each in done}  # these files need not be read again
    contents = {(each.image, each.sha256) for each in done}
    colors, waiting = color_range(detector.anomaly_maps_), _Waiting()
    while not stop():
        ready = waiting.ready([file for file in _look(folder) if file.state not in states], time.monotonic())
        for start in range(0, len(ready), detector.batch_size):
            photos, rows = _read(ready[start : start + detector.batch_size], reference)
            states |= {file.state for file, digest, _ in photos if (file.name, digest) in contents}  # only touched
            photos = [each for each in photos if each[0].state not in states]
            if photos:
                rows += _score(detector, photos, output, reference, colors)
            if rows:
                add_rows(output, rows)
                states |= {(row.image, row.size, row.modified_ns) for row in rows}
                contents |= {(row.image, row.sha256) for row in rows}
                yield from rows
            if stop():
                return
        time.sleep(seconds)


def _read(files: Sequence[tuple[_File, bool]], reference: str) -> tuple[list[_Photo], list[Watched]]:
    """Read files, each once: the photos; and rows for those that are none, where it was the last try."""
    photos, rows = [], []
    for file, last in files:
        try:
            photos.append((file, *ImageSet([file.path], [file.name]).digest_and_image(0)))
        except ImageReadError as error:
            if last and (digest := _digest(file.path)):
                rows.append(_row(file, digest, reference, f"cannot be read: {_reason(error)}"))
    return photos, rows


def _reason(error: ImageReadError) -> str:
    """Say what is wrong with a file, without its name, which the row has, and without options of other commands."""
    return str(error).partition(" cannot be read: ")[2].removesuffix(SKIP_HINT) or str(error)


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # it is gone
        return None


def _score(
    detector: Detector,
    photos: Sequence[_Photo],
    output: Path,
    reference: str,
    colors: tuple[float, float],
) -> list[Watched]:
    """Score some photos, and write their maps before anything is said of them."""
    files, digests, images = zip(*photos, strict=True)
    scores: Scores = detector.score_images(ImageSet(images, [file.name for file in files]))
    for i, picture in enumerate(map_names(scores.names)):
        write_map(output / "maps" / picture, scores, i, colors)
    p_values = [None] * len(scores) if scores.p_values is None else scores.p_values.tolist()
    return [
        _row(
            file,
            digest,
            reference,
            IN_REFERENCE if detector.holds(digest) else "",
            float(scores.image_scores[i]),
            p_values[i],
            int(scores.is_outlier[i]),
        )
        for i, (file, digest) in enumerate(zip(files, digests, strict=True))
    ]


def _row(
    file: _File,
    digest: str,
    reference: str,
    remark: str,
    score: float | None = None,
    p_value: float | None = None,
    outlier: int = 0,
) -> Watched:
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    return Watched(at, file.name, digest, score, p_value, outlier, remark, reference, file.size, file.modified_ns)
