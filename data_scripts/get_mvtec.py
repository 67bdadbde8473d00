"""Unpack MVTec AD, whole or category by category, after you have downloaded it in a browser.

    python data_scripts/get_mvtec.py data/mvtec --url ~/Downloads/mvtec_anomaly_detection.tar.xz
    python data_scripts/get_mvtec.py data/mvtec --url ~/Downloads/bottle.tar.xz        one category more

The license, CC BY-NC-SA 4.0 (no commercial use), is accepted on the web page of the data set, so nothing is downloaded
without --url, which takes a file or an address. Get it from https://www.mvtec.com/company/research/datasets/mvtec-ad:
the whole (mvtec_anomaly_detection.tar.xz, 5,264,982,680 bytes) or single categories. For the whole others recorded
this SHA-256, to be given with --sha256; we know of none that MVTec publishes:

    cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d

Writes OUT/<category>/test/, ground_truth/ and train/, as they are in the archive, and its license and readme.
Categories that are there already stay as they are. Bergmann et al., "The MVTec anomaly detection dataset", IJCV 2021.
"""

import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path

from archives import unpack
from common import Archive, choose, error_handler, fetched, parse, report

MVTEC = Archive(holds=("*/test/good",), largest=20_000_000_000)
BY_HAND = """\
MVTec AD is not downloaded by this script: its license (CC BY-NC-SA 4.0) is accepted on its web page. Please
  1. open https://www.mvtec.com/company/research/datasets/mvtec-ad in a browser, read the license and download
     mvtec_anomaly_detection.tar.xz (5.3 GB), or only the categories that you want,
  2. run  python data_scripts/get_mvtec.py {out} --url FILE  with each file that you downloaded."""


def add_categories(unpacked: Path, root: Path) -> None:
    """Move categories, license and readme to where they are missing, each at once."""
    root.mkdir(parents=True, exist_ok=True)
    for entry in sorted(unpacked.iterdir()):
        if (root / entry.name).exists():
            print(f"{root / entry.name} is there already and stays as it is")
        else:
            entry.rename(root / entry.name)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, unpack."""
    options = parse(__doc__, arguments)
    with error_handler():
        if options.url is None:
            print(BY_HAND.format(out=shlex.quote(str(options.out))), file=sys.stderr)
            sys.exit(1)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with (
            fetched(MVTEC, options) as file,
            tempfile.TemporaryDirectory(dir=options.out.parent, prefix=f".{options.out.name}.") as folder,
        ):
            unpacked = unpack(file, Path(folder) / "new", largest=MVTEC.largest, choose=partial(choose, MVTEC))
            add_categories(unpacked, options.out)
        report("mvtec", options.out)


if __name__ == "__main__":
    main()
