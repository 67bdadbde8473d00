"""How the package hangs together: its public names, what importing it costs, who may import whom."""

import subprocess
import sys
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
    assert found.full_name == "musc_lite.detector.MuSc"
    assert (PACKAGE / "py.typed").is_file()
