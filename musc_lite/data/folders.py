"""What a folder holds: image files in natural order, and which masks belong to which image."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from musc_lite.support.errors import DataNotFoundError

__all__ = [
    "EXTENSIONS",
    "PAGED",
    "Skipped",
    "entries",
    "existing_folder",
    "find_images",
    "from_here",
    "mask_names",
    "match_masks",
    "natural_key",
    "readable",
    "subfolders",
    "summarize",
    "why_left_out",
]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
HEIC = (".heic", ".heif", ".hif")  # photos of telephones and some cameras
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
# Pictures that a user would miss without a word about them; texts and tables beside the images are expected.
CAMERA_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf")
UNSUPPORTED = (".avif", ".gif", ".jp2", ".jxl", ".psd", ".ppm", ".pgm", ".tga", *CAMERA_RAW)
SEEN = {*EXTENSIONS, *HEIC, *VIDEOS, *UNSUPPORTED}
PAGED = "page 1 of "  # how the reason begins why further pages are left out
# How other reasons begin, what such files are called in one line, what to do about them.
GROUPS = (
    ("a HEIC photo", "{n} x ENDING", "pip install 'musc-lite[heic]' reads them"),
    ("format not supported", "{n} x ENDING", "convert to .png"),
    ("a video", "{n} video{s}", "take frames out"),
    ("it has no mask", "{n} without a mask", "add it, or rename the folder of masks to load all without"),
    ("", "{n} unreadable", "repair or remove"),
)
MASK_ENDING = re.compile("[_-]mask[_-]?[0-9]*$")
MASK_LIKE_ENDING = re.compile("[_-](mask|gt|label|seg)[_-]?[0-9]*$")  # said of files that nobody called masks

Skipped = list[tuple[Path, str]]


def existing_folder(path: str | PathLike) -> Path:
    """Give the folder as a Path; raise `DataNotFoundError` when there is none."""
    folder = Path(path).expanduser()
    if folder.is_file():
        raise DataNotFoundError(f"{folder} is a file: give the folder that holds it")
    if not folder.is_dir():
        raise DataNotFoundError(f"there is no folder {folder}: check the spelling{from_here(folder)}")
    return folder


def from_here(path: Path) -> str:
    """Say where a relative path begins."""
    return "" if path.is_absolute() else f" (from here, {Path.cwd()})"


def entries(folder: Path) -> list[Path]:
    """List what is in a folder and not hidden, links last."""
    try:
        found = [e for e in folder.iterdir() if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise DataNotFoundError(f"the folder {folder} cannot be listed: {error.strerror}") from error
    return sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))


def subfolders(folder: Path, *names: str) -> list[Path]:
    """Find direct subfolders by name in small letters, whatever their case, in the order of `names`."""
    there = entries(folder)
    return [entry for name in names for entry in there if entry.name.lower() == name and entry.is_dir()]


def find_images(folder: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], Skipped]:
    """Find all image files in natural order, and those that a user would miss: in other formats, and videos."""
    found = sorted(_walk(folder, leave_out, set()), key=lambda file: natural_key(file.relative_to(folder)))
    endings = readable()
    return (
        [file for file in found if file.suffix.lower() in endings],
        [(file, why_left_out(file)) for file in found if file.suffix.lower() not in endings],
    )


def readable() -> tuple[str, ...]:
    """Give the endings of the image files that can be read here."""
    return EXTENSIONS + (HEIC if find_spec("pillow_heif") else ())


def why_left_out(file: Path) -> str:
    """Say why a file that cannot be read here is left out, as far as its ending tells."""
    suffix = file.suffix.lower()
    if suffix in HEIC:
        return "a HEIC photo: pip install 'musc-lite[heic]' reads it"
    if suffix in VIDEOS:
        return "a video: take frames out of it, for instance with ffmpeg -i VIDEO -vf fps=1 frame_%04d.png"
    return f"format not supported: {suffix}; convert it to one of {' '.join(EXTENSIONS)}"


def summarize(skipped: Skipped) -> str:
    """Say in one line what was left out, grouped by reason; "" where nothing was.

    Examples
    --------
    >>> summarize([(file, why_left_out(file)) for file in (Path("a.gif"), Path("b.mov"), Path("c.gif"))])
    'left out 3 files: 2 x .gif (convert to .png), 1 video (take frames out)'
    """
    n_paged = sum(reason.startswith(PAGED) for _, reason in skipped)
    groups = Counter(_group(path, reason) for path, reason in skipped if not reason.startswith(PAGED))
    texts = [f"{words.format(n=n, s='s' * (n > 1))} ({advice})" for (words, advice), n in groups.items()]
    parts = [f"{_files(groups.total())}: {', '.join(texts)}"] if groups else []
    if n_paged:
        parts.append(f"all but the first page of {_files(n_paged)} (save the others as files of their own)")
    return f"left out {'; and '.join(parts)}" if parts else ""


def _group(path: Path, reason: str) -> tuple[str, str]:
    words, advice = next((words, advice) for start, words, advice in GROUPS if reason.startswith(start))
    return words.replace("ENDING", path.suffix.lower()), advice


def _files(n: int) -> str:
    return f"{n} file{'s' * (n > 1)}"


def _walk(folder: Path, leave_out: Sequence[Path], seen: set[Path]) -> Iterator[Path]:
    """Yield whatever has a picture's name; each real folder is entered once, so that links make no circle."""
    if folder.resolve() in seen or folder in leave_out:
        return
    seen.add(folder.resolve())
    for entry in entries(folder):
        if entry.is_dir() and entry.suffix.lower() not in EXTENSIONS:
            yield from _walk(entry, leave_out, seen)
        elif entry.suffix.lower() in SEEN:
            yield entry


def natural_key(path: Path) -> tuple:
    """Sort img2 before img10, letters of either case alike, and ties always the same way."""
    # Splitting at digits gives text, digits, text, ...: like meets like when two keys are compared.
    pieces = [re.split("([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(p) if i % 2 else p for i, p in enumerate(part)] for part in pieces], path.as_posix()


def match_masks(
    images: Sequence[Path], image_folder: Path, masks: Sequence[Path], mask_folder: Path
) -> list[Path | list[Path] | None]:
    """Find the mask of each image, a list of them where there are several, None where there is none.

    For an image ``bad/a.jpg`` these are ``bad/a.png``, ``bad/a_mask.png``, ``bad/a_mask_1.png``, ``bad/a_mask2.png``
    and all in a folder ``bad/a/``, with any image extension, in any mixture.

    Examples
    --------
    >>> files = [Path("bad/0_mask.png"), Path("bad/0_mask_1.png"), Path("bad/1/000.png"), Path("bad/7.png")]
    >>> match_masks([Path("bad/0.JPG"), Path("bad/1.JPG"), Path("bad/2.JPG")], Path(), files, Path())
    [[...Path('bad/0_mask.png'), ...Path('bad/0_mask_1.png')], ...Path('bad/1/000.png'), None]
    """
    names = [_name(file.relative_to(image_folder).with_suffix("")) for file in images]
    found: dict[str, list[Path]] = {name: [] for name in names}
    for mask in masks:
        file = mask.relative_to(mask_folder)
        for name in (_name(file.with_suffix("")), _name(file.parent)):
            owner = name if name in found else MASK_ENDING.sub("", name)
            if owner in found:
                found[owner].append(mask)
                break
    return [found[name] if len(found[name]) > 1 else next(iter(found[name]), None) for name in names]


def mask_names(images: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair the images of which one, by its name, may be the other's mask: same folder, same name but for its ending.

    Examples
    --------
    >>> mask_names([Path("1.jpg"), Path("1.png"), Path("2_mask.png"), Path("2.png"), Path("3_mask.png")])
    [(...Path('1.jpg'), ...Path('1.png')), (...Path('2.png'), ...Path('2_mask.png'))]
    """
    by_name: dict[tuple[Path, str], list[Path]] = {}
    for file in images:
        by_name.setdefault((file.parent, MASK_LIKE_ENDING.sub("", file.stem.casefold())), []).append(file)
    pairs = []
    for alike in by_name.values():
        first, *others = sorted(alike, key=lambda file: len(file.stem))  # the shortest name is the photo's, if any is
        pairs += [(first, other) for other in others]
    return pairs


def _name(path: Path) -> str:
    """Reduce to what an image's path and its masks' have in common."""
    return path.as_posix().casefold().removeprefix("images/")
