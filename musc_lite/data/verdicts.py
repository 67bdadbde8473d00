"""What people found about images: good, bad or unsure, as a table that programs and people write."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from musc_lite.support.errors import DataNotFoundError
from musc_lite.support.files import atomic_path
from musc_lite.support.tables import from_cell, to_cells

if TYPE_CHECKING:
    from musc_lite.data.image_set import ImageSet

__all__ = ["VERDICTS", "Verdict", "match_verdicts", "read_verdicts", "sort_by_verdict", "write_verdicts"]

VERDICTS = ("good", "bad", "unsure")
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
    """Read a table with the columns image and verdict, and sha256, class and note where they are there.

    A spreadsheet's separator (a semicolon), byte order mark and line ends do not matter, nor do capitals of a verdict.
    A row without a verdict is no verdict. Of several rows on one image the last one counts.

    Raises
    ------
    DataNotFoundError
        If there is no such table, or no such columns in it.
    ValueError
        If a verdict is none: with its line.
    """
    if not Path(path).is_file():
        raise DataNotFoundError(f"there is no file {path}: the report and `musc-lite app` write verdicts.csv")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataNotFoundError(f"{path} is no table of verdicts: {error}") from error
    first = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    if not {"image", "verdict"} <= set(rows.fieldnames or ()):
        raise DataNotFoundError(f"{path} needs the columns image and verdict, got {first.strip()!r}")
    found: dict[str, Verdict] = {}
    for row in rows:
        values = {name: from_cell((row.get(name) or "").strip()) for name in COLUMNS}
        if not values["verdict"]:
            continue
        try:
            found[values["image"]] = Verdict(
                values["image"], values["verdict"].lower(), values["sha256"].lower(), values["class"], values["note"]
            )
        except ValueError as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    return [*found.values()]


def write_verdicts(path: str | Path, verdicts: Sequence[Verdict]) -> None:
    """Write a table that `read_verdicts` reads, complete or not at all."""
    with atomic_path(Path(path)) as partial, partial.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(to_cells([each.image, each.sha256, each.verdict, each.kind, each.note]) for each in verdicts)


def match_verdicts(images: "ImageSet", verdicts: Sequence[Verdict]) -> tuple[list[str], list[str]]:
    """Give each image's verdict, "" where there is none; and the names of those that were changed since theirs."""
    by_digest = {each.sha256: each.verdict for each in verdicts if each.sha256}
    by_name = {each.image: each for each in verdicts}
    kinds, changed = [], []
    for i, name in enumerate(images.names):
        named, digest = by_name.get(name), images.digest(i) if by_digest else ""
        if named is not None and named.sha256 and digest not in by_digest:
            changed.append(name)
            named = None
        kinds.append(by_digest.get(digest) or (named.verdict if named is not None else ""))
    return kinds, changed


def sort_by_verdict(images: "ImageSet", verdicts: Sequence[Verdict]) -> list[str]:
    """Give each image its verdict, "" where there is none: by its bytes where these are known, else by its name.

    Parameters
    ----------
    images : ImageSet
    verdicts : sequence of Verdict

    Returns
    -------
    list of N str

    Raises
    ------
    ValueError
        If no verdict is on any of the images, or one is on an image of this name with other bytes.
    """
    kinds, other = match_verdicts(images, verdicts)
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
    return kinds
