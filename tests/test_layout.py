"""How the package hangs together: its public names, what importing it costs, who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import musc_lite

PACKAGE = Path(musc_lite.__file__).parent


def test_importing_is_light_and_every_public_name_is_there():
    heavy = {"torch", "torchvision", "timm", "matplotlib", "sklearn", "scipy", "PIL", "IPython", "ipywidgets"}
    program = f"import sys, musc_lite; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(musc_lite.__all__) <= set(dir(musc_lite))
    for name in musc_lite.__all__:
        assert getattr(musc_lite, name).__doc__, name


def test_editors_see_the_public_names():
    """Names that are loaded when first used are not in the module's own code: the stub tells them."""
    jedi = pytest.importorskip("jedi", reason="comes with the extra 'lab'")
    shown = {name.name for name in jedi.Script("import musc_lite\nmusc_lite.").complete(2, len("musc_lite."))}
    assert {*musc_lite.__all__, "__version__"} <= shown
    code = "import musc_lite\nmusc_lite.MuSc"
    (found,) = jedi.Script(code).infer(2, len("musc_lite.MuSc"))
    assert found.full_name == "musc_lite.detector.musc.MuSc"
    assert (PACKAGE / "py.typed").is_file()


# A file imports from its own row and from rows above it; inside a row no files form a cycle.
ORDER = [
    "utils",
    "data",
    "backbones",
    "neighbors",
    "stages",
    "scorers",
    "analysis",
    "results",
    "detector",
    "reports",
    "benchmark",
    "exercises",
    "widgets",
    "static_page",
    "monitoring",
    "cli",
]


def test_files_import_only_from_above():
    rows = {name: ORDER.index(name.split(".")[0]) for name in graph()}
    found = {(name, other) for name, others in graph().items() for other in others if rows[other] > rows[name]}
    assert found == set(), "imported from a row below: mend the flow"


def test_no_files_import_each_other_in_a_circle():
    assert cycles(graph()) == []


def test_every_package_and_every_module_at_the_top_has_its_row():
    top = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | top == set(ORDER)
    assert len(list(PACKAGE.glob("*.py"))) <= 5


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import musc_lite.detector.detector", ["detector.detector"]),
        ("import musc_lite", ["__init__"]),
        ("from musc_lite import MuSc", ["MuSc"]),
        ("from musc_lite.neighbors import brute_force, gpu", ["neighbors.brute_force", "neighbors.gpu"]),
        ("from musc_lite.neighbors.gpu import fused", ["neighbors.gpu"]),
        ("def f():\n    if x:\n        import musc_lite.cli", ["cli"]),
        ("if TYPE_CHECKING:\n    import musc_lite.cli\nelse:\n    import musc_lite.data", ["cli", "data"]),
        ("import torch, musc_liter", []),
    ],
)
def test_what_counts_as_imported(code, modules):
    assert list(imported(ast.parse(code))) == modules


def test_a_circle_is_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [{"b", "c"}, {"d"}]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_relative_imports():
    """They would pass the rules above unseen."""
    for name, path in modules().items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level], name


@cache
def graph() -> dict[str, set[str]]:
    """Map each file to the files that it imports, within functions and for type checkers too."""
    return {
        name: set(imported(ast.parse(path.read_text(encoding="utf-8")))) & set(modules()) - {"__init__"}
        for name, path in modules().items()
        if name != "__init__"
    }


def cycles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of files that reach each other, and files that import themselves."""
    reached = {start: _reached(edges, start) for start in edges}
    groups = [{other for other in reached[name] if name in reached[other]} for name in edges if name in reached[name]]
    return [group for k, group in enumerate(groups) if group not in groups[:k]]


def _reached(edges: dict[str, set[str]], start: str) -> set[str]:
    found, open_ = set(), [start]
    while open_:
        new = edges.get(open_.pop(), set()) - found
        found |= new
        open_ += new
    return found


@cache
def modules() -> dict[str, Path]:
    """Map "neighbors.gpu" to its file, for each module; a package goes by its own name."""
    files = {path: path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(parts.parts).removesuffix(".__init__"): path for path, parts in files.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of the package that code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "musc_lite":
                    yield alias.name.partition(".")[2] or "__init__"
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "musc_lite":
            package = node.module.partition(".")[2]
            for name in dict.fromkeys(f"{package}.{alias.name}".lstrip(".") for alias in node.names):
                yield name if name in modules() or not package else package


def test_docstrings_of_private_names_take_three_lines_at_most():
    """What a reader needs who does not change the code stands with public names."""
    long = [
        f"{name}.{node.name}"
        for name, path in modules().items()
        for node in _private(ast.parse(path.read_text(encoding="utf-8")))
        if (ast.get_docstring(node, clean=False) or "").count("\n") > 2
    ]
    assert long == []


def _private(tree: ast.AST, inside: bool = False) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the functions and classes with a leading underscore, and all that is within these."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        private = inside or (named and node.name.startswith("_") and not node.name.startswith("__"))
        if named and private:
            yield node
        yield from _private(node, private)
