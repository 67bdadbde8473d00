"""Near duplicates: how many photos of different products count as copies by mistake, and how many copies are found.

    python benchmarks/duplicates.py                       # textures, a printed pattern, frames of a still scene
    python benchmarks/duplicates.py FOLDER FOLDER ...     # also at most 140 photos of each folder, drawn with seed 0

"false" counts the photos of the set itself that are put into groups. Copies are added to the set one at a time, of at
most 20 photos; a copy is found where its group holds its original and nothing else.
"""

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from musc_lite import load_folder, planted_textures
from musc_lite.data.duplicates import _alike, fine_structure
from musc_lite.data.synthetic import PHOTOS

LARGEST, N_COPIED = 140, 20  # photos


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    """Compress as JPEG."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def resized(image: Image.Image, factor: float) -> Image.Image:
    """Scale both sides."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 50": lambda image: saved_again(image, 50),
    "JPEG 75": lambda image: saved_again(image, 75),
    "JPEG 95": lambda image: saved_again(image, 95),
    "0.5x": lambda image: resized(image, 0.5),
    "0.7x": lambda image: resized(image, 0.7),
    "2x": lambda image: resized(image, 2),
    "+10 %": lambda image: image.point(lambda value: min(255, value * 1.1)),
    "-10 %": lambda image: image.point(lambda value: value * 0.9),
}


def same_print(n: int, seed: int, move: float, noise: float = 3) -> list[Image.Image]:
    """Photograph n prints of one pattern, moved by up to `move` pixels, in a little other light, with noise."""
    numbers = np.random.default_rng(seed)
    pattern = np.full((220, 220), 200, np.uint8)
    for _ in range(40):
        top, left, height, width = *numbers.integers(0, 200, 2), *numbers.integers(4, 40, 2)
        pattern[top : top + height, left : left + width] = numbers.integers(0, 255)
    image, photos = Image.fromarray(pattern).filter(ImageFilter.GaussianBlur(0.8)), []
    for _ in range(n):
        x, y = 10 + numbers.uniform(-move, move, 2)
        moved = image.transform((200, 200), Image.Transform.AFFINE, (1, 0, x, 0, 1, y), Image.Resampling.BICUBIC)
        values = numbers.uniform(0.97, 1.03) * np.asarray(moved, float) + numbers.normal(0, noise, (200, 200))
        photos.append(Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB"))
    return photos


def measure(name: str, photos: list[Image.Image]) -> None:
    """Print a row of the table."""
    fine = np.stack([fine_structure(photo) for photo in photos])
    own = _alike(fine)
    copied = np.random.default_rng(0).permutation(len(photos))[:N_COPIED].tolist()
    found = [
        sum((i, len(photos)) in _alike(np.vstack([fine, fine_structure(change(photos[i]))])) for i in copied)
        for change in COPIES.values()
    ]
    shares = " | ".join(f"{n:3d}" for n in found)
    print(f"| {name} | {sum(map(len, own))} of {len(photos)} | {shares} | of {len(copied)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    print(f"| set | false | {' | '.join(COPIES)} | |\n|{'---|' * (len(COPIES) + 3)}")
    for name in PHOTOS:
        measure(name, list(planted_textures(name, 40, 10, seed=7)))
    for move in (0.25, 0.5, 1, 2):
        measure(f"print, moved by {move} px", same_print(40, 100, move))
    measure("still scene", same_print(40, 100, 0))
    for folder in parser.parse_args().folders:
        images = load_folder(folder, labels="none")
        drawn = np.sort(np.random.default_rng(0).permutation(len(images))[:LARGEST])
        measure("/".join(folder.parts[-2:]), [images[int(i)] for i in drawn])


if __name__ == "__main__":
    main()
