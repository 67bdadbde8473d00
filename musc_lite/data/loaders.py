"""Turn folders into an `ImageSet`: any folder of images, the MVTec AD layout, VisA, BTAD, magnetic tiles.

All loaders look at names first and read pixels later. With ``on_error="raise"`` (the default) a damaged
file raises when it is read; with ``on_error="skip"`` each file is decoded once at load, and the bad ones are
left out and listed in ``.skipped``. Files in formats that are not supported, videos, and files of which only
the first page is read are listed there in both cases; `left_out` sums them up in one line. Where a category
of a published data set holds other numbers of images than published, its loader warns and goes on.
"""

import csv
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from musc_lite.data.arrays import from_arrays
from musc_lite.data.datasets import look_up
from musc_lite.data.decode import SKIP_HINT, count_pages
from musc_lite.data.discovery import (
    BESIDE_TEST,
    NO_MASK,
    PAGED,
    Skipped,
    entries,
    existing_folder,
    find_images,
    from_here,
    is_readable,
    natural_key,
    readable,
    subfolders,
    summarize,
    user_path,
    why_left_out,
)
from musc_lite.data.image_set import ImageSet
from musc_lite.data.labels import LABELS, NORMAL_FOLDERS, folder_labels, labeling
from musc_lite.data.layouts import MAGNETIC_TILE_FOLDERS, Found, is_jpeg, names_below, one_folder, tiles
from musc_lite.data.masks import masks_among
from musc_lite.utils.errors import DataNotFoundError, ImageReadError
from musc_lite.utils.names import listed
from musc_lite.utils.progress import progress_bar

SHOWN = 5  # files in a message; masks that are read to see whether they are inverted


def load_folder(
    path: str | PathLike | Iterable[str | PathLike], on_error: str = "raise", labels: str = "auto"
) -> ImageSet:
    """Load the images of a folder and its subfolders, in natural order (img2 before img10); or of several.

    Parameters
    ----------
    path : str or Path, or several
        Any folder of PNG, JPEG, BMP, TIFF, WebP or (with the extra ``heic``) HEIC files. Hidden files and
        folders are ignored, and those that systems make (``@eaDir``, ``lost+found``). A subfolder ``test`` is read
        alone in the layout of MVTec AD and beside ``train`` or ``valid``; `.skipped` counts what is not read. Magnetic
        tiles in their authors' layout, all or one folder of them, are read as `load_magnetic_tile` does. A list may
        hold folders and image files: each file counts once, names begin below the folder that holds all of them, and
        masks are left aside.
    on_error : {"raise", "skip"}
        What to do about files that cannot be used: raise when they are read, or leave them out now.
    labels : {"auto", "none", "folder"}
        "auto" takes labels only where the layout is certain; "folder" counts all images outside of a subfolder
        ``good`` (or ``ok``, ``normal``) as defective; "none" takes neither labels nor masks.

    Returns
    -------
    ImageSet
        `.labeling` says in one line how the labels were understood. By "auto" images in a subfolder ``good`` (or
        ``ok``, ``normal``) are 0 and all others 1 where these lie in folders called ``bad``, ``defective``, ``ng``,
        ``ko``, ``anomaly`` and so on, in MVTec AD's layout (``test/good`` beside other folders in ``test``), in
        that of the magnetic tiles, and where there are masks.
        Masks: from folders called ``ground_truth``, ``masks``, ``gt``, ``label`` and so on at any depth, if their
        pictures look like masks; and from files ``a_GT.png`` or ``a_label.bmp`` beside all images. A mask lies at the
        image's own relative path (of which it may leave out the first folders) with any image extension, with or
        without ``_mask``. Several masks of one image are united: ``a_mask.png`` and ``a_mask_1.png``, or all in a
        folder ``a``. With masks and no ``good``, an image is labeled 1 where its mask is not empty.

    Warns
    -----
    UserWarning
        Of masks among the images, masks that belong to no image, and masks that mark nothing or nearly everything.

    Raises
    ------
    DataNotFoundError
        When there is no such folder, or no images in it, or no ``good`` for "folder".
    ImageReadError
        When a defective image has no mask although others have, or a folder has an image's name.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("good/2.png", "good/10.png", "bad/1.png"):
    ...         Path(folder, name).parent.mkdir(exist_ok=True)
    ...         Image.new("L", (8, 8)).save(Path(folder, name))
    ...     images = load_folder(folder)
    >>> images.names, images.labels
    (['bad/1.png', 'good/2.png', 'good/10.png'], array([1, 0, 0]))
    >>> images.labeling
    'labels: 2 normal in good/, 1 defective in bad/ (by folder names)'
    """
    if labels not in LABELS:
        raise ValueError(f"labels must be 'auto', 'none' or 'folder', got {labels!r}")
    paths = [path] if isinstance(path, str | PathLike) else list(path)
    if isinstance(path, str | PathLike) or (len(paths) == 1 and user_path(paths[0]).is_dir()):
        found = one_folder(existing_folder(paths[0]), labels)
    else:
        found = _several([user_path(one) for one in paths], labels, on_error)
    if text := masks_among(found.where, found.paths, found.names):
        warnings.warn(text, stacklevel=2)
    return _image_set(found, on_error)


def _several(given: Sequence[Path], labels: str, on_error: str) -> Found:
    """Find the images of several folders and files: each once, named from the folder that holds all of them."""
    if not given:
        raise DataNotFoundError("no paths were given: give at least one folder or image file")
    found: dict[Path, Path] = {}
    unsupported: Skipped = []
    for path in given:
        if path.is_dir():
            inside = one_folder(path, "none")
            files, others = inside.paths, inside.unsupported
        elif not path.exists():
            raise DataNotFoundError(f"there is no file or folder {path}: check the spelling{from_here(Path(path))}")
        elif is_readable(path):
            files, others = [path], []
        elif on_error == "raise":
            raise ImageReadError(f"{path}: {why_left_out(path)}{SKIP_HINT if len(given) > 1 else ''}")
        else:
            files, others = [], [(path, why_left_out(path))]
        unsupported += others
        for file in files:
            found.setdefault(file.resolve(), file)
    named = sorted(_named(given, list(found.values())), key=lambda pair: natural_key(pair[0]))
    kinds, how = folder_labels([name for name, _ in named], labels)
    return Found(
        where=" and ".join(map(str, given)) if len(given) < 4 else f"{given[0]} and {len(given) - 1} other paths",
        paths=[file for _, file in named],
        names=[name.as_posix() for name, _ in named],
        unsupported=list(dict.fromkeys(unsupported)),
        labels=kinds,
        how=how,
    )


def _named(given: Sequence[Path], files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair each file with its path below the folder that holds all that was given, links not followed."""
    try:
        top = os.path.commonpath([Path(os.path.abspath(path)).parent for path in given])
    except ValueError:  # several drives of Windows
        return [(Path(os.path.abspath(file)), file) for file in files]
    return [(Path(os.path.abspath(file)).relative_to(top), file) for file in files]


def left_out(images: ImageSet) -> str:
    """Return one line on the files that a loader left out, such as "left out 2 files: 2 videos (...)".

    Files of which all but the first page are left out come last; "" where nothing is left out.
    """
    return summarize(images.skipped)


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
    images = _load_category(existing_folder(root), category, on_error)
    _compare_counts("mvtec", root, {category: images.labels})
    return images


def load_visa(root: str | PathLike, category: str, on_error: str = "raise") -> ImageSet:
    """Load the test split of one category of VisA (Zou et al., 2022), as its authors divide it for one class.

    Parameters
    ----------
    root : str or Path
        The folder that holds ``split_csv/1cls.csv`` and ``<category>/Data``; or what the authors' script
        makes of it: ``<category>/test/good``, ``<category>/test/bad`` and ``<category>/ground_truth/bad``.
    category : str
        Such as "pcb1".
    on_error : {"raise", "skip"}
        As in `load_folder`.
    """
    root = existing_folder(root)
    table = root / "split_csv" / "1cls.csv"
    if table.is_file():
        images = _load_visa_table(root, table, category, on_error)
    else:
        folder = next(iter(subfolders(root, "1cls")), root)  # the authors' script writes VisA_pytorch/1cls
        images = _load_category(folder, category, on_error, or_else="; or give the folder of split_csv/1cls.csv")
    _compare_counts("visa", root, {category: images.labels})
    return images


def load_btad(root: str | PathLike, category: str, on_error: str = "raise") -> ImageSet:
    """Load the test split of one product of BTAD (Mishra et al., 2021).

    Parameters
    ----------
    root : str or Path
        ``BTech_Dataset_transformed``, or the folder that holds it. In it are ``<category>/test/ok``,
        ``<category>/test/ko`` and ``<category>/ground_truth/ko``, with endings that differ between images
        and masks. Eleven defective images have empty masks; they stay as they are.
    category : str
        "01", "02" or "03".
    on_error : {"raise", "skip"}
        As in `load_folder`.
    """
    root = existing_folder(root)
    root = next(iter(subfolders(root, "btech_dataset_transformed")), root)
    images = _load_category(root, category, on_error)
    _compare_counts("btad", root, {category: images.labels})
    return images


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
    root = existing_folder(root)
    files, unsupported = find_images(root)
    files = [file for file in files if file.parent.parent.name in MAGNETIC_TILE_FOLDERS]
    if not any(is_jpeg(file) for file in files):
        layout = ", ".join(f"{name}/Imgs/*.jpg" for name in MAGNETIC_TILE_FOLDERS)
        raise DataNotFoundError(f"no images in {root}: it must hold at least one of {layout}")
    images = _image_set(tiles(root, files, unsupported, "folder"), on_error)
    folders, labels = np.array([file.parent.parent.name for file in _files(images)]), images.labels
    by_folder = {name: None if labels is None else labels[folders == name] for name in MAGNETIC_TILE_FOLDERS}
    _compare_counts("magnetic-tile", root, by_folder)
    return images


def _load_category(root: Path, category: str, on_error: str, or_else: str = "") -> ImageSet:
    """Load ``<category>/test`` with its masks, or say which categories there are."""
    categories = [child.name for child in entries(root) if child.is_dir() and subfolders(child, "test")]
    _check_category(root, category, categories, f"none: each must hold a folder 'test'{or_else}")
    test = subfolders(root / category, "test")[0]
    # What lies in `test` of a data set is labeled, whatever its folders are called.
    labels = "folder" if subfolders(test, *NORMAL_FOLDERS) else "auto"
    images = load_folder(root / category, on_error, labels)
    # That train/ is not read is what a loader of a test split is asked for.
    return replace(images, skipped=[each for each in images.skipped if BESIDE_TEST not in each[1]])


def _check_category(root: Path, category: str, categories: Sequence[str], if_none: str) -> None:
    if category not in categories:
        close = get_close_matches(category, categories, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        there = ", ".join(categories) or if_none
        raise DataNotFoundError(f"{root} has no category {category!r}.{hint} Categories there: {there}")


def _load_visa_table(root: Path, table: Path, category: str, on_error: str) -> ImageSet:
    """Load the images that VisA's split file lists; its paths are relative to `root`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file, restval="") if row["split"] == "test"]
        _check_category(root, category, sorted({row["object"] for row in rows}), f"none: {table} lists no test images")
        rows = [row for row in rows if row["object"] == category]
        files = [(root / row["image"], [root / row["mask"]] if row["mask"] else [], row["label"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        needed = "VisA's table with the columns object, split, label, image, mask"
        raise DataNotFoundError(f"{table} is not {needed} ({error!r}): get it again") from error
    files.sort(key=lambda file: natural_key(file[0]))
    paths, masks, labels = (list(column) for column in zip(*files, strict=True))
    masks = [[mask for mask in of_image if mask.exists()] for of_image in masks]
    kinds = [int(label != "normal") for label in labels]
    return _image_set(Found(str(root), paths, names_below(root, paths), [], kinds, f"by {table.name}", masks), on_error)


def _compare_counts(name: str, root: str | PathLike, labels: Mapping[str, np.ndarray | None]) -> None:
    """Warn where categories of a published data set hold other numbers of images than published."""
    data_set = look_up(name)
    published = data_set.counts
    found = {c: (np.sum(kinds == 0), np.sum(kinds == 1)) for c, kinds in labels.items() if kinds is not None}
    differing = [
        f"{c}: found {_in_words(found[c])}, published {_in_words(published[c])}"
        for c in found
        if c in published and found[c] != published[c]
    ]
    if differing:
        advice = "figures from a part of the data cannot be compared with published ones: is it complete?"
        # Shown at the line that called the loader.
        warnings.warn(f"{data_set.title} in {root}, images in {'; '.join(differing)}; {advice}", stacklevel=3)


def _in_words(counts: tuple[int, int]) -> str:
    kinds = [f"{count} {kind}" for count, kind in zip(counts, ("normal", "defective"), strict=True) if count]
    return " and ".join(kinds) or "no"


def _image_set(found: Found, on_error: str) -> ImageSet:
    """Make the set after the checks that all loaders share."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    labels = None if found.labels is None else np.array(found.labels)
    masks = None if found.masks is None else [m if len(m) > 1 else m[0] if m else None for m in found.masks]
    images = ImageSet(found.paths, found.names, labels, masks, found.unsupported)
    decode = on_error == "skip"  # of many photos it takes a while
    bar = progress_bar(found.paths, desc="reading images", unit="image", leave=False, show=decode)
    troubles = [_trouble(images, i, path, decode, found.few_masks) for i, path in enumerate(bar)]
    skipped = [(path, trouble) for path, trouble in zip(found.paths, troubles, strict=True) if trouble]
    unmatched = _unmatched(found)
    if skipped and on_error == "raise":
        reasons = "; ".join(filter(None, [_summary(skipped), unmatched]))
        advice = "correct this, or leave such files out (on_error='skip', --on-error skip)"
        raise ImageReadError(f"{found.where}: {reasons}; {advice}")
    if unmatched:
        warnings.warn(f"{found.where}: {unmatched}", stacklevel=3)
    images = images.subset([not trouble for trouble in troubles])
    images = replace(images, skipped=found.unsupported + skipped + _further_pages(_files(images)))
    if not len(images):
        why = f"; left out: {_summary(images.skipped)}" if images.skipped else ""
        raise DataNotFoundError(f"no images in {found.where} (looked for {' '.join(readable())}){why}")
    if found.labels is None and found.masks is not None:
        images.labels = np.array([int(images.mask(i).any()) for i in range(len(images))])
    if doubt := _doubtful_masks(images, by_masks=found.labels is None):
        warnings.warn(f"{found.where}: {doubt}", stacklevel=3)
    images.labeling = found.how if images.labels is None else labeling(images.labels, found.how, images.names)
    return images


def _unmatched(found: Found) -> str:
    """Name the masks that belong to no image; "" where there are none."""
    files = [file.name for file in found.unmatched]
    if not files:
        return ""
    some = found.paths[0].stem
    return (
        f"{len(files)} masks belong to no image: {listed(files, 3)}. The mask of {found.names[0]} must be called "
        f"{some}.png or {some}_mask.png, in a folder of masks with the same folders inside as among the images"
    )


def _doubtful_masks(images: ImageSet, by_masks: bool) -> str:
    """Return what is unlikely about the masks of defective images, of which a few are read; "" where nothing is."""
    sources, labels = images.mask_sources or [], images.labels
    masked = [i for i, s in enumerate(sources) if s is not None and (by_masks or labels is None or labels[i] == 1)]
    some = list(_masks_read(images, masked[:: -(-len(masked) // SHOWN) or 1]))
    if some and (share := float(np.median([mask.mean() for mask in some]))) > 0.5:
        return (
            f"masks mark {share:.0%} of the image (the median of {len(some)} masks), but a defect seldom covers more "
            "than half. If they are inverted, with the defect black on white, metrics of pixels are wrong: invert them"
        )
    if some and not any(mask.any() for mask in chain(some, _masks_read(images, masked))):
        return (
            f"none of the {len(masked)} masks marks anything, so there are no metrics of pixels: a mask is 0 where the "
            "image is normal and 255 (or 1) where it is defective"
        )
    return ""


def _masks_read(images: ImageSet, index: Iterable[int]) -> Iterator[np.ndarray]:
    for i in index:
        with suppress(ImageReadError):
            yield images.mask(i)


def _files(images: ImageSet) -> list[Path]:
    """Return the files of a set that a loader made: all that it holds."""
    return [source for source in images.sources if isinstance(source, Path)]


def _further_pages(paths: Sequence[Path]) -> Skipped:
    """List files of several pages; only of formats that often have some, because each file is opened."""
    counted = [(path, count_pages(path)) for path in paths if path.suffix.lower() in (".tif", ".tiff", ".webp")]
    return [(path, f"{PAGED}{n} is read; save the others as files of their own") for path, n in counted if n > 1]


def _trouble(images: ImageSet, i: int, path: Path, decode: bool, few_masks: bool) -> str | None:
    """Return why image i, a file, cannot be used, if so; without `decode`, as far as that is known unread."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder with an image's name: rename it"
    needs_mask = not few_masks and (images.labels is None or images.labels[i] == 1)
    if images.mask_sources is not None and images.mask_sources[i] is None and needs_mask:
        return f"{NO_MASK} (add it, or load all images without masks: labels='none', --labels none)"
    try:
        if decode:
            _ = images[i], images.mask(i)
    except ImageReadError as error:
        return str(error).removeprefix(f"{path} ").removesuffix(SKIP_HINT)
    return None


def _summary(skipped: Skipped) -> str:
    more = [f"and {len(skipped) - SHOWN} more"] if len(skipped) > SHOWN else []
    return "; ".join([f"{path}: {reason}" for path, reason in skipped[:SHOWN]] + more)


Images = ImageSet | str | Path | Iterable


def as_image_set(images: Images) -> ImageSet:
    """Take an ImageSet as it is, a path as a folder or a file, several as paths of both, or as images.

    Several are any list, array, Series or data set that can be indexed by 0, 1, ...
    """
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path) and not Path(images).is_file():
        return load_folder(images)
    items = [images] if isinstance(images, str | Path) else _listed(images)
    if isinstance(items, Iterable) and not isinstance(items, dict) and not hasattr(items, "ndim"):
        items = list(items)  # a generator gives them once only
        if items and all(isinstance(item, str | PathLike) for item in items):
            items = [fspath(item) for item in items]
            if any(Path(item).is_dir() for item in items):
                return load_folder(items)
            return ImageSet([Path(item) for item in items], [str(item) for item in items])
    return from_arrays(items)


def _listed(images: Any) -> Any:
    """Return a list in place of a column of a table, an array of paths or a data set; others as they are."""
    if hasattr(images, "columns"):
        raise ValueError(f"a table is no list of images: give one column, such as table[{str(images.columns[0])!r}]")
    if isinstance(images, dict):
        raise ValueError("give a list of images or one 4-D batch, not a dict: list(images.values())")
    if getattr(images, "ndim", 0) == 1 and getattr(images.dtype, "kind", "O") in "OUT" and hasattr(images, "tolist"):
        return images.tolist()
    has_items = hasattr(images, "__getitem__") and hasattr(images, "__len__") and not hasattr(images, "shape")
    if has_items and not isinstance(images, Iterable):  # as torch.utils.data.Dataset
        return [images[i] for i in range(len(images))]
    return images


def as_batch(images: Images) -> ImageSet:
    """Take images that score each other: at least 2."""
    images = as_image_set(images)
    if len(images) < 2:
        raise ValueError(
            f"mutual scoring compares images with each other: give at least 2, got {len(images)} "
            f"({', '.join(images.names)}). A single new image can be scored against a fitted batch: score_images"
        )
    return images
