"""How closely photos are looked at, and what it costs: squares, the photos' shape, regions, tiles.

    python benchmarks/views.py SET=FOLDER ... [--only TEXT]

SET=FOLDER are folders of photos with labels, in MVTec AD's layout. `tiles=` takes the magnetic tile data set's own,
`textiles=` what data_scripts/get_textiles.py writes, of which `local`; of more than 100 images 100 are taken, spread
evenly. `brick=SEED`, `grass=SEED` and `gravel=SEED` are planted textures. Each view is scored in a process of its own:
image AUROC and AP before re-scoring, for the largest value of the map and the mean of its highest 0.5 %, pixel metrics
where there are masks, seconds of features and scoring, peak memory.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

VIEWS = {
    "square 224": {},
    "aspect": {"image_size": "aspect"},
    "square 448": {"image_size": 448},
    "aspect 448": {"image_size": "aspect 448"},
    "auto region, 224": {"region": "auto"},
    "auto region, aspect": {"region": "auto", "image_size": "aspect"},
    "auto region, 448": {"region": "auto", "image_size": 448},
    "auto region, 2 tiles": {"region": "auto", "tiles": 2},
    "2 x 2 tiles": {"tiles": (2, 2)},
    "2 x 2 tiles, aligned": {"tiles": (2, 2), "aligned": True},
    "2 x 2 tiles, overlap 0.25": {"tiles": (2, 2), "overlap": 0.25},
    "3 x 3 tiles, aligned": {"tiles": (3, 3), "aligned": True},
}
LARGEST = 100  # images of a set


def load(name: str, folder: str):
    """Load a set, its images spread evenly where there are more than 100."""
    import numpy as np

    import musc_lite
    from musc_lite.data.datasets import look_up

    if name == "tiles":
        images = musc_lite.load_magnetic_tile(folder)
    elif name == "textiles":
        images = look_up("textiles").load(Path(folder), "local")
    elif name in ("brick", "grass", "gravel"):
        images = musc_lite.planted_textures(name, 40, 12, seed=int(folder))
    else:
        images = musc_lite.load_folder(folder)
    if len(images) <= LARGEST:
        return images
    return images.subset(np.linspace(0, len(images) - 1, LARGEST).round().astype(int))


def measure(name: str, folder: str, view: str, known: dict) -> dict:
    """Score one set at one view; where an earlier view settles to the same, say which."""
    import musc_lite
    from musc_lite.stages.features import frame

    images = load(name, folder)
    detector = musc_lite.MuSc("dinov2_vits14", **VIEWS[view])
    backbone = musc_lite.load_backbone("dinov2_vits14")
    seen = repr((frame(detector.components.view, images, backbone), detector.aligned))
    if seen in known:
        return {"same": known[seen]}
    detector.fit(images)
    maps = detector.anomaly_maps_
    found = {"seen": seen, "grid": detector.features_.grid, "region": detector.features_.resolved_view.region}
    for pooling in ("max", 0.005):
        scores = musc_lite.image_scores_from_maps(maps, pooling).numpy()
        metrics = musc_lite.evaluate(images.labels, scores)
        found[f"{pooling}"] = (metrics.image_auroc, metrics.image_ap)
    masks = detector.scores_.masks()
    if masks is not None:
        pixels = musc_lite.evaluate(masks=masks, maps=maps)
        found["pixels"] = (pixels.pixel_auroc, pixels.pixel_ap, pixels.aupro)
    found["seconds"] = (detector.seconds_["features"], detector.seconds_["scoring"])
    found["gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found


def main() -> None:
    """Print one table a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET=FOLDER")
    parser.add_argument("--only", default="", help="views whose name holds this text")
    parser.add_argument("--view", help=argparse.SUPPRESS)
    parser.add_argument("--known", default="{}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.view:
        print(json.dumps(measure(*given.sets[0].split("=", 1), given.view, json.loads(given.known))))
        return
    for each in given.sets:
        print(f"\n{each.split('=')[0]}\n")
        print("| view | grid | image AUROC / AP, max | highest 0.5 % | pixel AUROC / AP / AUPRO | seconds | GB |")
        print("|---|---|---|---|---|---|---|", flush=True)
        known: dict[str, str] = {}
        for view in VIEWS:
            if given.only in view:
                command = [sys.executable, __file__, each, "--view", view, "--known", json.dumps(known)]
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                known |= {found["seen"]: view} if "seen" in found else {}
                print(line(view, found), flush=True)


def line(view: str, found: dict) -> str:
    """Write a row of the table."""
    if "same" in found:
        return f"| {view} | the same as {found['same']} | | | | | |"

    def numbers(key: str) -> str:
        return " / ".join(f"{value:.3f}" for value in found.get(key, ())) or "–"

    features, scoring = found["seconds"]
    cells = [
        numbers("max"),
        numbers("0.005"),
        numbers("pixels"),
        f"{features:.0f} + {scoring:.0f}",
        f"{found['gb']:.1f}",
    ]
    region = ", ".join(f"{share:.2f}" for share in found["region"])
    name = view if region == "0.00, 0.00, 1.00, 1.00" else f"{view} ({region})"
    return f"| {name} | {found['grid'][0]} x {found['grid'][1]} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
