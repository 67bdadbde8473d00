"""Execute the notebooks of the course, or those that are named, and write them with their text and their figures.

    python notebooks/execute.py [01_patch_features.ipynb ...]

Notebook and text of a pair are brought in step first: the one that was changed last wins. Figures made of photos
become JPEG where that is much smaller; lines and flat colors stay PNG. Prints the seconds and the size of each
notebook.
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
from PIL import Image, ImageChops
from rjsmin import jsmin

FOLDER = Path(__file__).parent
CELL_TIMEOUT = 120  # seconds
LARGEST_CHANGE = 10  # of 255, where lines and flat colors are reduced to a palette; shades would show bands sooner


def execute(path: Path) -> None:
    """Run one notebook from the top and write it again."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)  # the state of widgets of an earlier run
    start = time.perf_counter()
    here = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=CELL_TIMEOUT, record_timing=False, coalesce_streams=True, resources=here).execute()
    seconds = time.perf_counter() - start
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data |= _smaller(output.data.pop("image/png"))
    for state in notebook.metadata.get("widgets", {}).values():
        for model in state["state"].values():  # each explorer brings the scripts and styles of its views
            if "_esm" in model["state"]:
                model["state"] |= {
                    "_esm": jsmin(model["state"]["_esm"]),
                    "_css": _without_margins(model["state"]["_css"]),
                }
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of the machine at hand
    nbformat.write(notebook, path)
    print(f"{path.name:32} {seconds:5.1f} s {path.stat().st_size / 1000:5.0f} KB", flush=True)


def _without_margins(style: str) -> str:
    """Leave out indentation and line breaks."""
    return " ".join(style.split())


def _smaller(png: str) -> dict[str, str]:
    """Return a figure as the MIME type that suits it, with its data in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    exact, photo = io.BytesIO(), io.BytesIO()
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    change = max(high for _, high in ImageChops.difference(picture, few.convert("RGB")).getextrema())
    (few if change <= LARGEST_CHANGE else picture).save(exact, "png", optimize=True)
    picture.save(photo, "jpeg", quality=84, subsampling=0, optimize=True)
    if exact.tell() < 1.3 * photo.tell():
        return {"image/png": base64.b64encode(exact.getvalue()).decode()}
    return {"image/jpeg": base64.b64encode(photo.getvalue()).decode()}


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"  # bars would stay in the notebooks as empty lines
    subprocess.run([sys.executable, "-m", "jupytext", "--quiet", "--sync", *FOLDER.glob("text/*.md")], check=True)
    for argument in sys.argv[1:] or sorted(FOLDER.glob("*.ipynb")):
        execute(FOLDER / Path(argument).name)
