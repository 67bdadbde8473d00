"""The table of a watch, `watched.csv`: a row for each photo, whole and on the disk, or not there."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from musc_lite.support.errors import DataNotFoundError
from musc_lite.support.files import atomic_path

__all__ = ["Watched", "add_rows", "mend_table", "read_watched"]

TABLE = "watched.csv"


@dataclass(frozen=True)
class Watched:
    """What is said of one photo: a row of the table.

    Attributes
    ----------
    time : str
        When it was scored, local time (ISO 8601).
    image : str
        Path relative to the folder.
    sha256 : str
        Of the file.
    score, p_value : float or None
        None for a file that cannot be read; no p-value either where nothing is trusted.
    outlier : int
        1 where it stands out.
    remark : str
        What is wrong with it, if anything.
    reference : str
        SHA-256 of the line file.
    size, modified_ns : int
        Of the file: by them it is known again without reading it.
    """

    time: str
    image: str
    sha256: str
    score: float | None
    p_value: float | None
    outlier: int
    remark: str
    reference: str
    size: int
    modified_ns: int


def read_watched(output: str | Path) -> list[Watched]:
    """Read what a watch has said so far; a last row that was not written to its end is no row.

    Raises
    ------
    DataNotFoundError
        If the table there is none of a watch.
    """
    path = Path(output) / TABLE
    if not path.is_file():
        return []
    names = [field.name for field in fields(Watched)]
    text = path.read_text(encoding="utf-8")
    header, *rows = [*csv.reader(io.StringIO(text, newline=""))] or [[]]
    if header != names and rows:
        raise DataNotFoundError(f"{path} is no table of a watch, which has the columns {', '.join(names)}")
    if rows and not text.endswith("\n"):
        rows.pop()
    return [_from_row(row) for row in rows if len(row) == len(names)]


def _from_row(row: Sequence[str]) -> Watched:
    at, image, digest, score, p_value, outlier, remark, reference, size, modified = row
    known, p_known = (float(value) if value else None for value in (score, p_value))
    return Watched(at, image, digest, known, p_known, int(outlier), remark, reference, int(size), int(modified))


def mend_table(output: Path, done: Sequence[Watched]) -> None:
    """Write the table anew where its last row is not whole, or its header is missing."""
    whole = _rows([[field.name for field in fields(Watched)], *map(astuple, done)])
    path = output / TABLE
    if not path.is_file() or path.read_bytes() != whole:
        with atomic_path(path) as partial:
            partial.write_bytes(whole)


def _rows(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def add_rows(output: Path, found: Sequence[Watched]) -> None:
    """Add rows to the table, on the disk when this returns."""
    with (output / TABLE).open("ab", buffering=0) as file:
        file.write(_rows([astuple(each) for each in found]))
        os.fsync(file.fileno())
