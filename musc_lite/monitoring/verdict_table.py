"""The verdicts on the photos of one folder: written at once, whatever else is in their table stays."""

from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from musc_lite.data.image_set import ImageSet
from musc_lite.data.verdicts import Verdict, match_verdicts, read_verdicts, write_verdicts
from musc_lite.utils.files import make_folder

__all__ = ["VerdictBook"]

PATIENCE = 30  # seconds: another page writes its table in far less


class VerdictBook:
    """A table of verdicts that is read again before each change: another page, or a person, may have written there.

    Parameters
    ----------
    path : Path
        verdicts.csv, which need not be there yet.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[Verdict]:
        """Give all verdicts, also those on images that are gone."""
        return read_verdicts(self.path) if self.path.exists() else []

    def mark(self, images: ImageSet, i: int, verdict: str) -> None:
        """Write the verdict on image i, and all of its copies; "" takes it back."""
        name, digest = images.names[i], images.digest(i)
        make_folder(self.path.parent)
        with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=PATIENCE):  # two pages may mark at once
            found = self.read()
            same = [each for each in found if each.sha256 == digest or each.image == name]
            rows = [each for each in found if each not in same]
            if verdict:
                known = next((each for each in same if each.image == name), Verdict(name, verdict))
                rows.append(replace(known, verdict=verdict, sha256=digest))  # a class and a note that are there stay
            write_verdicts(self.path, rows)

    def of(self, images: ImageSet) -> tuple[list[str], list[str]]:
        """Give each image's verdict, "" where there is none; and the names of those that were changed since theirs."""
        return match_verdicts(images, self.read())[:2]
