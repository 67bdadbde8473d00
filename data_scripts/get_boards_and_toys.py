"""Download photos of circuit boards and of toys and arrange them as two categories in the layout of MVTec AD.

    python data_scripts/get_boards_and_toys.py data/parts
    python data_scripts/get_boards_and_toys.py data/parts --url ~/Downloads/main.zip      what is in a file

License: CC BY-SA 4.0, (c) Amazon.com, Inc. or its affiliates: name them, and share what you make of the photos under
the same license; OUT/ATTRIBUTION.txt says so. The photos are the folders circuitboard and aliens-dataset of the GitHub
repository aws-samples/amazon-lookout-for-vision. Downloads it as a zip: as of commit f2f11133, which has the boards at
2000 x 1334 pixels in circuitboard/extra_images/mini_data, and if the toys are not in that, its main branch too. Sizes
and checksums are not published, so it is checked by what it holds.

Not tried: GitHub could not be reached where this was written. The folders, file names and numbers of photos are those
of a listing of the repository. If the download fails, get the zip in a browser and give it with --url.

Writes 198 photos, names as in the repository:

    OUT/board/test/good    40 whole boards on a green mat    OUT/board/test/defect    40 scratched, bent, incomplete
    OUT/toy/test/good      58 whole plastic figures          OUT/toy/test/defect      60 with lost limbs or ink

There are no masks and no train/ folder: train and test split of the boards are put together.
"""

import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from archives import atomic_folder, unpack
from common import Archive, choose, error_handler, fetched, is_there, parse, report

# Folders of the repository that hold normal/ and anomaly/, the first that are there.
BOARD = (("circuitboard/extra_images/mini_data/train", "circuitboard/extra_images/mini_data/test"),)
BOARD += (("circuitboard/train", "circuitboard/test"),)  # the same photos at twice the size, by Amazon's documentation
TOY = (("aliens-dataset",),)
FOLDERS = {"board": BOARD, "toy": TOY}
REPOSITORY = Archive(
    holds=tuple(f"{places[0]}/normal" for folders in FOLDERS.values() for places in folders),
    largest=10_000_000_000,
    url="https://github.com/aws-samples/amazon-lookout-for-vision/archive/f2f11133e6a61875fc129250d50abe1418cb95d2.zip",
)
NEWEST = "https://github.com/aws-samples/amazon-lookout-for-vision/archive/refs/heads/main.zip"
ATTRIBUTION = """\
Photos of circuit boards (board) and of toys (toy): folders circuitboard and aliens-dataset of the repository
https://github.com/aws-samples/amazon-lookout-for-vision. (c) Amazon.com, Inc. or its affiliates. License: Creative
Commons Attribution-ShareAlike 4.0 International, https://creativecommons.org/licenses/by-sa/4.0/. Changed: the photos
are arranged in other folders, nothing else.
"""


def arrange(repository: Path, out: Path) -> None:
    """Copy the categories that an archive holds and `out` lacks."""
    for category, choices in FOLDERS.items():
        here = next(([repository / p for p in places] for places in choices if (repository / places[0]).is_dir()), [])
        for place in [] if (out / category).is_dir() else here:
            for source, kind in (("normal", "good"), ("anomaly", "defect")):
                shutil.copytree(place / source, out / category / "test" / kind, dirs_exist_ok=True)
    (out / "ATTRIBUTION.txt").write_text(ATTRIBUTION)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, download, arrange."""
    options = parse(__doc__, arguments)
    with error_handler():
        if is_there(Archive(holds=("*/test/good",), largest=0), options.out):
            print(f"{options.out} is there already")
        else:
            with atomic_folder(options.out) as out:
                for archive in (REPOSITORY,) if options.url else (REPOSITORY, replace(REPOSITORY, url=NEWEST)):
                    if not all((out / category).is_dir() for category in FOLDERS):
                        with fetched(archive, options) as file, tempfile.TemporaryDirectory() as folder:
                            find = partial(choose, archive)
                            arrange(unpack(file, Path(folder) / "new", largest=archive.largest, choose=find), out)
        report("boards-and-toys", options.out)


if __name__ == "__main__":
    main()
