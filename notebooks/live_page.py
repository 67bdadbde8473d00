"""Write the page of live explorers that the book shows: the bricks of the course, fitted as its notebooks fit them.

python notebooks/live_page.py out/live/brick.html
"""

import sys
from pathlib import Path

import musc_lite

if __name__ == "__main__":
    features = Path(__file__).with_name("features")
    detector = musc_lite.MuSc(cache_dir=features).fit(musc_lite.planted_textures("brick"))
    written = musc_lite.publish(detector, sys.argv[1])
    print(f"{written.path}: {written.n_bytes / 1e6:.2f} MB")
