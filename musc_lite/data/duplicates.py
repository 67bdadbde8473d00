"""Photos that are in a batch twice: copies of a file, and the same photo saved again, smaller or brighter.

They matter because images score each other: a defect that is photographed twice finds itself in the copy, and passes
for normal.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from musc_lite.data.image_set import ImageSet
from musc_lite.utils.names import listed
from musc_lite.utils.progress import progress_bar

# Photos by a fixed camera all look alike, so fine structure is compared, the image without its blurred version.
# Identical products correlate as highly as copies do (solar cells up to 0.997), but a third one is about as close too:
# copies are much closer to each other than to any third photo. `python benchmarks/duplicates.py` measures this rule.
SIDE = 48  # pixels a side
AT_LEAST = 4 * SIDE  # pixels a side that are decoded, see `read_image`
BLUR = 2.0  # pixels
LIMIT = 0.97  # least correlation of copies
RATIO = 0.1  # largest distance (1 - correlation) of 2 copies per distance to a third photo; of n: 1 / (n - 1) of it
AROUND, SMALLER = 20, 0.3  # photos nearest to a group; its distance per the smallest that they have to others, at most
FEW = 4  # photos: a larger group is no group of copies, since a second product in the batch makes such groups
# Frames of a still scene differ by noise alone, so all of their distances are about equal; those of products vary more.
STILL = 10  # photos, or the whole batch
EVEN = 1.5  # largest distance per smallest
SAMPLE = 64  # photos of a group whose distances are compared
LEAST_CONTRAST = 0.25  # gray levels: below, it is compression and noise that would be compared
BLOCK = 512  # images at a time


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which images are there twice."""

    digests: list[str]  # of all N images, as `ImageSet.digest` gives them
    copy_of: np.ndarray  # (N,): the first image with the very same bytes, itself where there is none before it
    alike: list[tuple[int, ...]]  # groups of images that are nearly the same, see `near_duplicates`, without copies

    @property
    def copies(self) -> list[tuple[int, int]]:
        """Pairs of an image and its copy."""
        return [(first, i) for i, first in enumerate(self.copy_of.tolist()) if first != i]


def find_duplicates(images: ImageSet, note: Callable[[int, Image.Image], None] | None = None) -> Duplicates:
    """Find copies, byte for byte, and what is nearly the same; each file is opened once for all of it.

    `note` is called with the index of each image and the image, read small.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> photo = np.random.default_rng(0).random((96, 96))
    >>> found = find_duplicates(from_arrays([photo, photo, 0.9 * photo]))
    >>> found.copy_of, found.alike
    (array([0, 0, 2]), [(0, 2)])
    """
    digests, fine = [], np.zeros((len(images), SIDE * SIDE), np.float32)
    for i in progress_bar(range(len(images)), desc="looking for duplicates", unit="image", leave=False):
        digest, image = images.digest_and_image(i, AT_LEAST)
        digests.append(digest)
        fine[i] = fine_structure(image)
        if note is not None:
            note(i, image)
    return duplicates_among(digests, fine)


def duplicates_among(digests: list[str], fine: np.ndarray) -> Duplicates:
    """Find copies by N digests, and what is nearly the same by `fine_structure`: (N, SIDE²)."""
    first: dict[str, int] = {}  # digest: image
    copy_of = np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=int)
    is_first = copy_of == np.arange(len(copy_of))
    return Duplicates(digests, copy_of, _alike(fine * is_first[:, None]))  # zeros are like nothing


def near_duplicates(images: ImageSet) -> list[tuple[int, ...]]:
    """Find groups of images that are the same picture: copies, also saved again, resized or brightened.

    Images of a group are much closer to each other than to any other image of the batch, so identical products do not
    count. Frames of a still scene do, where nothing but noise differs. Images of another crop or turned do not count,
    nor do images without structure.

    Returns
    -------
    list of tuples of int
        Indices in order, two or more a group; equal images are among them.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> photo = np.random.default_rng(0).random((96, 96))
    >>> near_duplicates(from_arrays([photo, 1 - photo, 0.9 * photo]))
    [(0, 2)]
    """
    bar = progress_bar(range(len(images)), desc="looking for near duplicates", unit="image", leave=False)
    fine = [fine_structure(images.digest_and_image(i, AT_LEAST)[1]) for i in bar]
    return _alike(np.array(fine, np.float32).reshape(-1, SIDE * SIDE))


def _alike(fine: np.ndarray) -> list[tuple[int, ...]]:
    """Find the groups of rows (N, SIDE²) that are one picture: the largest ones of the single-linkage tree."""
    n = len(fine)
    groups: list[tuple[list[int], float]] = []
    links = _tree(fine)
    # Cluster c is image c, or from n on what link c - n joins.
    parts = np.zeros((len(links), 2), dtype=int)
    label = np.arange(n + len(links))  # of each cluster the one that holds it now
    size = np.ones(n + len(links), dtype=int)
    reach = np.full(n + len(links), np.inf)  # distance to the nearest image outside
    for k, (distance, *ends) in enumerate(links):
        for side, end in enumerate(ends):
            while label[end] != end:
                label[end] = label[label[end]]
                end = label[end]
            parts[k, side] = end
        reach[parts[k]], label[parts[k]] = distance, n + k
        size[n + k] = size[parts[k]].sum()

    spacing = reach[:n].copy()  # of each image to the nearest that is not in its group
    waiting = [c for c in range(n, n + len(links)) if label[c] == c]
    while waiting:
        cluster = waiting.pop()
        members: list[int] = []
        width = (size[cluster] - 1) * links[cluster - n][0]
        are_copies = size[cluster] <= FEW and width < RATIO * reach[cluster]
        if links[cluster - n][0] < 1 - LIMIT and (are_copies or size[cluster] >= min(STILL, n)):
            inside = [cluster]
            while inside:
                each = inside.pop()
                inside += parts[each - n].tolist() if each >= n else []
                members += [each] if each < n else []
            members.sort()
        if members and (are_copies or _is_still(fine[members])):
            groups.append((members, width if are_copies else 0))
            spacing[members] = reach[cluster]
        else:
            waiting += [part for part in parts[cluster - n].tolist() if part >= n]
    return sorted(tuple(members) for members, width in groups if width < _least_around(fine, members, spacing))


def _least_around(fine: np.ndarray, members: list[int], spacing: np.ndarray) -> float:
    """Compute how close the images around a group come to others by chance, as identical products do."""
    nearest = np.argsort(-(fine @ fine[members[0]]), kind="stable")[: AROUND + len(members)]
    others = np.setdiff1d(nearest, members)
    return SMALLER * float(spacing[others].min()) if len(others) else np.inf


def _tree(fine: np.ndarray) -> list[tuple[float, int, int]]:
    """Compute the minimum spanning tree of the rows (N, SIDE²), shortest link first: distance, and the two rows."""
    # Links that are too long to matter are left out, so that there may be several trees.
    n, longest = len(fine), (1 - LIMIT) / RATIO
    tree = coo_array((n, n), dtype=np.float32)
    for start in range(0, n, BLOCK):
        distances = 1 - fine[start : start + BLOCK] @ fine.T
        rows, columns = np.nonzero(distances < longest)
        later = rows + start < columns
        rows, columns = rows[later], columns[later]
        values = np.maximum(distances[rows, columns], np.finfo(np.float32).eps)  # 0 would be no link
        index_by_name = (rows + start).astype(np.int32), columns.astype(np.int32)  # SciPy 1.13 takes no other index
        links = coo_array((values, index_by_name), shape=(n, n))
        tree = coo_array(minimum_spanning_tree((tree + links).tocsr()))
    order = np.argsort(tree.data, kind="stable")
    return list(zip(*(each[order].tolist() for each in (tree.data, *tree.coords)), strict=True))


def _is_still(fine: np.ndarray) -> bool:
    """Whether nothing but noise differs between the rows (n, SIDE²): then all distances are about equal."""
    some = fine[np.linspace(0, len(fine) - 1, min(len(fine), SAMPLE)).astype(int)]
    distances = 1 - (some @ some.T)[np.triu_indices(len(some), 1)]
    return bool(distances.max() < EVEN * distances.min())


def fine_structure(image: Image.Image) -> np.ndarray:
    """Reduce an image to what blur takes away from its small gray version: (SIDE²,), of unit length, 0 where flat."""
    small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    fine = (small - gaussian_filter(small, BLUR)).ravel()
    return fine / np.linalg.norm(fine) if fine.std() > LEAST_CONTRAST else np.zeros_like(fine)


def unique_indices(copy_of: np.ndarray) -> np.ndarray:
    """Index the images that are no copies: (N',)."""
    return np.flatnonzero(copy_of == np.arange(len(copy_of)))


def without_copies(images: ImageSet) -> ImageSet:
    """Leave out images that have the very same bytes as one before them."""
    digests = [images.digest(i) for i in range(len(images))]
    return images.subset(sorted({digest: i for i, digest in reversed([*enumerate(digests)])}.values()))


def expand(values: np.ndarray, copy_of: np.ndarray, axis: int = 0) -> np.ndarray:
    """Repeat the values of originals for their copies: an axis of N' originals becomes one of N images."""
    if values.shape[axis] == len(copy_of):
        return values
    return values.take(np.searchsorted(unique_indices(copy_of), copy_of), axis)


def index_by_name(names: Sequence[str], copy_of: np.ndarray) -> dict[str | int, int]:
    """Map each image's index and name to its place among the originals; a copy has its original's.

    Examples
    --------
    >>> index_by_name(["a", "copy of a", "b"], np.array([0, 0, 2]))
    {0: 0, 1: 0, 2: 1, 'a': 0, 'copy of a': 0, 'b': 1}
    """
    place = np.searchsorted(unique_indices(copy_of), copy_of).tolist()
    return dict(enumerate(place)) | dict(zip(names, place, strict=True))


def warn_of_duplicates(found: Duplicates, names: Sequence[str]) -> None:
    """Name the images that are there twice: byte for byte, or saved again.

    Raises
    ------
    ValueError
        If all images are copies of one.
    """
    kept = unique_indices(found.copy_of)
    if len(kept) < 2:
        raise ValueError(f"all {len(names)} images are copies of {names[0]}: give at least 2 different ones")
    if copies := found.copies:
        several = f"{len(copies)} images are copies of others"
        warnings.warn(
            f"{several if len(copies) > 1 else '1 image is a copy of another'}, byte for byte: "
            f"{list_pairs(copies, names)}; each is scored once, so that a defect does not hide behind its own copy",
            stacklevel=5,
        )
    if found.alike:
        warnings.warn(
            f"{describe_duplicates(found.alike, names)}; a defect in several of them finds itself in the others and "
            "passes "
            "for normal: keep one photo of each group",
            stacklevel=5,
        )


def list_pairs(pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    """Write the first pairs as "b.jpg (of a.jpg), ... and 7 more"."""
    return listed([f"{names[j]} (of {names[i]})" for i, j in pairs])


def describe_duplicates(groups: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Count the photos of groups and name some of the first: "600 photos are nearly the same picture (1 group, ...)".

    Examples
    --------
    >>> describe_duplicates([(0, 1)], "abcdef")
    '2 photos are nearly the same picture: a, b'
    >>> describe_duplicates([(0, 1), (2, 3, 4, 5)], "abcdef")
    '6 photos are nearly the same picture as others (2 groups, such as c, d, e and 1 more)'
    """
    if not groups:
        return "no photos are nearly the same picture"
    largest = max(groups, key=len)
    shown = listed([names[i] for i in largest], 3)
    if len(groups) > 1:
        n_photos = sum(map(len, groups))
        return f"{n_photos} photos are nearly the same picture as others ({len(groups)} groups, such as {shown})"
    if len(largest) == 2:
        return f"2 photos are nearly the same picture: {shown}"
    return f"{len(largest)} photos are nearly the same picture (1 group, such as {shown})"
