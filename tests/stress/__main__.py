"""Everything in full, with its figures: make stress, or python -m stress in tests/. Takes ten minutes."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from stress.extraction import crowds, disks, kills
from stress.images import damaged_images
from stress.lines import kill_lines
from stress.saved import saved_files
from stress.workplace import Workplace


def main() -> None:
    """Do all trials, print figures as they come, fail where anything was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m stress", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="other damage, other moments")
    parser.add_argument("--images", type=int, default=2_100, help="damaged files, of seven formats")
    parser.add_argument("--saved", type=int, default=2_000, help="damaged saved files")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--crowds", type=int, default=10)
    options = parser.parse_args()
    faults = []

    def show(title: str, trials: Callable) -> None:
        start = time.perf_counter()
        figures = trials()
        faults.extend(figures.faults)
        print(f"{title:<17} {figures} ({time.perf_counter() - start:.0f} s)", flush=True)

    with TemporaryDirectory() as name:
        folder, keep = Path(name), Path(__file__).parents[2] / "out" / "stress"
        show("damaged images", lambda: damaged_images(options.images, options.seed, [], folder, keep))
        show("hostile images", lambda: damaged_images(0, options.seed, None, folder, keep))
    show("saved files", lambda: saved_files(options.saved, options.seed))
    with Workplace() as workplace:
        show("killed", lambda: kills(workplace, options.kills, options.seed))
        show("crowded", lambda: crowds(workplace, options.crowds))
        show("no room", lambda: disks(workplace, (0, 4_096, 60_000), ("100k", "500k", "1m")))
    show("lines", lambda: kill_lines(options.kills, options.seed))
    for fault in faults:
        print(f"FAULT {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
