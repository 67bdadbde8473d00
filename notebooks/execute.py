"""Execute the notebooks of the course, or those that are named, and write them with their text and their figures.

    python notebooks/execute.py [01_patch_features.ipynb ...]

Notebook and text of a pair are brought in step first: the one that was changed last wins. Figures are reduced to 256
colors, which halves the files and is hardly seen. Prints the seconds and the size of each notebook.
"""

import base64
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
CELL_TIMEOUT = 120  # seconds


def execute(path: Path) -> None:
    """Run one notebook from the top and write it again."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)  # the state of widgets of an earlier run
    start = time.perf_counter()
    here = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=CELL_TIMEOUT, record_timing=False, resources=here).execute()
    seconds = time.perf_counter() - start
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _reduced(output.data["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of the machine at hand
    nbformat.write(notebook, path)
    print(f"{path.name:32} {seconds:5.1f} s {path.stat().st_size / 1000:5.0f} KB", flush=True)


def _reduced(png: str) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    reduced = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(reduced, "png", optimize=True)
    return base64.b64encode(reduced.getvalue()).decode()


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"  # bars would stay in the notebooks as empty lines
    subprocess.run([sys.executable, "-m", "jupytext", "--quiet", "--sync", *FOLDER.glob("text/*.md")], check=True)
    for argument in sys.argv[1:] or sorted(FOLDER.glob("*.ipynb")):
        execute(FOLDER / Path(argument).name)
