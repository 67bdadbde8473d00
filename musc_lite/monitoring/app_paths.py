"""Where the page of `musc-lite app` may read, and where it keeps what it makes."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from musc_lite.data.image_set import ImageSet


@dataclass(frozen=True)
class Places:
    """Folders of the page.

    Attributes
    ----------
    output : Path
        Where verdicts, features and the reference are kept.
    start : Path
        Where paths that are typed begin, unless they are absolute.
    root : Path or None
        Only folders inside of it are opened; None: all that the user may read.
    folder : Path or None
        Which folder is offered first.
    """

    output: Path
    start: Path
    root: Path | None = None
    folder: Path | None = None

    VARIABLE: ClassVar[str] = "MUSC_LITE_APP"  # of the environment: from the command to the page's process

    @classmethod
    def from_environment(cls) -> "Places":
        """Read what the command handed on; without it, the folder out/app and no root."""
        if found := os.environ.get(cls.VARIABLE):
            return cls(**{name: path and Path(path) for name, path in json.loads(found).items()})
        return cls(Path("out/app").resolve(), Path.cwd())

    def to_json(self) -> str:
        """Write what `from_environment` reads."""
        return json.dumps({name: path and str(path) for name, path in vars(self).items()})

    def beginning_with(self, folder: Path) -> "Places":
        """Offer this folder first."""
        return replace(self, folder=folder)

    @property
    def first(self) -> Path:
        """The folder that the page begins with."""
        return self.folder or self.root or self.start

    @property
    def features(self) -> Path:
        """Folder of features, for any photos."""
        return self.output / "features"

    @property
    def model(self) -> Path:
        """File of the reference model; `line.musc`, as the previous version named it, if that is all there is."""
        current, previous = self.output / "reference.musc", self.output / "line.musc"
        return previous if previous.is_file() and not current.is_file() else current

    def of_photos(self, folder: Path) -> Path:
        """Folder for what belongs to the photos of one folder: two of the same name stay apart."""
        return self.output / f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"

    def inside(self, text: str) -> Path:
        """Return the folder that a typed path means, links followed.

        Raises
        ------
        ValueError
            If nothing is typed, it cannot be reached, or it lies outside of the root; whether there is such a folder is
            not told then.
        """
        if not text.strip():
            raise ValueError("type the path of a folder of images")
        try:
            folder = (self.start / Path(text.strip()).expanduser()).resolve()
        except RuntimeError as error:
            raise ValueError(
                f"{text.strip()} is a link to itself, or the home of no user: type a whole path"
            ) from error
        except (OSError, ValueError) as error:
            raise ValueError(_unreachable(text, error)) from error
        if not self.is_inside(folder):
            raise ValueError(
                f"{text.strip()} lies outside of {self.root}, and this page opens folders inside of it only: give one "
                "of these, or start the page with another --root"
            )
        try:
            folder.is_dir()
        except OSError as error:
            raise ValueError(_unreachable(text, error)) from error
        return folder

    def is_inside(self, path: Path) -> bool:
        """Whether a path, links followed, lies inside of the root; one that cannot be followed does not."""
        try:
            return self.root is None or path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):
            return False

    def check(self, images: "ImageSet") -> "ImageSet":
        """Return a set of images; raise `ValueError` if an image or a mask is a link to outside of the root."""
        masks = (part for each in images.mask_sources or () for part in (each if isinstance(each, list) else [each]))
        for source in [*images.sources, *masks]:
            if isinstance(source, Path) and not self.is_inside(source):
                raise ValueError(f"{source} is a link to a file outside of {self.root}: take it out of the folder")
        return images

    def subfolders(self, folder: Path) -> list[Path]:
        """List the folders in a folder, without hidden ones and those outside of the root."""
        found = (path for path in folder.iterdir() if path.name[0] != "." and _is_folder(path))
        return sorted((path for path in found if self.is_inside(path)), key=lambda path: path.name.lower())


def _is_folder(path: Path) -> bool:
    """Whether this is a folder; one below a folder that may not be entered counts as none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _unreachable(text: str, error: Exception) -> str:
    """Return the sentence on a path that the system refuses."""
    shown = ascii(text.strip())[1:-1]
    shown = shown if len(shown) <= 120 else f"{shown[:60]} ... {shown[-40:]}"
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{shown} cannot be opened: {why}. Check the path, and whether you may read that folder"
