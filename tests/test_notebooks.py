"""Notebooks are committed executed: nbval compares nothing in one that never ran."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_executed_whole_and_small(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" and c.source.strip()]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for c in cells for output in c.outputs)
    assert path.stat().st_size < 700_000


def test_there_is_a_notebook():
    assert NOTEBOOKS
