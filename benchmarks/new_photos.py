"""How long ten new photos take against a line of 100: as `musc-lite apply` does it, and in a process that stays.

    python benchmarks/new_photos.py

224 px, the embedded backbone, gravel; seconds of reading the model file and of scoring, without start-up.
"""

import tempfile
import time
from pathlib import Path

import musc_lite
from musc_lite.utils.progress import timed

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        line, seconds = Path(folder) / "model.musc", dict[str, float]()
        musc_lite.MuSc().fit(musc_lite.planted_textures("gravel", 100, 10)).save(line)
        new = musc_lite.planted_textures("gravel", 10, 3, seed=1)
        with timed(seconds, "read the line and score"):
            musc_lite.apply_reference(line, new)
        detector = musc_lite.Detector.load(line)
        detector.score_images(new)
        began = time.perf_counter()
        detector.score_images(new)
        seconds["score, the line read before"] = time.perf_counter() - began
    for what, took in seconds.items():
        print(f"{what:28} {took:.1f} s")
