"""Reckon how many minutes a chapter takes: prose at 150 words a minute, half a minute a code cell, 5 an exercise.

    python notebooks/teaching/minutes.py

150 words a minute is slow reading, with a look at the figures; cells that are hidden or that only plot are not read.
"""

import re
from pathlib import Path

import jupytext

TEXTS = Path(__file__).parents[1] / "text"
WORDS, CELL, EXERCISE = 150, 0.5, 5  # words a minute; minutes
UNREAD = {"remove-cell", "hide-input", "check", "exercise"}


def minutes(text: Path) -> float:
    """Reckon the minutes of one chapter, without its solutions."""
    total = 0.0
    for cell in jupytext.read(text).cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown" and "remove-cell" not in tags and "<details>" not in cell.source:
            total += len(re.findall(r"\w+", cell.source)) / WORDS
        elif cell.cell_type == "code":
            total += EXERCISE * ("exercise" in tags) + CELL * (not tags & UNREAD)
    return total


if __name__ == "__main__":
    for path in sorted(TEXTS.glob("0*.md")):
        print(f"{path.stem:32} {minutes(path):4.0f}")
