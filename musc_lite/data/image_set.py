"""An ordered set of images with optional labels and masks, read when they are asked for."""

import hashlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from musc_lite.data.decode import decode_image, open_file, read_image, read_mask, read_size
from musc_lite.data.digests import Digests
from musc_lite.data.region import WHOLE, Region, crop, crop_array
from musc_lite.support.errors import ImageReadError
from musc_lite.support.names import writable

__all__ = ["ImageSet", "MaskPart", "MaskSource"]

MaskPart: TypeAlias = Path | np.ndarray  # a file or an array
MaskSource: TypeAlias = MaskPart | list[Path] | list[MaskPart] | None  # one, several to unite, no mask


@dataclass(eq=False, repr=False)
class ImageSet:
    """An ordered set of N images that are read when asked for.

    Made by `from_arrays` and by the loaders of `musc_lite.data.loaders`.

    Parameters
    ----------
    sources : list of Path or RGB PIL.Image
        One for each image.
    names : list of str
        One for each image; for folders the path relative to the folder. They are kept as `writable` gives them: control
        characters and bytes that are not UTF-8 become %XX.
    labels : (N,) ints, optional
        0 normal, 1 defective.
    mask_sources : list of Path, list of Path, (H, W) bool array or None, optional
        One for each image; the files of a list are united; None where a normal image has no mask.
    skipped : list of (Path, str)
        Files that a loader left out, with the reason; and those of which it left out all but the first page.
    labeling : str
        One line on how the labels were understood, and how many there were when the set was made.
    digests : Digests
        What is known of the files' digests; subsets know it too, and add to it.

    Examples
    --------
    >>> from musc_lite import from_arrays
    >>> images = from_arrays([np.zeros((4, 6)), np.ones((4, 6))], labels=[0, 1])
    >>> images
    ImageSet(2 images: 1 normal, 1 defective; no masks)
    >>> images[1].size, images[1].getpixel((0, 0))
    ((6, 4), (255, 255, 255))
    >>> images.subset(images.labels == 1).names
    ['image_001']
    """

    sources: Sequence[Path | Image.Image]
    names: Sequence[str]
    labels: np.ndarray | None = None
    mask_sources: Sequence[MaskSource] | None = None
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    labeling: str = ""
    digests: Digests = field(default_factory=Digests)

    def __post_init__(self):
        self.names = [writable(name) for name in self.names]
        if self.labels is not None:
            self.labels = np.asarray(self.labels, dtype=int)
        for what, values in (("names", self.names), ("labels", self.labels), ("masks", self.mask_sources)):
            if values is not None and len(values) != len(self):
                raise ValueError(f"{len(values)} {what} for {len(self)} images: give one for each image")

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, i: int) -> Image.Image:
        source = self.sources[operator.index(i)]
        # A copy, so that drawing on the result leaves the set as it is.
        return source.copy() if isinstance(source, Image.Image) else read_image(source)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = f"{len(self)} images"
        if self.labels is not None:
            text += f": {np.sum(self.labels == 0)} normal, {np.sum(self.labels == 1)} defective"
        text += "; with masks" if self.has_masks else "; no masks"
        text += f"; {len(self.skipped)} files skipped" if self.skipped else ""
        return f"ImageSet({text})"

    @property
    def has_masks(self) -> bool:
        """Whether there are masks, which are not read to tell; those of some images may be missing or empty."""
        return self.mask_sources is not None

    def subset(self, index: slice | Iterable[int] | Iterable[bool]) -> "ImageSet":
        """Choose images, with their labels and masks, in the order of `index`.

        Parameters
        ----------
        index : slice, ints or (N,) bools
            As in NumPy. `skipped` and `labeling` are kept whole: they tell of the folder, not of the subset.
        """
        chosen = np.arange(len(self))[index if isinstance(index, slice) else list(index)]
        masks = self.mask_sources
        return replace(
            self,
            sources=[self.sources[i] for i in chosen],
            names=[self.names[i] for i in chosen],
            labels=None if self.labels is None else self.labels[chosen],
            mask_sources=None if masks is None else [masks[i] for i in chosen],
        )

    def size(self, i: int) -> tuple[int, int]:
        """Image i's (width, height) in pixels, from its file's header: as ``images[i].size``, without decoding it."""
        source = self.sources[operator.index(i)]
        return source.size if isinstance(source, Image.Image) else read_size(source)

    def mask(self, i: int, region: Region = WHOLE) -> np.ndarray:
        """Image i's mask, or a region of it, in the image's own pixels: (H, W) bool, all False where there is none.

        Raises
        ------
        ImageReadError
            When the image's header or its mask cannot be read, or their sizes differ.
        """
        width, height = self.size(i)
        united = np.zeros((height, width), dtype=bool)
        source = None if self.mask_sources is None else self.mask_sources[i]
        if source is None:
            return crop_array(united, region)
        for part in source if isinstance(source, list) else [source]:
            mask = part if isinstance(part, np.ndarray) else read_mask(part)
            if mask.shape != united.shape:
                sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {self.sources[i]} {width} x {height}"
                raise ImageReadError(f"the mask {part} has {sizes}: a mask must have its image's size")
            united |= mask
        return crop_array(united, region)

    def masks(self, size: int | tuple[int, int], region: Region = WHOLE) -> np.ndarray | None:
        """All masks, resized nearest-neighbor.

        Parameters
        ----------
        size : int or (int, int)
            Side of a square, or (height, width), in pixels.
        region : (left, top, right, bottom)
            The part of each mask to take, in shares of its width and height.

        Returns
        -------
        (N, H, W) bool array or None
            True where defective, all False for an image without a mask; None where the set has no masks.
        """
        if self.mask_sources is None:
            return None
        height, width = size if isinstance(size, Iterable) else (size, size)
        resized = np.zeros((len(self), height, width), dtype=bool)
        for i, source in enumerate(self.mask_sources):
            if source is not None:
                part = crop(Image.fromarray(self.mask(i).astype(np.uint8)), region)
                resized[i] = np.asarray(part.resize((width, height), Image.Resampling.NEAREST))
        return resized

    def digest(self, i: int) -> str:
        """SHA-256 of image i's file, or of its size and pixels if it has none: a key for caches."""
        source = self.sources[operator.index(i)]
        return _pixel_digest(source) if isinstance(source, Image.Image) else self.digests.of_file(source)

    def digest_and_image(self, i: int, at_least: int | None = None) -> tuple[str, Image.Image]:
        """Image i's digest and itself; a file is opened once for both, and read small as `read_image` does."""
        source = self.sources[operator.index(i)]
        if isinstance(source, Image.Image):
            return _pixel_digest(source), source.copy()

        def both(file: BufferedReader) -> tuple[str, Image.Image]:
            return self.digests.of_open(source, file), decode_image(file, at_least)

        return open_file(source, both)

    def fingerprint(self) -> str:
        """SHA-256 of all names, labels, images and masks, in their order: tells one state of the data from another."""
        lines = []
        for i, name in enumerate(self.names):
            label = None if self.labels is None else int(self.labels[i])
            source = None if self.mask_sources is None else self.mask_sources[i]
            parts: list = source if isinstance(source, list) else [source]
            masks = [
                _mask_digest(p) if isinstance(p, np.ndarray) else self.digests.of_file(p)
                for p in parts
                if p is not None
            ]
            lines.append(f"{name} {label} {self.digest(i)} {' '.join(masks)}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _mask_digest(mask: np.ndarray) -> str:
    return hashlib.sha256(f"{mask.shape} ".encode() + np.packbits(mask).tobytes()).hexdigest()


def _pixel_digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
