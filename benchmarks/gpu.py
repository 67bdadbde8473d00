"""Mutual scoring on an NVIDIA GPU against the published way on the same GPU, in one run.

    python benchmarks/gpu.py                       # 200 images of 1,369 patches and 1,024 channels: the paper's size
    python benchmarks/gpu.py --n-images 50 --runs 1

Milliseconds an image for all runs (4 blocks x 3 degrees), extraction apart: `mutual_scores` in half precision, and the
published way (torch.cdist of one image against all others in float32, minimum, mean of the lowest 30 %). The share is
that of the rate at which the same GPU multiplies large half-precision matrices, N (N - 1) / 2 products counted once.
"""

import argparse

import torch
import torch.nn.functional as F
from mutual_scoring import published_scores, seconds

from musc_lite import mutual_scores


def timed(function, tokens, rounds=3):
    """Return the shortest time of a few calls, after one that sets things up."""

    def call(tokens):
        function(tokens)
        torch.cuda.synchronize()

    call(tokens)
    return min(seconds(call, tokens) for _ in range(rounds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-images", type=int, default=200)
    parser.add_argument("--n-patches", type=int, default=1369)
    parser.add_argument("--n-channels", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=12, help="layers times degrees")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("GPU: there is no CUDA device, nothing to measure")
        raise SystemExit(0)
    n, m, c = arguments.n_images, arguments.n_patches, arguments.n_channels
    generator = torch.Generator("cuda").manual_seed(0)
    tokens = F.normalize(torch.randn(n, m, c, generator=generator, device="cuda"), dim=-1)
    halves = tokens.half()
    square = torch.randn(8192, 8192, device="cuda").half()
    rate = 2 * 8192**3 / timed(lambda matrix: matrix @ matrix, square)
    fast, published = timed(mutual_scores, halves), timed(published_scores, tokens, rounds=1)
    floating = n * (n - 1) / 2 * 2 * m * m * c
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; N, M, C = {n}, {m}, {c}; {arguments.runs} runs\n"
    )
    print(f"musc_lite      {1e3 * arguments.runs * fast / n:8.2f} ms an image")
    print(
        f"published way  {1e3 * arguments.runs * published / n:8.2f} ms an image, {published / fast:.1f} times as long"
    )
    print(f"rate           {floating / fast / 1e12:8.0f} TFLOP/s, {floating / fast / rate:.2f} of {rate / 1e12:.0f}")
    print(f"difference     {(mutual_scores(halves) - published_scores(tokens)).abs().max():8.1e} at most")
