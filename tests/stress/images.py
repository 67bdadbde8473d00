"""Damaged and hostile image files: each is read or refused, within 5 seconds and 1 GB."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stress.bombs import bombs
from stress.mutants import mutants
from stress.reader import MAX_BYTES, MAX_SECONDS, Reader


@dataclass
class Figures:
    """What reading many files came to."""

    outcomes: Counter = field(default_factory=Counter)  # "read", "refused"
    slowest: float = 0.0  # seconds
    peak: int = 0  # bytes
    faults: list[str] = field(default_factory=list)  # "FILE: what is wrong"

    def __str__(self) -> str:
        return (
            f"{self.outcomes.total()} files: {self.outcomes['read']} read, {self.outcomes['refused']} refused, "
            f"{len(self.faults)} at fault; slowest {self.slowest:.2f} s, peak {self.peak / 1e6:.0f} MB"
        )


def damaged_images(n: int, seed: int, names: list[str] | None, folder: Path, keep: Path) -> Figures:
    """Read n mutants of this seed, and bombs: all or those of these names; work in `folder`, `keep` files at fault."""

    def files() -> Iterator[tuple[Path, Path | None]]:
        for mutant in mutants(n, seed):
            path, whole = folder / mutant.name, None
            path.write_bytes(mutant.data)
            if mutant.whole is not None:
                whole = folder / f"whole-{hashlib.sha256(mutant.whole).hexdigest()[:12]}"
                whole.write_bytes(mutant.whole)
            yield path, whole
        yield from ((path, None) for path in bombs(folder, names))

    return read_all(files(), keep)


def read_all(files: Iterable[tuple[Path, Path | None]], keep: Path) -> Figures:
    """Read files as image and as mask; files at fault move to `keep`, the others are deleted.

    Parameters
    ----------
    files : pairs of paths
        A file, and the undamaged one whose pixels it must show where it can be read, or None.
    keep : Path
        Folder for the files that are neither read nor refused as they should be.
    """
    figures, known = Figures(), {}
    with Reader() as reader:
        for file, whole in files:
            if whole is not None and whole not in known:
                known[whole] = reader.read(whole)["pixels"]
            answer = reader.read(file)
            if answer.get("seconds", MAX_SECONDS) >= MAX_SECONDS:
                answer = reader.read(file)  # once more: other work on the machine makes anything slow
            fault = _fault(answer, known.get(whole))
            figures.outcomes["fault" if fault else answer["outcome"]] += 1
            figures.slowest = max(figures.slowest, answer.get("seconds", MAX_SECONDS))
            figures.peak = max(figures.peak, answer.get("peak", 0))
            if fault:
                figures.faults.append(f"{keep / file.name}: {fault}")
                keep.mkdir(parents=True, exist_ok=True)
                file.replace(keep / file.name)
            else:
                file.unlink()
    return figures


def _fault(answer: dict, pixels: str | None) -> str | None:
    """Say what is wrong with an answer, None where it is as it should be."""
    if answer["outcome"] not in ("read", "refused"):
        return answer["outcome"]
    if answer["seconds"] >= MAX_SECONDS:
        return f"{answer['outcome']} after {answer['seconds']:.1f} s"
    if answer["peak"] > MAX_BYTES:
        return f"{answer['outcome']} with {answer['peak'] / 1e6:.0f} MB of memory"
    if pixels and answer["outcome"] == "read" and answer["pixels"] != pixels:
        return "read with other pixels than the whole file"
    return None
