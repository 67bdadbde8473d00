"""What a folder holds: image files in natural order, and what is left out of it."""

import os
import re
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from musc_lite.utils.errors import DataNotFoundError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".dib", ".tif", ".tiff", ".webp")
HEIC = (".heic", ".heif", ".hif")  # photos of telephones and some cameras
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
# Pictures that a user would miss without a word about them; texts and tables beside the images are expected.
CAMERA_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf")
UNSUPPORTED = (
    *(".avif", ".gif", ".jp2", ".j2k", ".jxl", ".psd", ".ppm", ".pgm", ".pfm", ".tga", ".dcm", ".exr", ".hdr", ".fits"),
    *CAMERA_RAW,
)
SEEN = {*EXTENSIONS, *HEIC, *VIDEOS, *UNSUPPORTED}
# Beside images these are expected; files of other endings, or of none, are opened to see whether they are images.
NO_IMAGES = (".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".md", ".yaml", ".yml", ".log", ".npy", ".npz", ".py")
PAGED = "page 1 of "  # how the reason begins why further pages are left out
BESIDE_TEST = "images in it are not scored"  # how the reason goes on, after the number of images
NO_MASK = "it has no mask"
HEIGHTS = "a height map"
UNLISTED = "the folder cannot be listed"
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
# Folders that systems and network drives make: thumbnails, trash, what a check of the disk found.
SYSTEM_FOLDERS = {
    *("@eadir", "#recycle", "@recycle", "#snapshot", "@snapshot", "@tmp", "$recycle.bin", "recycler"),
    *("lost+found", "system volume information", "__macosx", "found.000"),
}
# How other reasons begin, what such files are called in one line, what to do about them.
GROUPS = (
    ("a HEIC photo", "{n} x ENDING", "pip install 'musc-lite[heic]' reads them"),
    ("format not supported", "{n} x ENDING", "convert to .png"),
    ("an image that", "{n} x ENDING", "rename them"),
    ("a video", "{n} video{s}", "take frames out"),
    (NO_MASK, "{n} without a mask", "add it, or load all without masks by labels='none', --labels none"),
    (HEIGHTS, "{n} height map{s}", "they lie beside photos, which are read"),
    (UNLISTED, "{n} folder{s} that cannot be listed", "allow reading, or move it away"),
    ("", "{n} unreadable", "repair or remove"),
)
Skipped = list[tuple[Path, str]]
HEAD = 64  # bytes are enough to tell
TO_PNG = "convert it to PNG"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
IMAGES = (  # that are read
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (8, b"WEBPVP8"),
    *((0, start) for start in TIFF_STARTS),
)
BMP_HEADERS = (b"(\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0")  # their length
OTHERS = (  # where, what stands there, what it is, what to do
    (0, b"GIF8", "a GIF image", TO_PNG),
    (4, b"ftypavif", "an AVIF image", TO_PNG),
    (4, b"ftypavis", "an AVIF image", TO_PNG),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 image", TO_PNG),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", TO_PNG),
    (0, b"\xff\x0a", "a JPEG XL image", TO_PNG),
    (4, b"JXL \r\n\x87\n", "a JPEG XL image", TO_PNG),
    (0, b"v/1\x01", "an OpenEXR image", TO_PNG),
    (0, b"8BPS", "a Photoshop file", TO_PNG),
    (0, b"%PDF", "a PDF document", "export its pictures as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the image itself", "run `git lfs pull`"),
)
HTML = (b"<!doctype html", b"<html")


def existing_folder(path: str | PathLike) -> Path:
    """Return the folder as a Path; raise `DataNotFoundError` when there is none."""
    folder = user_path(path)
    if folder.is_file():
        raise DataNotFoundError(f"{folder} is a file: {_instead(folder)}")
    if not folder.is_dir():
        raise DataNotFoundError(f"there is no folder {folder}: check the spelling{from_here(folder)}")
    return folder


def user_path(path: str | PathLike) -> Path:
    """Return the path with `~` replaced by the home folder; raise `DataNotFoundError` where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataNotFoundError(f"{path}: no home folder is known of this user; write the whole path") from error


def _instead(file: Path) -> str:
    """Return what to give instead of a file that is no image folder."""
    if file.suffix.lower() in ARCHIVES:
        return "unpack this archive and give the folder that comes out"
    if file.suffix.lower() in SEEN:
        return "give the folder that holds it"
    return "give a folder of images, image files, or a pattern such as 'photos/*.png'"


def from_here(path: Path) -> str:
    """Return where a relative path begins."""
    return "" if path.is_absolute() else f" (from here, {Path.cwd()})"


def entries(folder: Path) -> list[Path]:
    """List what is in a folder, neither hidden nor made by the system, links last."""
    try:
        return [entry for entry, _ in _listing(folder)]
    except OSError as error:
        raise DataNotFoundError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def _listing(folder: Path) -> list[tuple[Path, bool]]:
    """List the same, each with whether it is a folder; the path of a folder inside may be too long to ask for it."""
    with os.scandir(folder) as found:
        shown = [e for e in found if not e.name.startswith(".") and e.name.lower() not in SYSTEM_FOLDERS]
        return [(folder / e.name, _is_folder(e)) for e in sorted(shown, key=lambda e: (e.is_symlink(), e.name))]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def subfolders(folder: Path, *names: str) -> list[Path]:
    """Find direct subfolders by name in small letters, whatever their case, in the order of `names`.

    A folder that cannot be listed has none: `find_images` names it.
    """
    with suppress(OSError):
        folders = [entry for entry, is_folder in _listing(folder) if is_folder]
        return [entry for name in names for entry in folders if entry.name.lower() == name]
    return []


def find_images(folder: Path) -> tuple[list[Path], Skipped]:
    """Find all image files in natural order, and what a user would miss.

    These are files in other formats, videos, and folders inside that cannot be listed.
    """
    entries(folder)  # which raises where the folder itself cannot be listed
    files, unlisted = _walk(folder)
    found = sorted(files, key=lambda file: natural_key(file.relative_to(folder)))
    can_be_read = [is_readable(file) for file in found]
    return (
        [file for file, can in zip(found, can_be_read, strict=True) if can],
        [(file, why_left_out(file)) for file, can in zip(found, can_be_read, strict=True) if not can] + unlisted,
    )


def is_readable(file: Path) -> bool:
    """Whether a file is an image that can be read here: by its ending, or by its content where it has none."""
    suffix = file.suffix.lower()
    return suffix in readable() or (not suffix and _holds_image(file))


def _holds_image(file: Path) -> bool:
    """Whether a file holds an image, whatever its name says."""
    start = b""
    with suppress(OSError):
        if file.is_file():  # a named pipe would not answer
            with file.open("rb") as opened:
                start = opened.read(HEAD)
    is_bmp = start[:2] == b"BM" and start[6:10] == bytes(4) and start[14:18] in BMP_HEADERS
    return is_bmp or any(start[at:].startswith(magic) for at, magic in IMAGES)


def what_it_is(start: bytes) -> str:
    """Return what a file is that is not read, and what to do about it; "" where that is not known.

    Examples
    --------
    >>> what_it_is(b"GIF89a")
    'it is a GIF image: convert it to PNG'
    """
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(HTML):
        return "it is a web page, perhaps an error message in place of the image: download it again"
    found = [f"it is {what}: {advice}" for at, magic, what, advice in OTHERS if start[at:].startswith(magic)]
    return found[0] if found else ""


def readable() -> tuple[str, ...]:
    """Return the endings of the image files that can be read here."""
    return EXTENSIONS + (HEIC if find_spec("pillow_heif") else ())


def why_left_out(file: Path) -> str:
    """Return why a file that cannot be read here is left out, as far as its ending tells."""
    suffix = file.suffix.lower()
    if suffix in HEIC:
        return "a HEIC photo: pip install 'musc-lite[heic]' reads it"
    if suffix in VIDEOS:
        return "a video: take frames out of it, for instance with ffmpeg -i VIDEO -vf fps=1 frame_%04d.png"
    if suffix not in SEEN and _holds_image(file):
        return (
            f"an image that is called {suffix or 'by no ending'}: rename it to {' '.join(EXTENSIONS)}, as its format is"
        )
    if suffix not in SEEN:
        return f"it is no image: {_instead(file)}"
    return f"format not supported: {suffix}; convert it to one of {' '.join(EXTENSIONS)}"


def summarize(skipped: Skipped) -> str:
    """Return in one line what was left out, grouped by reason; "" where nothing was.

    Examples
    --------
    >>> summarize([(file, why_left_out(file)) for file in (Path("a.gif"), Path("b.mov"), Path("c.gif"))])
    'left out 3 files: 2 x .gif (convert to .png), 1 video (take frames out)'
    """
    n_paged = sum(reason.startswith(PAGED) for _, reason in skipped)
    beside = [(path, int(reason.split()[0])) for path, reason in skipped if BESIDE_TEST in reason]
    others = [pair for pair in skipped if not pair[1].startswith(PAGED) and BESIDE_TEST not in pair[1]]
    groups = Counter(_group(path, reason) for path, reason in others)
    texts = [f"{words.format(n=n, s='s' * (n > 1))} ({advice})" for (words, advice), n in groups.items()]
    parts = [f"{_files(groups.total())}: {', '.join(texts)}"] if groups else []
    if n_paged:
        parts.append(f"all but the first page of {_files(n_paged)} (save the others as files of their own)")
    if beside:
        folders = ", ".join(f"{path.name}/" for path, _ in beside)
        parts.append(f"{sum(n for _, n in beside)} images in {folders} (test/ beside it is scored alone)")
    return f"left out {'; and '.join(parts)}" if parts else ""


def _group(path: Path, reason: str) -> tuple[str, str]:
    words, advice = next((words, advice) for start, words, advice in GROUPS if reason.startswith(start))
    return words.replace("ENDING", path.suffix.lower()), advice


def _files(n: int) -> str:
    return f"{n} file{'s' * (n > 1)}"


def _walk(top: Path) -> tuple[list[Path], Skipped]:
    """Find whatever has a picture's name; each real folder is entered once, so that links make no circle."""
    found: list[Path] = []
    unlisted: Skipped = []
    seen: set[tuple[int, int] | Path] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            about = folder.stat()
            real = (about.st_dev, about.st_ino) if about.st_ino else folder.resolve()  # some drives count no files
            if real in seen:
                continue
            inside = _listing(folder)
        except OSError as error:
            unlisted.append((folder, f"{UNLISTED}: {error.strerror}"))
            continue
        seen.add(real)
        enter = [is_folder and entry.suffix.lower() not in EXTENSIONS for entry, is_folder in inside]
        # The first comes first: a link to it is known then.
        waiting += [entry for (entry, _), enters in zip(reversed(inside), reversed(enter), strict=True) if enters]
        pictures = (entry for (entry, _), enters in zip(inside, enter, strict=True) if not enters)
        for entry in pictures:
            suffix = entry.suffix.lower()
            if suffix in SEEN or (suffix not in NO_IMAGES and _holds_image(entry)):
                found.append(entry)
    return found, unlisted


def natural_key(path: Path) -> tuple:
    """Sort img2 before img10, letters of either case alike, and ties always the same way."""
    # Splitting at digits gives text, digits, text, ...: like meets like when two keys are compared.
    pieces = [re.split("([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(p) if i % 2 else p for i, p in enumerate(part)] for part in pieces], path.as_posix()
