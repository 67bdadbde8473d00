"""Turn folders into an `ImageSet`: any folder of images, the MVTec AD layout, magnetic tiles.

All loaders look at names first and read pixels later. With ``on_error="raise"`` (the default) a damaged
file raises when it is read; with ``on_error="skip"`` each file is decoded once at load, and the bad ones are
left out and listed in ``.skipped``. Files in formats that are not supported, such as HEIC, are listed there
in both cases.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

import numpy as np

from musc_lite.errors import DataNotFoundError, ImageReadError
from musc_lite.images import SKIP_HINT, ImageSet

__all__ = ["load_folder", "load_magnetic_tile", "load_mvtec"]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# Pictures that a user would miss without a word about them; texts and tables beside the images are expected.
CAMERA_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf")
UNSUPPORTED = (".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".psd", ".ppm", ".pgm", ".tga", *CAMERA_RAW)
NORMAL_FOLDERS = {"good", "ok", "normal"}
MVTEC_FOLDERS = ("test", "ground_truth")
MAGNETIC_TILE_FOLDERS = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Free", "MT_Uneven")

Skipped = list[tuple[Path, str]]


def load_folder(path: str | PathLike, on_error: str = "raise") -> ImageSet:
    """Load the images of a folder and its subfolders, in natural order (img2 before img10).

    Parameters
    ----------
    path : str or Path
        Any folder of PNG, JPEG, BMP, TIFF or WebP files. Hidden files and folders are ignored. If it has a
        subfolder ``test``, it is read as a category of MVTec AD: images from ``test`` alone, masks from
        ``ground_truth``.
    on_error : {"raise", "skip"}
        What to do about files that cannot be used: raise when they are read, or leave them out now.

    Returns
    -------
    ImageSet
        Labels: if there is a subfolder ``good`` (or ``ok``, ``normal``), its images are 0 and all others 1.
        Masks: from ``ground_truth`` or ``masks`` directly in the folder, at the image's own relative path
        (for ``images/a.jpg`` also without ``images/``) with any image extension, with or without ``_mask``.
        With masks and no ``good``, an image is labeled 1 where its mask is not empty.

    Raises
    ------
    DataNotFoundError
        When there is no such folder, or no images in it.
    ImageReadError
        When a defective image has no mask although others have, or a folder has an image's name.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("good/2.png", "good/10.png", "scratch/1.png"):
    ...         Path(folder, name).parent.mkdir(exist_ok=True)
    ...         Image.new("L", (8, 8)).save(Path(folder, name))
    ...     images = load_folder(folder)
    >>> images.names, images.labels
    (['good/2.png', 'good/10.png', 'scratch/1.png'], array([0, 0, 1]))
    """
    root = _existing_folder(path)
    if categories := [e.name for e in _entries(root) if e.is_dir() and len(_subfolders(e, *MVTEC_FOLDERS)) == 2]:
        raise DataNotFoundError(f"{root} holds categories: give one, such as {root / categories[0]}")
    mask_folders = _subfolders(root, "ground_truth", "masks")
    image_folder = next(iter(_subfolders(root, "test")), root)
    paths, unsupported = _find_images(image_folder, leave_out=mask_folders)
    relative = [file.relative_to(image_folder) for file in paths]

    normal = [any(part.lower() in NORMAL_FOLDERS for part in file.parts) for file in relative]
    labels = [int(not is_normal) for is_normal in normal] if any(normal) else None
    masks = None
    if mask_folders:
        mask_paths, _ = _find_images(mask_folders[0])
        known = {_mask_key(file.relative_to(mask_folders[0])): file for file in mask_paths}
        masks = [known.get(_mask_key(file)) for file in relative]
    return _image_set(root, paths, labels, masks, unsupported, on_error)


def load_mvtec(root: str | PathLike, category: str, on_error: str = "raise") -> ImageSet:
    """Load the test split of one category of MVTec AD, or of a data set in its layout.

    Parameters
    ----------
    root : str or Path
        The folder that holds ``<category>/test/good``, ``<category>/test/<defect>`` and
        ``<category>/ground_truth/<defect>/<stem>_mask.png``.
    category : str
        Such as "bottle".
    on_error : {"raise", "skip"}
        As in `load_folder`.

    Raises
    ------
    DataNotFoundError
        When there is no such category; the message lists those there are.
    """
    root = _existing_folder(root)
    categories = [child.name for child in _entries(root) if child.is_dir() and _subfolders(child, "test")]
    if category not in categories:
        close = get_close_matches(category, categories, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        there = ", ".join(categories) or "none: each must hold a folder 'test'"
        raise DataNotFoundError(f"{root} has no category {category!r}.{hint} Categories there: {there}")
    return load_folder(root / category, on_error)


def load_magnetic_tile(root: str | PathLike, on_error: str = "raise") -> ImageSet:
    """Load the magnetic tile defect data set (Huang, Qiu and Yuan, 2018).

    Parameters
    ----------
    root : str or Path
        The folder that holds ``MT_Free/Imgs``, ``MT_Blowhole/Imgs`` and so on, each with images (.jpg) and
        masks of the same stem (.png). Images of ``MT_Free`` are labeled 0, others 1.
    on_error : {"raise", "skip"}
        As in `load_folder`.
    """
    root = _existing_folder(root)
    files, unsupported = _find_images(root)
    paths = [f for f in files if f.suffix.lower() == ".jpg" and f.parent.parent.name in MAGNETIC_TILE_FOLDERS]
    if not paths:
        layout = ", ".join(f"{name}/Imgs/*.jpg" for name in MAGNETIC_TILE_FOLDERS)
        raise DataNotFoundError(f"no images in {root}: it must hold at least one of {layout}")
    masks = [mask if (mask := file.with_suffix(".png")).exists() else None for file in paths]
    labels = [int(file.parent.parent.name != "MT_Free") for file in paths]
    return _image_set(root, paths, labels, masks, unsupported, on_error)


def _existing_folder(path: str | PathLike) -> Path:
    folder = Path(path).expanduser()
    if folder.is_file():
        raise DataNotFoundError(f"{folder} is a file: give the folder that holds it")
    if not folder.is_dir():
        raise DataNotFoundError(f"there is no folder {folder}: check the spelling (from here, {Path.cwd()})")
    return folder


def _entries(folder: Path) -> list[Path]:
    """List what is in a folder and not hidden, links last."""
    try:
        entries = [e for e in folder.iterdir() if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise DataNotFoundError(f"the folder {folder} cannot be listed: {error.strerror}") from error
    return sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))


def _subfolders(folder: Path, *names: str) -> list[Path]:
    """Find direct subfolders by name, whatever the case, in the order of `names`."""
    entries = _entries(folder)
    return [entry for name in names for entry in entries if entry.name.lower() == name and entry.is_dir()]


def _find_images(folder: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], Skipped]:
    """Find all image files in natural order, and those in formats that are not supported."""
    found = sorted(_walk(folder, leave_out, set()), key=lambda file: _natural_key(file.relative_to(folder)))
    unsupported = [file for file in found if file.suffix.lower() in UNSUPPORTED]
    advice = f"convert it to one of {' '.join(EXTENSIONS)}"
    return (
        [file for file in found if file.suffix.lower() in EXTENSIONS],
        [(file, f"format not supported: {file.suffix.lower()}; {advice}") for file in unsupported],
    )


def _walk(folder: Path, leave_out: Sequence[Path], seen: set[Path]) -> Iterator[Path]:
    """Yield whatever has a picture's name; each real folder is entered once, so that links make no circle."""
    if folder.resolve() in seen or folder in leave_out:
        return
    seen.add(folder.resolve())
    for entry in _entries(folder):
        if entry.is_dir() and entry.suffix.lower() not in EXTENSIONS:
            yield from _walk(entry, leave_out, seen)
        elif entry.suffix.lower() in EXTENSIONS + UNSUPPORTED:
            yield entry


def _natural_key(path: Path) -> tuple:
    """Sort img2 before img10, letters of either case alike, and ties always the same way."""
    # Splitting at digits gives text, digits, text, ...: like meets like when two keys are compared.
    pieces = [re.split("([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(p) if i % 2 else p for i, p in enumerate(part)] for part in pieces], path.as_posix()


def _mask_key(path: Path) -> str:
    """Reduce to what an image's path and its mask's have in common."""
    return path.with_suffix("").as_posix().casefold().removeprefix("images/").removesuffix("_mask")


def _image_set(
    root: Path,
    paths: list[Path],
    labels: list[int] | None,
    masks: list[Path | None] | None,
    unsupported: Skipped,
    on_error: str,
) -> ImageSet:
    """Make the set after the checks that all loaders share."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    names = [path.relative_to(root).as_posix() for path in paths]
    images = ImageSet(paths, names, labels, masks, unsupported)
    troubles = [_trouble(images, i, decode=on_error == "skip") for i in range(len(images))]
    skipped = [(path, trouble) for path, trouble in zip(paths, troubles, strict=True) if trouble]
    if skipped and on_error == "raise":
        raise ImageReadError(
            f"{root}: {_summary(skipped)}; correct this, or leave such files out (on_error='skip', --on-error skip)"
        )
    images = replace(images.subset([not trouble for trouble in troubles]), skipped=unsupported + skipped)
    if not len(images):
        why = f"; left out: {_summary(images.skipped)}" if images.skipped else ""
        raise DataNotFoundError(f"no images in {root} (looked for {' '.join(EXTENSIONS)}){why}")
    if labels is None and masks is not None:
        images.labels = np.array([int(images.mask(i).any()) for i in range(len(images))])
    return images


def _trouble(images: ImageSet, i: int, decode: bool) -> str | None:
    """Say why image i cannot be used, if so; without `decode`, as far as that is known unread."""
    path = images.sources[i]
    if path.is_dir():
        return "it is a folder with an image's name: rename it"
    may_be_defective = images.labels is None or images.labels[i] == 1
    if images.mask_sources is not None and images.mask_sources[i] is None and may_be_defective:
        return "it has no mask (add it, or rename the folder of masks to load all images without)"
    try:
        if decode:
            images.mask(i)
    except ImageReadError as error:
        return str(error).removeprefix(f"{path} ").removesuffix(SKIP_HINT)
    return None


def _summary(skipped: Skipped, at_most: int = 5) -> str:
    shown = "; ".join(f"{path}: {reason}" for path, reason in skipped[:at_most])
    return shown + (f"; and {len(skipped) - at_most} more" if len(skipped) > at_most else "")
