"""Write planted-defect textures as PNG files, in the folder layout of MVTec AD.

    python data_scripts/make_textures.py OUT
    python data_scripts/make_textures.py OUT --name gravel --n-images 40 --n-defective 12

What it writes, for each texture (all three unless --name picks one):

    OUT/<name>/test/good/<name>_000_good.png
    OUT/<name>/test/<kind>/<name>_007_<kind>.png                  kind: hole, scratch, foreign, blur, stain
    OUT/<name>/ground_truth/<kind>/<name>_007_<kind>_mask.png     255 where defective

There is no train/ folder: mutual scoring needs none. With the defaults that is 120 pictures and 36 masks,
about 12 MB; nothing is downloaded. Read them back with ``musc_lite.load_mvtec(OUT, "gravel")``.

The pictures are made from photographs inside the scikit-image wheel, all under Creative Commons CC0: brick
and gravel from CC0Textures (Bricks25, Gravel04), grass from DeviantArt ("Grass 01" by linolafett).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from musc_lite.data.synthetic import PHOTOS, planted_textures


def write_mvtec_layout(out: Path, name: str, **options: int) -> int:
    """Write one texture's set below ``out/name`` and return how many pictures it has."""
    images = planted_textures(name, **options)
    for i, (image, stem) in enumerate(zip(images, images.names, strict=True)):
        kind = stem.rsplit("_", 1)[1]
        _save(image, out / name / "test" / kind / f"{stem}.png")
        if kind != "good":
            _save(
                Image.fromarray(255 * images.mask(i).astype(np.uint8)),
                out / name / "ground_truth" / kind / f"{stem}_mask.png",
            )
    return len(images)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to, made if missing")
    parser.add_argument("--name", choices=PHOTOS, action="append", help="only this texture (may be repeated)")
    parser.add_argument("--n-images", type=int, default=40, help="pictures a texture (default 40)")
    parser.add_argument("--n-defective", type=int, default=12, help="how many have a defect (default 12)")
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels (default 224)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default 0)")
    options = vars(parser.parse_args(arguments))
    out, names = options.pop("out"), options.pop("name") or PHOTOS
    for name in names:
        try:
            count = write_mvtec_layout(out, name, **options)
        except ValueError as error:
            parser.error(str(error))
        print(f"{out / name}: {count} pictures")


if __name__ == "__main__":
    main()
