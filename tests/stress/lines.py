"""fit, apply and watch that are killed, and two applies at once: a line is whole or not there, no photo is lost."""

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from musc_lite import Detector, planted_textures, read_watched
from stress.extraction import Figures

FAST = ["--image-size", "56", "--r", "1", "--layers", "5", "--precision", "float32"]


def kill_lines(n: int, seed: int = 0) -> Figures:
    """Kill fit, apply and watch at n random moments each, and let two processes apply the same line."""
    random, figures = Random(seed), Figures("kills of fit, apply and watch")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for k, day in enumerate(("first", "second", "later")):
            (folder / day).mkdir()
            images = planted_textures("brick", 12, 3, seed=k, image_size=56)
            for title, image in zip(images.names, images, strict=True):
                image.save(folder / day / f"{title}.png")
        commands = {
            "fit": ["fit", folder / "first", "-o", folder / "line.musc", *FAST],
            "apply": ["apply", folder / "line.musc", folder / "second", "-o", folder / "out"],
        }
        check = {"fit": _check_line, "apply": _check_results}
        for kind, command in commands.items():
            _run(command)  # warm
            whole = _run(command)
            known = _digest(folder / "line.musc")
            for _ in range(n):
                if kind == "fit":
                    (folder / "line.musc").unlink(missing_ok=True)
                figures.trials += 1
                moment = _killed(command, random.uniform(0.3, 1.05) * whole)
                if wrong := check[kind](folder):
                    figures.faults.append(f"{kind} killed after {moment:.2f} s: {wrong}")
            _run(command)
            if kind == "apply" and _digest(folder / "line.musc") != known:
                figures.faults.append("apply changed the line file")
        whole = json.loads((folder / "out" / "results.json").read_text())
        figures.faults += _watched(folder, n, random, figures)
        figures.faults += _applied_at_once(folder, whole)
    return figures


def _start(command: list) -> subprocess.Popen:
    everything = [sys.executable, "-m", "musc_lite.cli", *map(str, command)]
    return subprocess.Popen(everything, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run(command: list) -> float:
    began = time.perf_counter()
    assert _start(command).wait() == 0, command
    return time.perf_counter() - began


def _killed(command: list, seconds: float) -> float:
    running = _start(command)
    time.sleep(seconds)
    running.send_signal(signal.SIGKILL)
    running.wait()
    return seconds


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_line(folder: Path) -> str:
    line = folder / "line.musc"
    return "" if not line.exists() or len(Detector.load(line).names_) == 12 else "it holds other images"


def _check_results(folder: Path) -> str:
    """Read whatever is there, as its readers do."""
    out = folder / "out"
    readers = {
        "results.json": lambda path: json.loads(path.read_text()),
        "scores.csv": lambda path: [*csv.DictReader(path.open(newline=""), strict=True)],
        "maps.npz": lambda path: np.load(path)["maps"],
        "report.html": lambda path: path.read_text().rindex("</html>"),
        **{f"maps/{path.name}": lambda path: Image.open(path).load() for path in (out / "maps").glob("[!.]*")},
    }
    for name, read in readers.items():
        if (out / name).exists():
            try:
                read(out / name)
            except Exception as error:
                return f"{name}: {error!r}"
    return ""


def _watched(folder: Path, n: int, random: Random, figures: Figures) -> list[str]:
    """Let photos arrive, half of them slowly, while a watch is killed n times; then let it finish."""
    arriving, out = folder / "arriving", folder / "watched"
    arriving.mkdir()
    photos = sorted([*(folder / "second").iterdir(), *(folder / "later").iterdir()])
    command = ["apply", folder / "line.musc", arriving, "-o", out, "--watch"]
    for k in range(n):
        for photo in photos[k * len(photos) // n : (k + 1) * len(photos) // n]:
            target = arriving / f"{photo.parent.name} {photo.name}"
            if random.random() < 0.5:  # half of it now, all of it with the next
                target.write_bytes(photo.read_bytes()[:1500])
            else:
                shutil.copy(photo, target)
        figures.trials += 1
        _killed(command, random.uniform(2, 8))
        for photo in photos:
            target = arriving / f"{photo.parent.name} {photo.name}"
            if target.exists():
                shutil.copy(photo, target)
    running, deadline = _start(command), time.monotonic() + 120
    while len(read_watched(out)) < len(photos) and time.monotonic() < deadline:
        time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    running.wait()
    names = sorted(row.image for row in read_watched(out) if row.score is not None)
    wanted = sorted(f"{photo.parent.name} {photo.name}" for photo in photos)
    return [] if names == wanted else [f"of {len(wanted)} photos {len(names)} were scored: {names}"]


def _applied_at_once(folder: Path, whole: dict) -> list[str]:
    """Apply the same line twice at once, to folders of their own."""
    commands = [["apply", folder / "line.musc", folder / "second", "-o", folder / f"out {k}"] for k in (1, 2)]
    ends = [running.wait() for running in [_start(command) for command in commands]]
    found = [json.loads((folder / f"out {k}" / "results.json").read_text()) for k in (1, 2)]
    return [] if ends == [0, 0] and found == [whole, whole] else [f"two applies at once: {ends}, other results"]
