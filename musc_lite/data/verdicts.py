"""What people found about images: good, bad or unsure, as a table that programs and people write."""

import codecs
import csv
import io
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

from filelock import FileLock

from musc_lite.data.image_set import ImageSet
from musc_lite.utils.errors import DataNotFoundError
from musc_lite.utils.files import atomic_write, ensure_dir
from musc_lite.utils.names import NameIndex, listed
from musc_lite.utils.tables import from_cell, to_cells

VERDICTS = ("good", "bad", "unsure")
TITLES_AMONG = 10  # first rows
COLUMNS = ("image", "sha256", "verdict", "class", "note")


@dataclass(frozen=True)
class Verdict:
    """What was found about one image.

    Attributes
    ----------
    image : str
        Its name in the batch.
    verdict : {"good", "bad", "unsure"}
    sha256 : str
        Of its file; empty: the name alone tells it.
    kind : str
        Of defect; the column `class`.
    note : str
    """

    image: str
    verdict: str
    sha256: str = ""
    kind: str = ""
    note: str = ""

    def __post_init__(self):
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"the verdict on {self.image!r} must be one of {', '.join(VERDICTS)}, got {self.verdict!r}"
            )


def read_verdicts(path: str | Path) -> list[Verdict]:
    """Load a table with the columns image and verdict, and sha256, class and note where they are there.

    What a spreadsheet saves is read: separated by commas, semicolons or tabs, with a line ``sep=;`` or a title above,
    as UTF-8, UTF-16 or code page 1252, with any line ends and any capitals of titles and verdicts. A row without a
    verdict is no verdict. Of several rows on one image the last one counts.

    Raises
    ------
    DataNotFoundError
        If there is no such table, or no such columns in it.
    ValueError
        If a verdict is none, or a row cannot be read: with its line.
    """
    if not Path(path).is_file():
        raise DataNotFoundError(f"there is no file {path}: the report and `musc-lite app` write verdicts.csv")
    try:
        text = _decoded(Path(path).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DataNotFoundError(f"{path} is no table of verdicts: {error}") from error
    rows, titles = _rows_below_titles(text)
    if rows is None:
        first = text.split("\n", 1)[0].strip()
        raise DataNotFoundError(f"{path} needs the columns image and verdict, got {first[:100]!r}")
    found: dict[str, Verdict] = {}
    try:
        for cells in rows:
            row = dict(zip(titles, cells, strict=False))
            image, digest, verdict, kind, note = (from_cell(row.get(name, "").strip()) for name in COLUMNS)
            if verdict:
                found[image] = Verdict(image, verdict.lower(), digest.lower(), kind, note)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    return [*found.values()]


def _decoded(data: bytes) -> str:
    """Decode a table as spreadsheets save it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _rows_below_titles(text: str) -> tuple[Any, list[str]]:
    """Find the separator by the titles, among the first rows; return a reader that comes to the rows below them."""
    for separator in (",", ";", "\t"):
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        with suppress(csv.Error):
            for cells in islice(rows, TITLES_AMONG):
                titles = [cell.strip().casefold() for cell in cells]
                if {"image", "verdict"} <= set(titles):
                    return rows, titles
    return None, []


def write_verdicts(path: str | Path, verdicts: Sequence[Verdict]) -> None:
    """Write a table that `read_verdicts` reads, complete or not at all."""
    with atomic_write(Path(path)) as partial, partial.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(to_cells([each.image, each.sha256, each.verdict, each.kind, each.note]) for each in verdicts)


def match_verdicts(images: ImageSet, verdicts: Sequence[Verdict]) -> tuple[list[str], list[str], list[Verdict]]:
    """Find each image's verdict.

    Names match exactly, else without regard to slashes, capitals and the Unicode form, or as absolute paths.

    Returns
    -------
    kinds : list of N str
        The verdicts, "" where there is none.
    changed : list of str
        Names of images that were changed since the verdict on them.
    unmatched : list of Verdict
        Verdicts on none of the images, by name and by content.
    """
    by_digest = {each.sha256: each.verdict for each in verdicts if each.sha256}
    digests = [images.digest(i) if by_digest else "" for i in range(len(images))]
    named = [(name, i) for i, name in enumerate(images.names)]
    if any(PureWindowsPath(each.image).root for each in verdicts):  # by absolute paths
        named += [(str(path.absolute()), i) for i, path in enumerate(images.sources) if isinstance(path, Path)]
    index = NameIndex(named)
    by_image: dict[int, Verdict] = {}
    unmatched = []
    names = set(images.names)
    for each in sorted(verdicts, key=lambda each: each.image in names):  # exact names come last, and count
        hits = set(index.find(each.image))
        if len({images.names[i] for i in hits}) == 1:
            by_image |= dict.fromkeys(hits, each)
        elif each.sha256 not in digests or not each.sha256:
            unmatched.append(each)
    kinds, changed = [], []
    for i, (name, digest) in enumerate(zip(images.names, digests, strict=True)):
        named = by_image.get(i)
        if named is not None and named.sha256 and digest not in by_digest:
            changed.append(name)
            named = None
        kinds.append(by_digest.get(digest) or (named.verdict if named is not None else ""))
    return kinds, changed, unmatched


def sort_by_verdict(images: ImageSet, verdicts: Sequence[Verdict]) -> list[str]:
    """Return each image its verdict, "" where there is none: by its bytes where these are known, else by its name.

    Raises
    ------
    ValueError
        If no verdict is on any of the images, or one is on an image of this name with other bytes.

    Warns
    -----
    UserWarning
        If some verdicts are on none of the images.
    """
    kinds, other, unmatched = match_verdicts(images, verdicts)
    if other:
        raise ValueError(
            f"{len(other)} images were changed since the verdict on them, such as {other[0]}: its SHA-256 is another; "
            "look again, or empty the column sha256"
        )
    if not verdicts:
        raise ValueError("there are no verdicts yet: mark images good or bad first")
    if not any(kinds):
        raise ValueError(
            f"none of the {len(verdicts)} verdicts is on one of the {len(images)} images: verdicts name "
            f"{verdicts[0].image!r} and the like, the images {images.names[0]!r}"
        )
    if unmatched:
        shown = listed([each.image for each in unmatched])
        warnings.warn(
            f"{len(unmatched)} of {len(verdicts)} verdicts are on none of the {len(images)} images: {shown}. "
            f"Of these {sum(each.verdict == 'bad' for each in unmatched)} are bad: where such an image has another "
            "name here, it stays in the reference; correct the column image",
            stacklevel=3,
        )
    return kinds


PATIENCE = 30  # seconds: another page writes its table in far less


class VerdictBook:
    """A table of verdicts that is read again before each change: another page, or a person, may have written there."""

    def __init__(self, path: Path):
        self.path = path  # verdicts.csv, which need not be there yet

    def read(self) -> list[Verdict]:
        """Return all verdicts, also those on images that are gone."""
        return read_verdicts(self.path) if self.path.exists() else []

    def mark(self, images: ImageSet, i: int, verdict: str) -> None:
        """Write the verdict on image i, and all of its copies; "" takes it back."""
        name, digest = images.names[i], images.digest(i)
        ensure_dir(self.path.parent)
        with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=PATIENCE):  # two pages may mark at once
            found = self.read()
            same = [each for each in found if each.sha256 == digest or each.image == name]
            rows = [each for each in found if each not in same]
            if verdict:
                known = next((each for each in same if each.image == name), Verdict(name, verdict))
                rows.append(replace(known, verdict=verdict, sha256=digest))  # a class and a note that are there stay
            write_verdicts(self.path, rows)

    def of(self, images: ImageSet) -> tuple[list[str], list[str]]:
        """Return the verdict of each image, "" if there is none; and the names of images changed since then."""
        return match_verdicts(images, self.read())[:2]
