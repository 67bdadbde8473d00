"""Which pictures of a folder are masks, and of which image.

Folders called masks, ground_truth, label and so on, at any depth, hold masks where their pictures have two values; a
folder of photos that happens to be called so holds photos. A mask belongs to the image at the same place below the
folder that holds both: ``ground_truth/hole/000_mask.png`` to ``test/hole/000.png``.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from musc_lite.data.decode import read_image
from musc_lite.data.labels import folder_word
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.names import NameIndex

CERTAIN = {"mask", "masks", "groundtruth"}  # as `folder_word` gives them
MASK_WORDS = {
    *CERTAIN,
    *("gt", "gts", "label", "labels", "seg", "segmentation", "segmentations", "annotation", "annotations"),
}
MASK_ENDING = re.compile("[_-](mask|gt|label|seg)[_-]?[0-9]*$", re.IGNORECASE)
MASK_BEGINNING = re.compile("(^|/)(mask|gt|label)[_-](?=[^/]+$)", re.IGNORECASE)
LABEL_STUDIO = re.compile(r"task-(\d+)-annotation-\d+-by-\d+-tag-.+")
SAMPLE = 60  # pictures that are read to tell masks from photos, over all folders; at most 5 of one
MAX_FOLDERS = 40  # in which masks are looked for by content alone
DEEP = 8  # folders of an image's path that a mask's path may leave out


class MaskFolder(NamedTuple):
    """A folder of masks."""

    folder: Path
    files: list[Path]  # all pictures in it
    scope: Path  # the folder that holds it and the images that the masks belong to


class MaskMatch(NamedTuple):
    """Which masks belong to which image."""

    of_image: list[list[Path]]  # for each image its masks
    unmatched: list[Path]  # masks that belong to no image, or to one of several that cannot be told apart


# ---- which pictures are masks


def mask_folders(root: Path, files: Sequence[Path]) -> list[MaskFolder]:
    """Find the folders of masks among `files`, all pictures below `root`: by name, and then by content."""
    named: dict[Path, list[Path]] = {}
    for parent, inside in _by_folder(files).items():
        parts = parent.parts[len(root.parts) :]
        for n, part in enumerate(parts, start=1):
            if folder_word(part) in MASK_WORDS:
                named.setdefault(root.joinpath(*parts[:n]), []).extend(inside)
    at_once = max(1, min(5, SAMPLE // max(1, len(named))))
    certain = {file for folder, inside in named.items() if folder_word(folder.name) in CERTAIN for file in inside}
    certainly_none = [file for file in files if file not in certain]
    holds = Counter[Path]()  # how many of these each folder holds
    for parent, inside in _by_folder(certainly_none).items():
        holds.update(dict.fromkeys((parent, *parent.parents), len(inside)))
    found: list[MaskFolder] = []
    for folder in sorted(named, key=lambda each: len(each.parts)):
        if any(below(other.folder, [folder]) for other in found):
            continue
        inside, scope = named[folder], folder.parent
        deeper = {file for other in below(folder, named) for file in named[other]}
        own = [file for file in inside if file not in deeper]
        if not own and folder_word(folder.name) in CERTAIN:
            own = inside
        while scope != root and holds[scope] == holds[folder]:  # nothing beside it
            scope = scope.parent
        others = [file for file in below(scope, certainly_none) if folder not in file.parents]
        if own and _are_masks(own, folder, others, scope, at_once):
            found.append(MaskFolder(folder, inside, scope))
    return found


def masks_beside(images: Sequence[Path], normal: Collection[int] = ()) -> list[Path]:
    """Find masks that lie beside their images, as 1_GT.png beside 1.png; none where some image lacks one.

    `images` are photos and masks; `normal` says which of them are known to be normal, and need no mask.
    """
    pairs = [pair for pair in mask_names(images) if MASK_ENDING.search(pair[1].stem)]
    masks, owners, sound = {mask for _, mask in pairs}, {photo for photo, _ in pairs}, {images[i] for i in normal}
    if not pairs or any(file not in masks | owners | sound for file in images):
        return []
    told = [(looks_like_mask(photo), looks_like_mask(mask)) for photo, mask in _some(pairs, 3)]
    return sorted(masks) if all(pair == (False, True) for pair in told) else []


def masks_among(where: str, images: Sequence[Path], names: Sequence[str]) -> str:
    """Warn of masks among the images, if there seem to be some: names say which files may be, a few are read.

    `where` is what was given, for the message.
    """
    known = dict(zip(images, names, strict=True))
    advice = (
        "All of them are ranked as photos: move them to a folder masks/ or ground_truth/, which stands in the folder "
        "that is given"
    )
    pairs = mask_names(images)
    for pair in pairs[:: max(1, len(pairs) // 3)][:3]:
        told = {file: looks_like_mask(file) for file in pair}
        mask_like = [file for file in pair if told[file]]
        # Both: pictures in black and white; neither: two formats of one photo.
        if None in told.values() or len(mask_like) != 1:
            continue
        mask, photo = (known[file] for file in sorted(pair, key=mask_like.__contains__, reverse=True))
        return (
            f"{where}: {len(pairs)} files are named like masks of the images beside them, and {mask} beside "
            f"{photo} looks like a mask. {advice}"
        )
    folders = _by_folder(images)
    if not 2 <= len(folders) <= MAX_FOLDERS:
        return ""
    drawn = {folder: inside for folder, inside in folders.items() if all(map(_is_drawn, _some(inside, 3)))}
    if not drawn or len(drawn) > len(folders) / 2:
        return ""
    n_pictures, shown = sum(map(len, drawn.values())), [Path(known[inside[0]]).parent for inside in drawn.values()]
    return (
        f"{where}: the {n_pictures} pictures in {', '.join(f'{folder.as_posix()}/' for folder in shown)} have two gray "
        f"levels each, as masks have, unlike those in other folders. {advice}"
    )


def looks_like_mask(path: Path) -> bool | None:
    """Whether nearly all pixels are nearly the darkest or the brightest there are, as in a mask, even an empty one.

    None where the file cannot be read.
    """
    return None if (gray := _small(path)) is None else _has_two_levels(gray)


def _is_drawn(path: Path) -> bool:
    """Whether it looks like a mask that marks something."""
    gray = _small(path)
    return gray is not None and _has_two_levels(gray) and bool(np.ptp(gray) > 16)


def _small(path: Path) -> np.ndarray | None:
    """Read gray levels (256, 256)."""
    with suppress(ImageReadError):
        small = read_image(path, at_least=256).convert("L").resize((256, 256), Image.Resampling.NEAREST)
        return np.asarray(small).astype(int)
    return None


def _has_two_levels(gray: np.ndarray) -> bool:
    low, high = gray.min(), gray.max()
    near = max(8, (high - low) // 8)  # soft edges, and what JPEG leaves around them
    return bool(np.mean((gray <= low + near) | (gray >= high - near)) > 0.9)


def _are_masks(own: Sequence[Path], folder: Path, others: Sequence[Path], scope: Path, at_once: int) -> bool:
    """Decide by content, then by matching names; a name alone decides only where nothing can be read."""
    if not others:
        return False
    told = [told for file in _some(own, at_once) if (told := looks_like_mask(file)) is not None]
    is_certain = folder_word(folder.name) in CERTAIN
    if not told:
        return is_certain
    index = _index(others, scope)
    hits = [(file, _hits(index, file.relative_to(folder))) for file in own]
    if np.mean(told) >= 0.8:
        return any(hit for _, hit in hits) or not all(map(looks_like_mask, _some(others, 3)))
    n_whole = sum(_is_whole(file.relative_to(folder), hit) for file, hit in hits)
    return is_certain and n_whole >= len(own) / 2


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    for file in files:
        found.setdefault(file.parent, []).append(file)
    return found


def below(folder: Path, files: Iterable[Path]) -> list[Path]:
    """Return those of some files that lie in a folder, at any depth."""
    start = str(folder / "x")[:-1]
    return [file for file in files if str(file).startswith(start)]


def _some(files: Sequence, at_most: int) -> Sequence:
    """Choose a few of some files, evenly."""
    return files[:: max(1, -(-len(files) // at_most))]


# ---- of which image


def match_masks(
    images: Sequence[Path], image_folder: Path, masks: Sequence[Path], mask_folder: Path, normal: Collection[int] = ()
) -> MaskMatch:
    """Find the masks of each image.

    For an image ``bad/a.jpg`` these are ``bad/a.png``, ``bad/a.jpg.png``, ``bad/a_mask.png``, ``bad/a_mask_1.png``,
    ``bad/mask_a.png`` and all in a folder ``bad/a/``, with any image extension, in any mixture. The path of a mask may
    leave out the first folders of the image's path, where the rest leaves no doubt.

    Parameters
    ----------
    images, masks : sequence of Path
    image_folder, mask_folder : Path
        Where their paths begin.
    normal : collection of int
        Which images are known to be normal: where a mask may belong to several images, to none of these.

    Examples
    --------
    >>> files = [Path("bad/0_mask.png"), Path("bad/0_mask_1.png"), Path("bad/1/000.png"), Path("bad/7.png")]
    >>> match_masks([Path("bad/0.JPG"), Path("bad/1.JPG"), Path("bad/2.JPG")], Path(), files, Path())
    MaskMatch(of_image=[[...Path('bad/0_mask.png'), ...Path('bad/0_mask_1.png')], [...Path('bad/1/000.png')], []],
    unmatched=[...Path('bad/7.png')])
    """
    index, normal = _index(images, image_folder), set(normal)
    found: list[list[Path]] = [[] for _ in images]
    unmatched = []
    for mask in masks:
        relative = mask.relative_to(mask_folder)
        hits = _hits(index, relative)
        likely = hits if _is_whole(relative, hits) else [hit for hit in hits if hit[1] not in normal]
        near = [i for extra, i in likely if extra == min(likely)[0]]
        near = near if len(near) == 1 else [i for i in near if i not in normal]
        if len(near) == 1:
            found[near[0]].append(mask)
        elif not hits or not normal.issuperset(i for _, i in hits):  # normal images need none
            unmatched.append(mask)
    missing = {images[i].stem: i for i, of_image in enumerate(found) if not of_image and i not in normal}
    tasks = {mask: told[1] for mask in unmatched if (told := LABEL_STUDIO.fullmatch(mask.stem))}
    if tasks and len(tasks) == len(unmatched) and set(tasks.values()) == set(missing):
        for mask, task in tasks.items():  # each number is the name of one image that needs a mask, and the other way
            found[missing[task]].append(mask)
        unmatched = []
    return MaskMatch(found, unmatched)


def mask_names(images: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair the images of which one, by its name, may be the other's mask: same folder, same name but for its ending.

    Examples
    --------
    >>> mask_names([Path("1.jpg"), Path("1.png"), Path("2_mask.png"), Path("2.png"), Path("3_mask.png")])
    [(...Path('1.jpg'), ...Path('1.png')), (...Path('2.png'), ...Path('2_mask.png'))]
    """
    by_name: dict[tuple[Path, str], list[Path]] = {}
    for file in images:
        by_name.setdefault((file.parent, MASK_ENDING.sub("", file.stem.casefold())), []).append(file)
    pairs = []
    for alike in by_name.values():
        first, *others = sorted(alike, key=lambda file: len(file.stem))  # the shortest name is the photo's, if any is
        pairs += [(first, other) for other in others]
    return pairs


def _index(images: Sequence[Path], image_folder: Path) -> NameIndex[tuple[int, int]]:
    """Index images by path, with and without ending, and by what is left of it without the first folders."""
    # The values are how many folders are left out, and which image it is.
    relative = [file.relative_to(image_folder) for file in images]
    return NameIndex(
        ("/".join((*file.parts[extra:-1], name)), (extra, i))
        for i, file in enumerate(relative)
        for extra in range(min(DEEP, len(file.parts)))
        for name in {file.name, file.stem}
    )


def _hits(index: NameIndex[tuple[int, int]], mask: Path) -> list[tuple[int, int]]:
    """Look up the images that a mask may belong to, by its path below the folder of masks."""
    plain, folder = mask.with_suffix("").as_posix(), mask.parent.as_posix()
    names = [mask.as_posix(), plain, MASK_ENDING.sub("", plain), MASK_BEGINNING.sub(r"\1", plain)]
    return index.find(*names, *([folder, MASK_ENDING.sub("", folder)] if mask.parent.parts else []))


def _is_whole(mask: Path, hits: Sequence[tuple[int, int]]) -> bool:
    """Whether more than a bare name tells where a mask belongs."""
    return bool(hits) and (min(hits)[0] == 0 or len(mask.parts) > 1)
