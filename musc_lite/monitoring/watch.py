"""Score what arrives in a folder against a line, each photo once, until it is stopped.

What is done stands in a table, `watched.csv`, to which whole rows are added; a photo counts as done once its row is on
the disk. Killed at any moment and started again, the watch goes on where it was.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout
from PIL import Image

from musc_lite.data.decode import SKIP_HINT
from musc_lite.data.discovery import existing_folder, find_images
from musc_lite.data.image_set import ImageSet
from musc_lite.detector.detector import Detector
from musc_lite.monitoring.reference import reference_digest
from musc_lite.monitoring.watch_log import TABLE, Watched, add_rows, mend_table, read_watched
from musc_lite.reports.export_maps import map_names, write_map
from musc_lite.reports.plots import map_color_limits
from musc_lite.results.scores import Scores
from musc_lite.utils.errors import DataNotFoundError, FileWriteError, ImageReadError, MuScError
from musc_lite.utils.files import ensure_dir, remove_leftovers
from musc_lite.utils.log import log_info
from musc_lite.utils.names import writable

LOCK = ".watching.lock"
TAIL = 1024  # bytes at the end of a file: no JPEG or PNG ends with so many zeros
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
    say: Callable[[str], None] = lambda text: log_info(__name__, text),
) -> Iterator[Watched]:
    """Score photos as they arrive, and give each once what is said of it is on the disk.

    A file is read once its size and time have not changed between two looks, and not while it is read. One that cannot
    be read is tried again when it changes, and gets a row after `PATIENCE` seconds. So long the watch also waits for a
    file that ends with zeros, since some programs reserve a file's whole size before they write to it. A photo that is
    replaced by another of its name is a new one, and its row says so.

    No failure ends the watch: a photo that cannot be scored gets a row that says why. A folder that is away, or cannot
    be listed, is reported once and listed again later. While the table cannot be written, its new rows wait.

    Parameters
    ----------
    line : str or Path
        the model file: its SHA-256 goes into the table.
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
    say : callable
        Takes a sentence on what hinders the watch; by default it is logged.

    Raises
    ------
    ValueError
        If another process watches into the same output, or it was begun with another reference model.
    """
    output, folder = ensure_dir(Path(output)), existing_folder(folder)
    reference = reference_digest(line)
    try:
        with FileLock(output / LOCK, timeout=0):
            done = check_reference(output, reference)
            mend_table(output, done)
            remove_leftovers(output)
            remove_leftovers(output / "maps")
            yield from _watch(detector, folder, output, reference, done, seconds, stop, say)
    except Timeout as error:
        raise ValueError(f"another process watches into {output} already: stop it, or give another folder") from error


def check_reference(output: str | Path, reference: str) -> list[Watched]:
    """Read what a watch has said so far, or refuse a table that was begun with another reference model."""
    done = read_watched(output)
    if done and done[-1].reference != reference:
        raise ValueError(
            f"{Path(output) / TABLE} was begun with another reference model (SHA-256 {done[-1].reference[:12]}...): "
            "scores would not be comparable; give another folder with -o"
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


_Photo: TypeAlias = tuple[_File, str, Image.Image, list[str]]  # with its SHA-256, and remarks on how it was read


def _look(folder: Path) -> tuple[list[_File], set[str]]:
    """List the photos, the oldest first, and what hinders that; what goes away meanwhile is not there."""
    found = []
    try:
        paths, left_out = find_images(folder)
    except (OSError, DataNotFoundError) as error:  # a network drive that comes back
        return [], {f"{error}; the watch waits until it is back"}
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            continue
        found.append(_File(path, writable(path.relative_to(folder).as_posix()), about.st_size, about.st_mtime_ns))
    closed = {f"{path}: {reason}; photos in it are not scored" for path, reason in left_out if os.path.isdir(path)}
    return sorted(found, key=lambda file: file.modified_ns), closed


class _Waiting:
    """Which files have not changed since the last look, and were not tried in vain as they are."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[tuple[str, int, int], float]] = {}  # name: state, and when it was first seen so
        self._tried: set[tuple[str, int, int]] = set()

    def ready(self, files: Sequence[_File], now: float) -> list[tuple[_File, bool]]:
        """Return those to read now, and whether it is for the last time."""
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
    say: Callable[[str], None],
) -> Iterator[Watched]:
    states = {(each.image, each.size, each.modified_ns) for each in done}  # these files need not be read again
    contents = {(each.image, each.sha256) for each in done}
    scored_at = {each.image: each.time for each in done if each.score is not None}
    colors, waiting, said = map_color_limits(detector.anomaly_maps_), _Waiting(), set[str]()
    while not stop():
        files, troubles = _look(folder)
        for trouble in sorted(troubles - said):
            say(trouble)
        said = troubles
        ready = waiting.ready([file for file in files if file.state not in states], time.monotonic())
        for start in range(0, len(ready), detector.batch_size):
            photos, rows = _read(ready[start : start + detector.batch_size], reference, detector)
            states |= {file.state for file, digest, _, _ in photos if (file.name, digest) in contents}  # only touched
            photos = [each for each in photos if each[0].state not in states]
            rows += _score(detector, photos, output, reference, colors)
            rows = [replace(row, remark=_also(row.remark, scored_at.get(row.image))) for row in rows]
            if rows and _record(output, rows, seconds, stop, say):
                scored_at |= {row.image: row.time for row in rows if row.score is not None}
                states |= {(row.image, row.size, row.modified_ns) for row in rows}
                contents |= {(row.image, row.sha256) for row in rows}
                yield from rows
            if stop():
                return
        time.sleep(seconds)


def _also(remark: str, scored_at: str | None) -> str:
    """Add to a remark that an earlier photo of this name was scored, if so."""
    return "; ".join([remark] * bool(remark) + [f"replaces a photo that was scored at {scored_at}"] * bool(scored_at))


def _record(
    output: Path, rows: Sequence[Watched], seconds: float, stop: Callable[[], bool], say: Callable[[str], None]
) -> bool:
    """Add rows to the table, as soon as it can be written; return whether they are there, as where it ends before."""
    n_tries = 0
    while True:
        try:
            add_rows(output, rows)
            return True
        except FileWriteError as error:
            if not n_tries:
                say(f"{error}; {len(rows)} rows wait until then")
        n_tries += 1
        if stop():
            say(
                f"{len(rows)} photos were scored, and their rows could not be written: the next watch scores them again"
            )
            return False
        time.sleep(seconds)


def _read(
    files: Sequence[tuple[_File, bool]], reference: str, detector: Detector
) -> tuple[list[_Photo], list[Watched]]:
    """Read files, each once: the photos; and rows for those that are none, where it was the last try."""
    photos, rows = [], []
    for file, last in files:
        try:
            if not last and _ends_with_zeros(file.path):
                continue
            images = ImageSet([file.path], [file.name]).scaled_as(detector.scales_)
            photo = (file, *images.digest_and_image(0), list(images.notes))
            about = file.path.stat()
            if (about.st_size, about.st_mtime_ns) == (file.size, file.modified_ns):  # else it was written to meanwhile
                photos.append(photo)
        except OSError:  # it is gone
            continue
        except ImageReadError as error:
            if last and (digest := _digest(file.path)):
                rows.append(_row(file, digest, reference, f"cannot be read: {_reason(error)}"))
    return photos, rows


def _ends_with_zeros(path: Path) -> bool:
    """Whether the last bytes of a file are 0: reserved, and not written yet; or a photo with a black edge."""
    with path.open("rb") as file:
        file.seek(-min(TAIL, path.stat().st_size), os.SEEK_END)
        return not any(file.read())


def _reason(error: ImageReadError) -> str:
    """Return what is wrong with a file, without its name, which the row has, and without options of other commands."""
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
    """Score some photos, and write their maps before anything is said of them; one that fails costs no other."""
    if not photos:
        return []
    files, digests, images, notes = zip(*photos, strict=True)
    try:
        scores: Scores = detector.score_images(ImageSet(images, [file.name for file in files]))
    except (MuScError, ValueError, OSError, RuntimeError, MemoryError) as error:
        if len(photos) > 1:
            return [row for photo in photos for row in _score(detector, [photo], output, reference, colors)]
        return [_row(files[0], digests[0], reference, f"cannot be scored: {error}")]
    remarks = []
    for i, (picture, digest) in enumerate(zip(map_names(scores.names), digests, strict=True)):
        remarks.append([IN_REFERENCE] * (digest in detector.fitted_.batch.digests) + notes[i])
        try:
            write_map(output / "maps" / picture, scores, i, colors)
        except FileWriteError as error:
            remarks[-1].append(f"no map: {error}")
    p_values = [None] * len(scores) if scores.p_values is None else scores.p_values.tolist()
    return [
        _row(
            file,
            digest,
            reference,
            "; ".join(remarks[i]),
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
