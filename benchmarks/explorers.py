"""Measure how long a click on the PatchExplorer takes in Python, and the first look at counts of similar patches.

    python benchmarks/explorers.py                    # 40 images of 256 patches, all default features
    python benchmarks/explorers.py --images 118       # another number
    python benchmarks/explorers.py --patches 784      # larger photos, one block (takes minutes to prepare)

Prints the median and the 90th percentile of the milliseconds from setting `selected` (what a click does) until
everything is handed to the browser, for one block and r and for the mean of all that the detector read, and the bytes
that are sent. Then the seconds of counting at all thresholds, by comparing with each of 100 and in one pass; how long
the kernel is kept from other work; and the megabytes of tokens, distances and counts that three explorers share,
beside what they would hold if each kept its own.
"""

import argparse
import copy
import json
import time

import numpy as np

import musc_lite
from musc_lite.stages.similarity_counts import similar_patch_counts_in_steps
from musc_lite.widgets import IntervalExplorer, PatchExplorer, SimilarityCounts


def count_bytes(widgets):
    """Return a list that grows by the size of every message from these widgets."""
    sizes = []

    def publish(_kind, data=None, buffers=None, **_):
        sizes.append(len(json.dumps(data, default=str)) + sum(memoryview(b).nbytes for b in buffers or ()))

    for widget in widgets:
        widget.comm.publish_msg = publish
    return sizes


def measure(detector, features, n_clicks=30):
    """Click on random patches of random images: milliseconds and bytes of each click."""
    explorer = PatchExplorer(detector)
    explorer.features = features
    sent = count_bytes([explorer, explorer._large, explorer._gallery, explorer._chart, explorer._text])
    n_images, n_patches = detector.patch_scores_.shape[2:]
    rng, milliseconds, sizes = np.random.default_rng(0), [], []
    for _ in range(n_clicks + 1):
        click = (int(rng.integers(n_images)), int(rng.integers(n_patches)))
        sent.clear()
        start = time.perf_counter()
        explorer.selected = click
        milliseconds.append(1000 * (time.perf_counter() - start))
        sizes.append(sum(sent))
    return milliseconds[1:], sizes[1:]  # the first click makes the aggregated tokens


def look_at_counts(detector):
    """Count similar patches: seconds by each threshold, in one pass, and until the kernel is free again."""
    explorer = SimilarityCounts(detector)
    tokens = explorer.tokens(*explorer.features)
    start = time.perf_counter()
    expected = musc_lite.similar_patch_counts(tokens, [k / 50 for k in range(1, 101)])
    by_threshold = time.perf_counter() - start
    start = time.perf_counter()
    counts = similar_patch_counts_in_steps(tokens)
    in_one_pass = time.perf_counter() - start
    assert (counts[..., 2::2] == expected).all()
    start = time.perf_counter()
    explorer.what = "patches"
    held = time.perf_counter() - start
    explorer.work.wait()
    return by_threshold, in_one_pass, held


def megabytes(detector):
    """Open three explorers: what they hold together, and the sum of what each holds alone."""
    kinds = (PatchExplorer, SimilarityCounts, IntervalExplorer)
    alone = sum(kind(copy.copy(detector)).kept.n_bytes for kind in kinds)
    explorers = [kind(detector) for kind in kinds]
    return explorers[0].kept.n_bytes / 1e6, alone / 1e6


def main():
    """Fit, click, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--patches", type=int, default=256, choices=[256, 784])
    arguments = parser.parse_args()
    size, settings = (224, {}) if arguments.patches == 256 else (392, {"layers": [7], "r": (3,)})
    images = musc_lite.planted_textures("brick", n_images=arguments.images, image_size=size)
    detector = musc_lite.MuSc(image_size=size, **settings).fit(images)
    print(f"{arguments.images} images of {arguments.patches} patches")
    print(f"{'a click':12} {'median ms':>9} {'90 % ms':>8} {'largest KB':>10}")
    middle = (len(detector.features_.layers) // 2, max(detector.r_))
    for name, features in (("one block", middle), ("mean of all", None)):
        milliseconds, sizes = measure(detector, features)
        median, late = np.percentile(milliseconds, [50, 90])
        print(f"{name:12} {median:9.0f} {late:8.0f} {max(sizes) / 1000:10.0f}")
    by_threshold, in_one_pass, held = look_at_counts(detector)
    ratio = by_threshold / in_one_pass
    print(f"counts: {by_threshold:.1f} s by threshold, {in_one_pass:.1f} s in one pass ({ratio:.0f} times faster)")
    print(f"the kernel is held for {held:.2f} s")
    together, alone = megabytes(detector)
    print(f"three explorers hold {together:.0f} MB together, {alone:.0f} MB if each kept its own")


if __name__ == "__main__":
    main()
