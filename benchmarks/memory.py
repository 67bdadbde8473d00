"""How much memory a large batch takes: resident memory at its peak, beside what was planned.

    python benchmarks/memory.py
    python benchmarks/memory.py --n-images 300 --max-memory 1GB
    python benchmarks/memory.py --photos 12 --n-images 100

Fits N textures of 224 pixels (M = 256 patches, C = 384 channels, six layers, one r) within a budget, in two threads.
The peak holds the program, PyTorch, the backbone and the images too, which the budget does not count. Scoring among 64
principal components makes 1,000 images a matter of minutes; without them it takes as much memory, less 0.1 GB, and
five times as long.

`--photos MEGAPIXELS` fits photos of that size instead, 4 : 3 and as JPEG files in a temporary folder, without a budget
unless one is given: once for each view, in a process of its own. Each is a piece of gravel on a plain ground, at its
own place and with noise, so that a region can be found and no file is smaller than a camera's.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from PIL import Image, ImageChops

import musc_lite

VIEWS = {
    "whole photo": {},
    "tiles=2": {"tiles": 2},
    "tiles=3": {"tiles": 3},
    "region='auto'": {"region": "auto"},
    "region='auto', tiles=3": {"region": "auto", "tiles": 3},
}


def peak() -> float:
    """Return the largest resident memory of this process so far, in GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kilobytes * 1024 / 1e9


def write_photos(folder: Path, n_photos: int, megapixels: float) -> None:
    """Write photos that all differ: a texture enlarged, laid on gray at a place of its own, under moved noise."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = round(height * 4 / 3), height
    noise = Image.merge("RGB", [Image.effect_noise(size, 16) for _ in range(3)])
    textures = musc_lite.planted_textures("gravel", n_photos, n_photos // 10)
    for i in range(n_photos):
        photo = Image.new("RGB", size, (200, 200, 205))
        place = size[0] // 4 + 7 * i % 97, size[1] // 4 + 11 * i % 89
        photo.paste(textures[i].resize((size[0] // 2, size[1] // 2), Image.Resampling.BICUBIC), place)
        photo = ImageChops.add(photo, ImageChops.offset(noise, 61 * i, 37 * i), offset=-128)
        photo.save(folder / f"{i:04d}.jpg", quality=90)


def fit(images: musc_lite.ImageSet, n_components: int, max_memory: str | None, **view) -> None:
    """Fit a batch and print what it took."""
    detector = musc_lite.MuSc(
        musc_lite.load_backbone("dinov2_vits14"),
        r=(3,),
        n_components=n_components or None,
        max_memory=max_memory,
        **view,
    )
    print("estimated:", detector.cost(len(images), images))
    start = time.perf_counter()
    detector.fit(images)
    seconds = ", ".join(f"{stage} {value:.0f} s" for stage, value in detector.seconds_.items())
    h, w = detector.features_.grid
    print(f"took {time.perf_counter() - start:.0f} s ({seconds}); {h} x {w} patches")
    print(f"tokens kept as {detector.features_.patch_tokens.dtype}; peak resident memory {peak():.2f} GB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-images", type=int, help="1000 textures, or 100 photos")
    parser.add_argument("--max-memory", help="2.8GB for textures; for photos none")
    parser.add_argument("--n-components", type=int, default=64, help="0: all channels")
    parser.add_argument("--photos", type=float, metavar="MEGAPIXELS", help="photos of this size in place of textures")
    parser.add_argument("--only", default="", help="views of photos whose name holds this text")
    parser.add_argument("--fit", nargs=2, help=argparse.SUPPRESS)  # a folder and a view, as JSON
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.fit:
        folder, view = arguments.fit
        fit(musc_lite.load_folder(folder), arguments.n_components, arguments.max_memory, **json.loads(view))
    elif arguments.photos:
        n_images = arguments.n_images or 100
        with tempfile.TemporaryDirectory() as folder:
            with ProcessPoolExecutor(1) as another:  # what this process ever held, its children would count as theirs
                another.submit(write_photos, Path(folder), n_images, arguments.photos).result()
            n_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
            print(f"{n_images} photos of {n_bytes / n_images / 1e6:.1f} MB written")
            given = ["--n-components", str(arguments.n_components)]
            given += ["--max-memory", arguments.max_memory] if arguments.max_memory else []
            for name, view in VIEWS.items():
                if arguments.only in name:
                    print(f"\n{name}", flush=True)
                    command = [sys.executable, __file__, *given, "--fit", folder, json.dumps(view)]
                    subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    else:
        n_images = arguments.n_images or 1000
        images = musc_lite.planted_textures("gravel", n_images=n_images, n_defective=n_images // 10)
        print(f"{len(images)} images made; resident so far: {peak():.2f} GB")
        fit(images, arguments.n_components, arguments.max_memory or "2.8GB")
