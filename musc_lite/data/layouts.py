"""How the images, labels and masks of one folder are found by names: the layouts of the data sets that people have."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from musc_lite.data.datasets import look_up
from musc_lite.data.discovery import BESIDE_TEST, HEIGHTS, Skipped, entries, find_images, subfolders
from musc_lite.data.labels import BY_MASKS, NORMAL_FOLDERS, folder_labels, folder_word
from musc_lite.data.masks import MaskFolder, below, mask_folders, masks_beside, match_masks
from musc_lite.utils.errors import DataNotFoundError

MAGNETIC_TILE_FOLDERS = tuple(look_up("magnetic-tile").counts)
SPLITS = ("train", "training", "val", "valid", "validation")  # that a folder test/ leaves out


@dataclass(frozen=True)
class Found:
    """What a loader found by names, before anything is read."""

    where: str  # for messages
    paths: list[Path]
    names: list[str]
    unsupported: Skipped
    labels: list[int] | None
    how: str  # as `folder_labels` gives it
    masks: list[list[Path]] | None = None  # of each image
    unmatched: Sequence[Path] = ()  # masks of no image
    few_masks: bool = False  # an image without a mask is normal


def one_folder(root: Path, labels: str) -> Found:
    """Find images, labels and masks of one folder."""
    if categories := [e.name for e in entries(root) if e.is_dir() and _is_category(e)]:
        raise DataNotFoundError(f"{root} holds categories: give one, such as {root / categories[0]}")
    files, unsupported = find_images(root)
    if _are_tiles(root, files):
        return tiles(root, files, unsupported, labels)
    masks_in = mask_folders(root, files)
    empty = [each for each in subfolders(root, "ground_truth") if not below(each, files)]
    masks_in += [MaskFolder(folder, [], root) for folder in empty]
    image_folder = _image_folder(root, files, masks_in)
    masks_in = [each for each in masks_in if image_folder in (each.scope, *each.folder.parents) or each.scope == root]
    of_masks = {file for each in masks_in for file in each.files}
    paths = [file for file in below(image_folder, files) if file not in of_masks]
    folders_left_out = {each.folder for each in masks_in}
    skipped = [
        (file, reason)
        for file, reason in unsupported
        if image_folder in file.parents and folders_left_out.isdisjoint(file.parents)
    ]
    skipped += _beside(root, image_folder, files, of_masks)
    heights = {file for file in paths if file.parent.name == "xyz" and file.parent.with_name("rgb").is_dir()}
    paths = [file for file in paths if file not in heights]
    skipped += [(file, f"{HEIGHTS}, beside the photos in rgb/") for file in sorted(heights)]

    def understand(paths: Sequence[Path], with_masks: bool) -> tuple[list[int] | None, str]:
        in_folder = [file.relative_to(image_folder) for file in paths]
        return folder_labels(in_folder, labels, in_test=image_folder != root, with_masks=with_masks)

    kinds, how = understand(paths, bool(masks_in))
    if not masks_in and (inside := masks_beside(paths, _normal(kinds))):
        masks_in, of_masks = [MaskFolder(root, inside, root)], set(inside)
        paths = [file for file in paths if file not in of_masks]
        kinds, how = understand(paths, True)
    found = Found(str(root), paths, names_below(root, paths), skipped, kinds, how)
    if not masks_in or not paths or labels == "none":
        return found
    of_image: list[list[Path]] = [[] for _ in paths]
    unmatched: list[Path] = []
    place = {file: i for i, file in enumerate(paths)}
    for each in masks_in:
        files = each.files
        if image_folder != root:
            files = [file for file in files if file.relative_to(each.folder).parts[0].casefold() not in SPLITS]
        inside = [place[file] for file in below(each.scope, paths)]
        normal = _normal(kinds and [kinds[i] for i in inside])
        matched = match_masks([paths[i] for i in inside], each.scope, files, each.folder, normal)
        for i, masks in zip(inside, matched.of_image, strict=True):
            of_image[i] += masks
        unmatched += matched.unmatched
    few = kinds is None and not unmatched and all(map(_is_dagm, masks_in))
    by_masks = f"{BY_MASKS}; those without a mask are normal, as in DAGM" if few else BY_MASKS
    return replace(
        found,
        masks=of_image,
        how=by_masks if kinds is None else how,
        unmatched=unmatched,
        few_masks=few,
    )


def _is_category(folder: Path) -> bool:
    """Whether a folder is a category of MVTec AD (with masks beside test/) or MVTec 3D (with masks inside of it)."""
    inside = subfolders(folder, "test", "ground_truth", "train")
    if len(inside) < 2 or inside[0].name.lower() != "test":
        return False
    return inside[1].name.lower() == "ground_truth" or bool(subfolders(inside[0], *NORMAL_FOLDERS))


def _image_folder(root: Path, files: Sequence[Path], masks_in: Sequence[MaskFolder]) -> Path:
    """Return test/ where it is scored alone: in the layout of MVTec AD, or beside other parts of a divided set."""
    test = next(iter(subfolders(root, "test")), None)
    if test is None:
        return root
    others = {file.relative_to(root).parts[0].casefold() for file in files if root != file.parent}
    others -= {"test", *(each.folder.relative_to(root).parts[0].casefold() for each in masks_in)}
    is_divided = others.issubset(SPLITS) and not any(file.parent == root for file in files)
    is_layout = subfolders(test, *NORMAL_FOLDERS) or subfolders(root, "ground_truth")
    return test if is_divided or is_layout else root


def _beside(root: Path, image_folder: Path, files: Sequence[Path], of_masks: set[Path]) -> Skipped:
    """Count the images that are not read because test/ beside them is read alone, by folder."""
    if image_folder == root:
        return []
    read = of_masks | set(below(image_folder, files))
    others = [file.relative_to(root).parts for file in files if file not in read]
    counts = Counter(parts[0] if len(parts) > 1 else "." for parts in others)
    advice = f"{BESIDE_TEST}, because {image_folder.name}/ beside it is scored alone: give this folder to score them"
    return [(root / name, f"{n} {advice}") for name, n in counts.items()]


def _is_dagm(masks_in: MaskFolder) -> bool:
    """Whether a folder of masks is one of DAGM 2007, where images without a defect have no mask."""
    is_label = folder_word(masks_in.folder.name) == "label" and masks_in.folder.parent == masks_in.scope
    return is_label and all(file.stem.lower().endswith("_label") for file in masks_in.files)


def _normal(labels: Sequence[int] | None) -> set[int]:
    return {i for i, label in enumerate(labels or ()) if label == 0}


def names_below(root: Path, files: Iterable[Path]) -> list[str]:
    """Return the files' names, which begin below the root."""
    return [file.relative_to(root).as_posix() for file in files]


def is_jpeg(file: Path) -> bool:
    """Whether it is a JPEG by its name."""
    return file.suffix.lower() in (".jpg", ".jpeg")


def _are_tiles(root: Path, files: Sequence[Path]) -> bool:
    """Whether all files lie in MT_.../Imgs, as magnetic tiles do; the root may be one of these folders."""
    folders = {_whole(root, file).parent for file in files}
    return any(is_jpeg(file) for file in files) and all(
        folder.name == "Imgs" and folder.parent.name in MAGNETIC_TILE_FOLDERS for folder in folders
    )


def _whole(root: Path, file: Path) -> Path:
    """Return the file's path with all folders above the root, which may have been given as `.`."""
    return root.resolve() / file.relative_to(root)


def tiles(root: Path, files: Sequence[Path], unsupported: Skipped, labels: str) -> Found:
    """Take magnetic tiles: .jpg files are images, .png files beside them their masks."""
    paths = [file for file in files if is_jpeg(file)]
    masks = [file for file in files if file.suffix.lower() == ".png"]
    kinds, how = [int(_whole(root, file).parent.parent.name != "MT_Free") for file in paths], "layout of magnetic tiles"
    if labels == "none":
        kinds, how = folder_labels(paths, labels)
    found = Found(str(root), paths, names_below(root, paths), unsupported, kinds, how)
    if not masks or labels == "none":
        return found
    matched = match_masks(paths, root, masks, root)
    return replace(found, masks=matched.of_image, unmatched=matched.unmatched)
