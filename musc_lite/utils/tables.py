"""CSV tables that a spreadsheet opens as text: UTF-8 with a byte order mark, and no cell is a formula.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front. So does a text
that begins with apostrophes and then one of these. `from_cell` removes it, so that every text comes back as it was.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musc_lite.utils.files import atomic_write

if TYPE_CHECKING:
    import pandas

BYTE_ORDER_MARK = "\ufeff"
FORMULA = re.compile(r"'*[=+\-@\t\r]")
ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def to_cells(values: Iterable[Any]) -> list[Any]:
    """Return the values with an apostrophe before each text that a spreadsheet would take for a formula.

    Examples
    --------
    >>> to_cells(["=1+1.png", "a.png", -0.5])
    ["'=1+1.png", 'a.png', -0.5]
    """
    return [f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value for value in values]


def from_cell(text: str) -> str:
    """Return the text that `to_cells` made a cell of.

    Examples
    --------
    >>> from_cell("'=1+1.png"), from_cell("'90s.png")
    ('=1+1.png', "'90s.png")
    """
    return text[1:] if ESCAPED.match(text) else text


def write_frame(path: Path, table: "pandas.DataFrame", float_format: str = "%.6f") -> None:
    """Write a data frame without its index as CSV, complete or not at all; `pandas.read_csv(path)` reads it."""
    table = table.assign(**{name: to_cells(table[name]) for name in table.select_dtypes(exclude="number")})
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, float_format=float_format, encoding="utf-8-sig", lineterminator="\r\n")
