"""Labels from the names of folders, taken only where they are certain, and one line that says how."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from musc_lite.utils.errors import DataNotFoundError

LABELS = ("auto", "none", "folder")
NORMAL_FOLDERS = ("good", "ok", "normal")
NORMAL_WORDS = {*NORMAL_FOLDERS, "nodefect", "nodefects", "defectfree"}
# Words for "defective" and nothing else; the name of a defect, such as scratch, could also be a part's or a place's.
DEFECTIVE_FOLDERS = {
    *("bad", "ko", "ng", "nok", "notok", "notgood", "nogood", "defect", "defects", "defective", "faulty", "reject"),
    *("rejects", "rejected", "fail", "failed", "anomaly", "anomalies", "anomalous", "abnormal"),
}
BY_MASKS = "where a mask marks anything"
AS_ASKED = "labels='folder' (--labels folder)"


def folder_labels(
    files: Sequence[Path], labels: str = "auto", *, in_test: bool = False, with_masks: bool = False
) -> tuple[list[int] | None, str]:
    """Return normal (0) from defective (1) images by the folders that they lie in.

    Parameters
    ----------
    files : sequence of Path
        Relative to the folder that was given; what stands above says nothing.
    labels : {"auto", "none", "folder"}
        "folder": everything outside of ``good`` (``ok``, ``normal``) is defective; "auto": only where that is certain.
    in_test : bool
        The files lie in ``test``, which says that the folders beside ``good`` are kinds of defects, as in MVTec AD.
    with_masks : bool
        Masks lie beside the images, which says the same.

    Returns
    -------
    labels : list of int or None
    how : str
        How that was found; where there are no labels a whole line.

    Raises
    ------
    DataNotFoundError
        When "folder" finds no such folder.

    Examples
    --------
    >>> folder_labels([Path("good/1.png"), Path("NG/1.png")])
    ([0, 1], 'by folder names')
    >>> folder_labels([Path("good/1.png"), Path("NG/1.png")], "none")
    (None, "labels: none, as asked for (labels='none')")
    """
    if labels == "none":
        return None, "labels: none, as asked for (labels='none')"
    words = [{folder_word(folder) for folder in file.parent.parts} for file in files]
    normal = [not names.isdisjoint(NORMAL_WORDS) for names in words]
    by_folder = [int(not is_normal) for is_normal in normal]
    if not any(normal):
        if labels == "folder":
            raise DataNotFoundError(f"{AS_ASKED} needs a folder named {_list(NORMAL_FOLDERS, 'or')}: there is none")
        return None, "labels: none (no folder good/, no masks)"
    first = [file.parts[0] for file in files if len(file.parts) > 1]
    if in_test and normal == [
        folder_word(name) in NORMAL_WORDS for name in first
    ]:  # not where a file lies in no folder
        return by_folder, "layout of MVTec AD"
    if with_masks:
        return by_folder, "by folder names, with masks"
    if labels == "folder":
        return by_folder, "by labels='folder'"
    certain = [is_normal == names.isdisjoint(DEFECTIVE_FOLDERS) for is_normal, names in zip(normal, words, strict=True)]
    if all(certain):
        return by_folder, "by folder names"
    good = next(folder for folder in files[normal.index(True)].parent.parts if folder_word(folder) in NORMAL_WORDS)
    others = _names([f.parent for f, sure in zip(files, certain, strict=True) if not sure], "images in no folder")
    others = others if len(others) <= 3 else [*others[:2], f"{len(others) - 2} more folders"]
    return None, (
        f"labels: none taken; {good}/ stands beside {_list(others)}, which may hold anything: "
        f"{AS_ASKED} counts all images outside {good}/ as defective"
    )


def labeling(labels: np.ndarray, how: str, names: Sequence[str] | None = None) -> str:
    """Return in one line how many images are normal and defective, in which folders, and how that was found.

    Examples
    --------
    >>> labeling(np.array([0, 0, 1]), "by folder names", ["good/1.png", "good/2.png", "bad/1.png"])
    'labels: 2 normal in good/, 1 defective in bad/ (by folder names)'
    """
    parts = []
    for label, kind in enumerate(("normal", "defective")):
        if count := int(np.sum(labels == label)):
            parts.append(f"{count} {kind}")
            if names is not None:
                folders = _names(
                    [Path(n).parent for n, of in zip(names, labels, strict=True) if of == label], "no folder"
                )
                parts[-1] += f" in {_list(folders) if len(folders) <= 2 else f'{len(folders)} folders'}"
    return f"labels: {', '.join(parts)} ({how})"


def folder_word(folder: str) -> str:
    """Return a folder's name as in the lists above: Not-OK, not_ok, "not ok" and not_ok_images are one word."""
    word = folder.casefold().translate(dict.fromkeys(map(ord, " _-.")))
    return re.sub("(?<=.)(images?|imgs?|dir|folder)$", "", word)


def _names(folders: Iterable[Path], loose: str) -> list[str]:
    """Write each folder once, `loose` for that of files that lie in none."""
    return [f"{folder.as_posix()}/" if folder.parts else loose for folder in dict.fromkeys(folders)]


def _list(names: Sequence[str], last: str = "and") -> str:
    """Join as in "a, b and c"."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
