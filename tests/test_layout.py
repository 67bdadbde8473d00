"""How the package hangs together: its public names, what importing it costs, who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
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
    assert found.full_name == "musc_lite.musc.MuSc"
    assert (PACKAGE / "py.typed").is_file()


# Images flow down this list: a module imports from its own package and from rows above its own, never from below.
ORDER = [
    "support",
    "data",
    "views",
    "backbones",
    "search",
    "stages",
    "scorers",
    "analysis",
    "results",
    "top",  # detector.py, budget.py and whatever else lies in musc_lite/ itself
    "evaluation",
    "widgets",
    "live",
    "cli",
]


def test_modules_import_only_from_above():
    rows = {name: ORDER.index(row(name)) for name in modules()}
    found = {
        (name, other)
        for name, path in modules().items()
        for other in imported(ast.parse(path.read_text(encoding="utf-8")))
        if ORDER.index(row(other)) > rows[name]
    }
    assert found == set(), "imported from a row below: mend the flow"


def test_every_package_has_its_row():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages | {"views", "top", "cli"} == set(ORDER)


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import musc_lite.detector", ["detector"]),
        ("import musc_lite", ["__init__"]),
        ("from musc_lite import MuSc", ["MuSc"]),
        ("from musc_lite.search import gpu, nearest", ["search.gpu", "search.nearest"]),
        ("from musc_lite.search.gpu import fused", ["search.gpu"]),
        ("def f():\n    if x:\n        import musc_lite.cli", ["cli"]),
        ("if TYPE_CHECKING:\n    import musc_lite.cli\nelse:\n    import musc_lite.saved", ["saved"]),
        ("import torch, musc_liter", []),
    ],
)
def test_what_counts_as_imported(code, modules):
    assert list(imported(ast.parse(code))) == modules


def test_no_relative_imports():
    """They would pass the rule above unseen."""
    for name, path in modules().items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level], name


def row(module: str) -> str:
    package = module.split(".")[0]
    return package if package in ORDER else "top"


def modules() -> dict[str, Path]:
    """Map "search.gpu" to its file, for each module; a package goes by its own name."""
    files = {path: path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(parts.parts).removesuffix(".__init__"): path for path, parts in files.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Give the modules of the package that code imports, within functions too, but not for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "musc_lite":
                    yield alias.name.partition(".")[2] or "__init__"
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "musc_lite":
            package = node.module.partition(".")[2]
            for name in dict.fromkeys(f"{package}.{alias.name}".lstrip(".") for alias in node.names):
                yield name if name in modules() or not package else package
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imported(ast.Module(node.orelse))
        else:
            yield from imported(node)
