"""Download simulated textiles and arrange them as two categories in the layout of MVTec AD.

    python data_scripts/get_textiles.py data/textiles
    python data_scripts/get_textiles.py data/textiles --url conformal_clip_data-0.1.4-py3-none-any.whl

License: MIT. The images are inside the PyPI package conformal-clip-data 0.1.4 (42,144,952 bytes, checked by SHA-256),
which pip fetches from whichever package index it is set up with; no other host is asked.

Writes 3000 JPEG files of 250 x 250 pixels, 63 MB:

    OUT/local/test/good     the 1000 nominal weaves        OUT/local/test/local      500 with a small spot somewhere
    OUT/global/test/good    the same 1000 again            OUT/global/test/global    500 with another weave all over

There are no masks and no train/ folder. The weaves come from a stochastic model (R package spc4sts): Megahed et al.,
"Adapting OpenAI's CLIP model for few-shot image inspection in manufacturing quality control", arXiv 2501.12596, 2025.
"""

import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from archives import atomic_folder, unpack
from common import Archive, choose, error_handler, fetched, is_there, parse, report

from musc_lite.backbones.weights import pip_download

PACKAGE = "conformal-clip-data==0.1.4"
PACKAGE_SHA256 = "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb"
WHEEL = Archive(holds=("data/textile_images/simulated/nominal/*.jpg",), largest=1_000_000_000)
DEFECTS = ("local", "global")


@contextmanager
def wheel(options: Namespace) -> Iterator[Path]:
    """Return the package as a file: from --url, or from pip."""
    if options.url:
        with fetched(WHEEL, options) as file:
            yield file
    else:
        print(f"pip fetches {PACKAGE} (42 MB)", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            yield pip_download(PACKAGE, PACKAGE_SHA256, folder)


def arrange(package: Path, out: Path) -> None:
    """Copy the package's three folders to a category for each kind of defect."""
    simulated = package / "data" / "textile_images" / "simulated"
    for kind in DEFECTS:
        shutil.copytree(simulated / "nominal", out / kind / "test" / "good")
        shutil.copytree(simulated / kind, out / kind / "test" / kind)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, download, arrange."""
    options = parse(__doc__, arguments)
    with error_handler():
        if is_there(Archive(holds=("*/test/good",), largest=0), options.out):
            print(f"{options.out} is there already")
        else:
            with atomic_folder(options.out) as out, wheel(options) as file, tempfile.TemporaryDirectory() as folder:
                find = partial(choose, WHEEL)
                arrange(unpack(file, Path(folder) / "new", largest=WHEEL.largest, choose=find), out)
        report("textiles", options.out)


if __name__ == "__main__":
    main()
