"""Extraction of patch tokens in float32 and in bfloat16, from photos on disk, in one run.

    python benchmarks/extraction.py

For photos of three sizes (JPEG), seen at 224 and at 448 pixels: seconds for all of them with products in float32 and in
bfloat16, how much the tokens differ, and the seconds that reading alone takes, in one thread: photos are read while the
backbone works. The two precisions take turns; ratios are medians over the rounds.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from mutual_scoring import machine

from musc_lite import extract_features, load_backbone, load_folder, planted_textures

PHOTOS = [(224, 224), (1200, 800), (4000, 3000)]  # pixels
SEEN = (224, 448)
N_IMAGES = 16
ROUNDS = 3


def seconds(work) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {N_IMAGES} photos\n")
    print("| photos | seen at | reading (s) | float32 (s) | bfloat16 (s) | float32 / bfloat16 | tokens differ by |")
    print("|---|---|---|---|---|---|---|")
    backbones = [load_backbone("dinov2_vits14", precision=each) for each in ("float32", "bfloat16")]
    textures = planted_textures("gravel", N_IMAGES, 4)
    for size in PHOTOS:
        with tempfile.TemporaryDirectory() as folder:
            for name, image in zip(textures.names, textures, strict=True):
                image.resize(size).save(Path(folder, f"{name}.jpg"), quality=90)
            images = load_folder(folder)
            reading = seconds(lambda images=images: [images[i] for i in range(N_IMAGES)])
            for pixels in SEEN:
                ways = [
                    lambda b=b, images=images, pixels=pixels: extract_features(
                        images, b, image_size=pixels, progress=False
                    )
                    for b in backbones
                ]
                exact, short = (way().patch_tokens for way in ways)
                rounds = [[seconds(way) for way in ways] for _ in range(ROUNDS)]
                times = " | ".join(f"{statistics.median(column):.2f}" for column in zip(*rounds, strict=True))
                ratio = statistics.median(slow / fast for slow, fast in rounds)
                differ = ((short - exact).norm() / exact.norm()).item()
                print(f"| {size[0]} x {size[1]} | {pixels} | {reading:.2f} | {times} | {ratio:.2f} | {differ:.1%} |")
