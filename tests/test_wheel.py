"""What `pip install` gives: the wheel alone, in an environment without this checkout, runs the demo."""

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from musc_lite.backbones.weights import cache_folder

ROOT = Path(__file__).parents[1]


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["MUSC_LITE_CACHE"] = str(cache_folder().absolute())  # the weights are all that is shared
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools would take stale files out of `build/`, and leave some there."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "musc_lite", source / "musc_lite", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    run(sys.executable, "-c", build, cwd=source)
    (path,) = out.glob("*.whl")
    return path


def page_title(command, folder):
    """Start the page of the app, fetch it as a browser would, and end it."""
    pytest.importorskip("voila", reason="comes with the extra 'lab'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONUNBUFFERED": "1", "IPYTHONDIR": str(folder / "ipython"), "TMPDIR": str(folder)}
    environment["JUPYTER_PATH"] = str(Path(sys.prefix, "share", "jupyter"))  # voila's own templates
    with subprocess.Popen(
        [command, "app", "--no-browser"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = server.stdout.readline().split()[-1]
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            opener.open(url, timeout=30).close()
            page = opener.open(url.split("login")[0], timeout=60).read().decode()
        finally:
            server.terminate()
    assert "application/vnd.jupyter.widget-view+json" in page  # the notebook ran
    return re.search("<title>(.*?)</title>", page)[1].strip()


def test_wheel_holds_all_that_git_tracks_and_nothing_else(wheel):
    listed = subprocess.run(["git", "ls-files", "-z", "musc_lite"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git, which would list the files")
    tracked = {name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {Path(name).suffix for name in tracked} >= {".py", ".pyi", ".typed", ".js", ".css", ".jinja", ".mplstyle"}
    assert sorted(tracked - held) == []
    assert {name.split("/")[0] for name in held} == {"musc_lite"}


def test_the_demo_runs_from_the_wheel(wheel, tmp_path):
    home, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, symlinks=os.name != "nt")
    scripts, packages = (
        Path(sysconfig.get_path(kind, "venv", vars={"base": str(home), "platbase": str(home)}))
        for kind in ("scripts", "purelib")
    )
    python = shutil.which("python", path=scripts)
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=elsewhere)
    # The dependencies are those of the tests. Of a folder in a .pth file no .pth file is read, so the checkout that
    # `pip install --editable` put there does not come along.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")

    where = "import importlib.metadata as m, musc_lite as p; print(p.__file__, p.__version__, m.version('musc-lite'))"
    file, version, distributed = run(python, "-c", where, cwd=elsewhere).rsplit(maxsplit=2)
    assert Path(file) == packages / "musc_lite" / "__init__.py"
    assert version == distributed

    command = shutil.which("musc-lite", path=scripts)
    assert "--root" in run(command, "app", "--help", cwd=elsewhere)
    for name in ("app.ipynb", "voila.json", "voila/templates/offline/index.html.j2"):
        assert (packages / "musc_lite" / "monitoring" / "page" / name).is_file()
    assert page_title(command, elsewhere) == "MuSc"

    printed = run(command, "demo", "--n-images", "4", "-o", "demo", cwd=elsewhere)
    assert "gravel" in printed
    report = (elsewhere / "demo" / "report.html").read_text(encoding="utf-8")
    assert report.count("<img") >= 12  # four images of each texture
    assert report.count("data:image/") >= 12
