"""Measure how long a click on the PatchExplorer takes in Python, and how many bytes it sends to the browser.

    python benchmarks/explorers.py            # 40 images of 256 patches, all default features
    python benchmarks/explorers.py --large    # and 100 images of 784 patches, one block (takes minutes to prepare)

Prints the median and the 90th percentile of the milliseconds from setting `selected` (what a click does) until
everything is handed to the browser, for one block and r and for the mean of all that the detector read.
"""

import argparse
import json
import time

import numpy as np

import musc_lite
from musc_lite.widgets import PatchExplorer


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


def main():
    """Fit, click, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="measure 100 images of 784 patches too")
    arguments = parser.parse_args()
    cases = [(40, 224, {})]
    if arguments.large:
        cases.append((100, 392, {"layers": [7], "r": (3,)}))
    print(f"{'images':>6} {'patches':>7}  {'features':12} {'median ms':>9} {'90 % ms':>8} {'largest KB':>10}")
    for n_images, size, settings in cases:
        images = musc_lite.planted_textures("brick", n_images=n_images, image_size=size)
        detector = musc_lite.MuSc(image_size=size, **settings).fit(images)
        middle = (len(detector.features_.layers) // 2, max(detector.r_))
        for name, features in (("one block", middle), ("mean of all", None)):
            milliseconds, sizes = measure(detector, features)
            median, late = np.percentile(milliseconds, [50, 90])
            n_patches = detector.patch_scores_.shape[-1]
            print(f"{n_images:6} {n_patches:7}  {name:12} {median:9.0f} {late:8.0f} {max(sizes) / 1000:10.0f}")


if __name__ == "__main__":
    main()
