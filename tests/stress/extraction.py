"""Extraction that is killed, shares its cache, or finds the disk full or read-only: nothing half is ever read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from stress.workplace import N_IMAGES, Workplace


@dataclass
class Figures:
    """What so many trials came to."""

    title: str
    trials: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        notes = "".join(f", {count} {what}" for what, count in self.notes.items())
        return f"{self.trials} {self.title}: {self.trials - len(self.faults)} as they should be{notes}"


def kills(workplace: Workplace, n: int, seed: int = 0) -> Figures:
    """Kill an extraction at n random moments and start it again: the same bits as undisturbed, nothing half read.

    Every second moment is one in which a file is being written.
    """
    whole = workplace.do("fit ")[0]["answer"]
    with TemporaryDirectory() as folder:
        seconds = workplace.do(f"fit {folder}")[0]["seconds"]
    figures = Figures("kills at random moments", notes={"in the middle of the files": 0, "in the middle of a file": 0})
    random = Random(seed)
    for attempt in range(10 * n):
        if figures.trials == n:
            break
        moment = random.randint(1, 12) if attempt % 2 else random.uniform(0, seconds)
        with TemporaryDirectory() as folder:
            killed = workplace.do(f"fit {folder}", kill=moment)[0]
            if killed["status"] == 0:  # done before; not a kill
                continue
            figures.trials += 1
            found, damaged, half = workplace.do(f"check {folder}")[0]["answer"]
            again = workplace.do(f"fit {folder}")[0]
            complete = workplace.do(f"check {folder}")[0]["answer"][:2]
        figures.notes["in the middle of the files"] += 0 < found < N_IMAGES
        figures.notes["in the middle of a file"] += half > 0
        if damaged or again.get("answer") != whole or complete != [N_IMAGES, 0]:
            figures.faults.append(f"killed after {moment} with {found} files, {damaged} damaged: then {again}")
    return figures


def crowds(workplace: Workplace, n: int, copies: int = 2) -> Figures:
    """Let processes extract into the same empty cache at once, n times: all finish with the same bits."""
    whole = workplace.do("fit ")[0]["answer"]
    figures = Figures(f"times {copies} processes in one cache")
    for _ in range(n):
        with TemporaryDirectory() as folder:
            answers = workplace.do(f"fit {folder}", copies=copies)
            left = workplace.do(f"check {folder}")[0]["answer"]
        figures.trials += 1
        if [answer.get("answer") for answer in answers] != [whole] * copies or left != [N_IMAGES, 0, 0]:
            figures.faults.append(f"{answers}, files: {left}")
    return figures


def disks(workplace: Workplace, limits: Sequence[int], sizes: Sequence[str]) -> Figures:
    """Run out of disk, or meet a read-only folder, in every place that writes: a clear error, and the old files.

    Parameters
    ----------
    workplace : Workplace
    limits : sequence of int
        Bytes that a file may have, which needs no rights to be set.
    sizes : sequence of str
        Of the small disks, such as "700k"; the files of all images take 1.2 MB.
    """
    figures = Figures("full disks and read-only folders")
    whole = workplace.do("fit ")[0]["answer"]

    def refused(what: str, job: str, expected: str = "FileWriteError", **options) -> None:
        """Expect the project's own error, and every file as it was, or one that is complete."""
        place = Path(job.split(" ", 1)[1])
        watched = place if place.is_dir() else place.parent
        before = workplace.do(f"list_files {watched}")[0]["answer"] if watched.is_dir() else {}
        (answer,) = workplace.do(job, **options)
        after = workplace.do(f"list_files {watched}")[0]["answer"] if watched.is_dir() else {}
        figures.trials += 1
        problems = []
        if not answer.get("is_ours") or expected not in answer.get("error", ""):
            problems.append(f"answers {answer}")
        if before.items() - after.items() or any(Path(name).name.startswith(".") for name in after):
            problems.append("old files changed, or half ones are left")
        if job.startswith("fit") and watched.is_dir() and workplace.do(f"check {watched}")[0]["answer"][1]:
            problems.append("files of the cache are damaged")
        if problems:
            figures.faults.append(f"{what}: {'; '.join(problems)}")

    def works(what: str, job: str, **options) -> None:
        (answer,) = workplace.do(job, **options)
        figures.trials += 1
        if answer.get("answer") != whole:
            figures.faults.append(f"{what}: {answer}")

    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        # A limit to the size of a file needs no rights, and fails as a full disk does.
        for at in limits:
            limited = Path(name, f"limit-{at}")
            limited.mkdir()
            refused(f"files up to {at} bytes, cache", f"fit {limited}", largest_file=at)
            refused(f"files up to {at} bytes, tokens on disk", f"fit_on_disk {limited}", largest_file=at)
            for job in ("save_features", "save_detector"):
                (limited / job).write_text("what was there before")
                refused(f"files up to {at} bytes, {job}", f"{job} {limited / job}", largest_file=at)
            works("room again", f"fit {limited}")

        file = Path(name, "file")
        file.write_text("no folder")
        refused("a file in place of the cache", f"fit {file}")
        refused("a file above the cache", f"fit {file}/cache")
        refused("a file above what is saved", f"save_features {file}/features.safetensors")
        refused("a file above what is saved", f"save_detector {file}/fitted.safetensors")
        refused("a folder in place of what is saved", f"save_features {limited}")

        closed = Path(name, "closed")
        closed.mkdir()
        works("a cache before it is closed", f"fit {closed}")
        empty = Path(name, "empty")
        empty.mkdir()
        for folder in (closed, *closed.iterdir(), empty):
            folder.chmod(0o555)
        works("a complete cache without the right to write", f"fit {closed}", nobody=True)
        refused("an empty cache without the right to write", f"fit {empty}", nobody=True)
        refused("saving without the right to write", f"save_detector {empty}/fitted.safetensors", nobody=True)
        for folder in (closed, *closed.iterdir(), empty):
            folder.chmod(0o755)

        if workplace.can_mount:
            _mounted(workplace, Path(name), sizes, refused, works)
        else:
            figures.notes["kinds left out: mounting is not permitted here"] = 1
    return figures


def _mounted(workplace: Workplace, name: Path, sizes: Sequence[str], refused: Callable, works: Callable) -> None:
    """Try real disks that are full, at several sizes, and real read-only folders."""
    for size in sizes:
        disk = name / f"disk-{size}"
        disk.mkdir()
        workplace.do(f"mount {disk}", size=size)
        refused(f"a disk of {size}, cache", f"fit {disk}")
        workplace.do(f"fill {disk}")
        refused(f"a full disk of {size}, cache", f"fit {disk}")
        refused(f"a full disk of {size}, tokens on disk", f"fit_on_disk {disk}")
        for job in ("save_features", "save_detector"):
            refused(f"a full disk of {size}, {job}", f"{job} {disk / job}")
        workplace.do(f"mount {disk}", size="50m")
        works("room again", f"fit {disk}")
        # The cache is complete, so only the memory-mapped tokens need room: some is there, but too little for all.
        workplace.do(f"fill_but_64k {disk}")
        refused(f"a full disk of {size}, tokens on disk beside a complete cache", f"fit_on_disk {disk}")

    full, empty = name / "read-only", name / "read-only-and-empty"
    for folder in (full, empty):
        folder.mkdir()
    works("a cache before it is read-only", f"fit {full}")
    for folder in (full, empty):
        workplace.do(f"mount {folder}")
    works("a complete read-only cache", f"fit {full}")
    refused("an empty read-only cache", f"fit {empty}")
    for job in ("save_features", "save_detector"):
        refused(f"a read-only folder, {job}", f"{job} {empty}/a.safetensors")
