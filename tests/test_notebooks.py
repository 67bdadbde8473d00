"""Notebooks are committed executed, small, in step with their texts; and their exercises accept the right answers."""

import ast
import asyncio
import importlib.util
import os
import re
import shutil
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
from answer_exercises import answered
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupytext.async_contentsmanager import build_async_jupytext_contents_manager_class
from nbclient import NotebookClient

from musc_lite import planted_textures

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" and c.source.strip()]


@each_notebook
def test_notebook_is_executed_whole_and_small(path):
    cells = code_cells(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for c in cells for output in c.outputs)
    assert path.stat().st_size < 700_000


@each_notebook
def test_notebook_and_text_agree(path):
    text = jupytext.read(path.parent / "text" / f"{path.stem}.md")
    notebook = nbformat.read(path, as_version=4)
    assert [(c.cell_type, c.source) for c in text.cells] == [(c.cell_type, c.source) for c in notebook.cells]


@each_notebook
def test_figures_have_words_for_who_cannot_see_them(path):
    for cell in code_cells(path):
        if any({"image/png", "image/jpeg"} & set(output.get("data", {})) for output in cell.outputs):
            words = cell.metadata.get("mystnb", {})
            assert len(words["image"]["alt"]) > 30, cell.source
            assert len(words["figure"]["caption"]) > 20, cell.source


@each_notebook
def test_imports_are_required_somewhere(path):
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {name_of(r) for r in requirements["dependencies"] + requirements["optional-dependencies"]["lab"]}
    required |= {"musc-lite"}
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(re.sub(r"(?m)^(\s*)%.*", r"\1pass", cell.source))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                assert {name_of(d) for d in distributions()[top]} & required, f"{path.name} imports {top}"


@cache
def distributions():
    """Look once: it takes seconds."""
    return packages_distributions()


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


@each_notebook
def test_badges_open_this_notebook_of_this_project(path):
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    owner_and_name = repository.removeprefix("https://github.com/")
    badges = nbformat.read(path, as_version=4).cells[0].source
    assert f"https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{path.name}" in badges
    assert f"https://mybinder.org/v2/gh/{owner_and_name}/main?urlpath=lab/tree/notebooks/{path.name}" in badges
    assert any(f"git+{repository}" in cell.source for cell in code_cells(path)[:2])


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[0].isdigit()], ids=lambda path: path.stem)
def test_there_are_three_exercises_that_nbval_runs_with_their_solutions(path):
    cells = answered(nbformat.read(path, as_version=4)).cells
    added = [k for k, cell in enumerate(cells) if cell.source.startswith("from IPython.utils.capture import")]
    assert len(added) == 3
    assert all("check" in cells[k - 1].metadata.tags for k in added)


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[0].isdigit()], ids=lambda path: path.stem)
def test_solutions_stand_apart_from_their_questions(path):
    cells = nbformat.read(path, as_version=4).cells
    headings = re.findall(r"(?m)^## .*", "\n\n".join(c.source for c in cells if c.cell_type == "markdown"))
    assert headings[-3:] == ["## Exercises", "## An open task", "## Solutions"]


def test_own_images_runs_on_another_folder_when_only_its_path_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    photos = tmp_path / "photos of the line"
    photos.mkdir()
    for k, picture in enumerate(planted_textures("grass", 5, 1, image_size=300)):
        picture.crop((0, 0, 300, 150 + 30 * k)).convert("L" if k == 2 else "RGB").save(photos / f"IMG_2024{k:04}.JPG")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    notebook = nbformat.read(ROOT / "notebooks/06_your_own_images.ipynb", as_version=4)
    first = next(c for c in notebook.cells if c.cell_type == "code")
    assert first.source.startswith('folder = ""')
    first.source = f"folder = {str(photos)!r}"
    here = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=here).execute()
    printed = str([c.get("outputs") for c in notebook.cells])
    assert "ImageSet(5 images" in printed
    assert "broken.jpg" in printed
    assert "IMG_20240003" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("here", "on_colab", "answer"), [(True, False, None), (False, True, None), (False, False, "y")]
)
def test_notebooks_ask_before_they_install_gigabytes(here, on_colab, answer, monkeypatch):
    cells = [[cell.source for cell in nbformat.read(path, 4).cells if "%pip" in cell.source] for path in NOTEBOOKS]
    assert all(each == cells[0] for each in cells)
    (cell,) = cells[0]
    asked, installed = [], []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: here or None)
    monkeypatch.setitem(sys.modules, "google.colab", sys if on_colab else None)
    if not on_colab:
        monkeypatch.delitem(sys.modules, "google.colab")
    shell = SimpleNamespace(run_line_magic=lambda *line: installed.append(line))
    for said in ("n", answer):
        names = {"input": lambda question, said=said: asked.append(question) or said, "get_ipython": lambda: shell}
        exec(TransformerManager().transform_cell(cell), names)
        if said == "n" and not on_colab:
            assert not installed
    assert bool(installed) == (not here)
    assert bool(asked) == (answer == "y")


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_lab_opens_a_notebook_whose_text_is_older(tmp_path):
    """Lab refuses a pair whose text is older and differs, if only in its header; `make notebooks` leaves it older."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("features"))
    for text in (tmp_path / "notebooks" / "text").iterdir():
        os.utime(text, (0, 0))
    contents = build_async_jupytext_contents_manager_class(AsyncLargeFileManager)()
    contents.root_dir = str(tmp_path / "notebooks")
    for path in NOTEBOOKS:
        assert asyncio.run(contents.get(path.name))["content"].cells
