"""The table of a watch, `watched.csv`: a row for each photo, whole and on the disk, or not there."""

import csv
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from musc_lite.utils.errors import DataNotFoundError
from musc_lite.utils.files import atomic_write, write_error
from musc_lite.utils.tables import BYTE_ORDER_MARK, from_cell, to_cells

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
        SHA-256 of the model file.
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
    """Read what a watch has said so far; a row that is not whole, as after a power cut, is no row.

    Raises
    ------
    DataNotFoundError
        If the table there is none of a watch.
    """
    path = Path(output) / TABLE
    if not path.is_file():
        return []
    names = [field.name for field in fields(Watched)]
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = [*csv.reader(io.StringIO(text, newline=""))] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataNotFoundError(f"{path} is no table of a watch: {error}") from error
    if header != names and rows:
        raise DataNotFoundError(f"{path} is no table of a watch, which has the columns {', '.join(names)}")
    if rows and not text.endswith("\n"):
        rows.pop()
    return [row for row in map(_from_row, rows) if row is not None]


def _from_row(row: Sequence[str]) -> Watched | None:
    with suppress(ValueError):  # two halves of rows, or another number of cells
        at, image, digest, score, p_value, outlier, remark, reference, size, modified = map(from_cell, row)
        known, p_known = (float(value) if value else None for value in (score, p_value))
        return Watched(at, image, digest, known, p_known, int(outlier), remark, reference, int(size), int(modified))
    return None


def mend_table(output: Path, done: Sequence[Watched]) -> None:
    """Write the table anew where a row of it is not whole, or its header is missing."""
    whole = _header() + _rows(done)
    path = output / TABLE
    if not path.is_file() or path.read_bytes() != whole:
        with atomic_write(path) as partial:
            partial.write_bytes(whole)


def _header() -> bytes:
    return f"{BYTE_ORDER_MARK}{','.join(field.name for field in fields(Watched))}\n".encode()


def _rows(found: Sequence[Watched]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(to_cells(astuple(each)) for each in found)
    return text.getvalue().encode()


def add_rows(output: Path, found: Sequence[Watched]) -> None:
    """Add rows to the table: all are on the disk when this returns, or the table is as it was.

    Raises
    ------
    FileWriteError
        If the disk is full, the table is open in another program, ...
    """
    path = output / TABLE
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            content = _rows(found) if before else _header() + _rows(found)
            try:
                while content:
                    content = content[file.write(content) :]  # a disk that is nearly full takes a part
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise write_error(path, error) from error
