"""How much memory a large batch takes: resident memory at its peak, beside what was planned.

    python benchmarks/memory.py
    python benchmarks/memory.py --n-images 300 --max-memory 1GB

Fits N textures of 224 pixels (M = 256 patches, C = 384 channels, six layers, one r) within a budget, in two threads.
The peak holds the program, PyTorch, the backbone and the images too, which the budget does not count. Scoring among 64
principal components makes 1,000 images a matter of minutes; without them it takes as much memory, less 0.1 GB, and
five times as long.
"""

import argparse
import resource
import sys
import time

import torch

import musc_lite


def peak() -> float:
    """Give the largest resident memory of this process so far, in GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kilobytes * 1024 / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-images", type=int, default=1000)
    parser.add_argument("--max-memory", default="2.8GB")
    parser.add_argument("--n-components", type=int, default=64, help="0: all channels")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    backbone = musc_lite.load_backbone("dinov2_vits14")
    images = musc_lite.planted_textures("gravel", n_images=arguments.n_images, n_defective=arguments.n_images // 10)
    print(f"{len(images)} images made; resident so far: {peak():.2f} GB")
    detector = musc_lite.MuSc(
        backbone, r=(3,), n_components=arguments.n_components or None, max_memory=arguments.max_memory
    )
    print("estimated:", detector.cost(len(images)))
    start = time.perf_counter()
    detector.fit(images)
    seconds = ", ".join(f"{stage} {value:.0f} s" for stage, value in detector.seconds_.items())
    print(f"took {time.perf_counter() - start:.0f} s ({seconds})")
    print(f"tokens kept as {detector.features_.patch_tokens.dtype}; peak resident memory {peak():.2f} GB")
