"""Copy the notebooks, and answer each exercise in the copies: as they are not at all, then right, then wrong.

    python tests/answer_exercises.py out/answered

nbval runs the copies: every cell of the course as it was committed, and after each check what follows from an answer.
"""

import re
import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ANSWER = """\
from IPython.utils.capture import capture_output as listen
check_cell = {check!r}
with listen() as said_unanswered:
    exec(check_cell)
with listen():
    exec({solution!r})
with listen() as said_right:
    exec(check_cell)
right_answer, answer_{number} = answer_{number}, -1
with listen() as said_wrong:
    exec(check_cell)
answer_{number} = right_answer
unanswered = "Exercise {number}: not answered. Put your answer in place of ... and run both cells.\\n"
assert said_unanswered.stdout == unanswered, said_unanswered.stdout
assert said_right.stdout == "Exercise {number}: correct.\\n", said_right.stdout
assert said_wrong.stdout.startswith("Exercise {number}: not yet. Hint: "), said_wrong.stdout
"""


def answered(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Add a cell after each check, which answers its exercise by the notebook's own solution."""
    written = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    solutions = dict(re.findall(r"(?s)Solution of exercise (\d)</summary>\n\n```python\n(.*?)\n```", written))
    cells, number = [], ""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            number = cell.source.split()[0].removeprefix("answer_")
        cells.append(cell)
        if "check" in tags:
            attempts = ANSWER.format(number=number, check=cell.source, solution=solutions.pop(number))
            cells.append(nbformat.v4.new_code_cell(attempts))
    if solutions:
        raise ValueError(f"there are solutions without an exercise and its check: {', '.join(solutions)}")
    return nbformat.from_dict(notebook | {"cells": cells})


def answer_all(folder: Path) -> None:
    """Write the copies to a folder, and take others away that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("*.ipynb"):
        earlier.unlink()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(answered(nbformat.read(path, as_version=4)), folder / path.name)


if __name__ == "__main__":
    answer_all(Path(sys.argv[1]))
