"""An ordered set of images with optional labels and masks, read when they are asked for."""

import hashlib
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from threading import RLock
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from musc_lite.data.decode import decode_image, measure_values, open_file, read_image, read_mask, read_size
from musc_lite.data.file_hashes import Digests
from musc_lite.data.pixels import LEGACY, Note, Scale, ValueRange, kind_of, range_of, scale_of, to_rgb
from musc_lite.data.roi import WHOLE, Region, crop, crop_array
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.names import writable
from musc_lite.utils.progress import progress_bar

MaskPart: TypeAlias = Path | np.ndarray  # a file or an array
MaskSource: TypeAlias = MaskPart | list[Path] | list[MaskPart] | None  # one, several to unite, no mask


_MEASURING = RLock()


class Scales:
    """One scale for each kind of values (`kind_of`) in a batch.

    Images of 8 bits need none, and cost nothing here. The first image of another kind makes all such images of the
    batch be measured: each is decoded once more.

    Parameters
    ----------
    sources : sequence of Path, PIL.Image or ndarray
        The batch.
    digests : Digests
        Of its files.
    fitted : mapping of str to Scale
        The scales of a fitted batch, which hold instead of its own.

    Attributes
    ----------
    fitted : mapping of str to Scale
    found : dict of str to Scale
        Those that are known so far.
    """

    def __init__(self, sources: Sequence[Any], digests: Digests, fitted: Mapping[str, Scale] | None = None):
        self._sources, self._digests = sources, digests
        self._is_measured = False
        self.fitted = dict(fitted or {})
        self.found: dict[str, Scale] = {}

    def __call__(self, kind: str) -> Scale:
        """Return the scale for one kind of values."""
        with _MEASURING:
            if kind not in self.found:
                if kind not in self.fitted:
                    self._measure()
                # A file that became deep after it was measured is divided as its type alone says.
                self.found.setdefault(kind, self.fitted.get(kind, LEGACY.get(kind, Scale(0, 255))))
            return self.found[kind]

    def key(self, path: Path) -> str:
        """Return what a cache must know of the scale of a file beside its digest; "" where that is nothing."""
        if not self._digests.is_deep(path):
            return ""
        with _MEASURING:
            self._measure()  # also for a kind that the fitted batch lacks
        scales = sorted({**self.found, **self.fitted}.items())
        return "".join(f"-{kind}-{each.low:g}-{each.high:g}" for kind, each in scales if LEGACY.get(kind) != each)

    def _measure(self) -> None:
        if self._is_measured:
            return
        self._is_measured = True
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            ranges = pool.map(self._range, self._sources)
            bar = progress_bar(ranges, total=len(self._sources), desc="measuring values", unit="image", leave=False)
            found: dict[str, list[ValueRange]] = {}
            for each in filter(None, bar):
                found.setdefault(each.kind, []).append(each)
        self.found |= {kind: scale_of(each) for kind, each in found.items() if kind not in self.fitted}

    def _range(self, source: Any) -> ValueRange | None:
        if isinstance(source, np.ndarray):
            return range_of(source) if kind_of(source.dtype) else None
        with suppress(ImageReadError):  # it is said when the image itself is read
            return measure_values(source) if isinstance(source, Path) and self._digests.is_deep(source) else None
        return None


@dataclass(eq=False, repr=False)
class ImageSet:
    """An ordered set of N images that are read when asked for.

    Made by `from_arrays` and by the loaders of `musc_lite.data.loaders`.

    Parameters
    ----------
    sources : list of Path, RGB PIL.Image or ndarray
        One for each image; arrays are those of values that need the scale of the batch.
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
    scales : Scales
        How values of more than 8 bits become gray levels; subsets have those of the whole set.
    notes : dict of str to dict
        Remarks on how files were read so far, each with the names of its images.
    allowed : frozenset of str, optional
        Digests that the images may have: a saved detector names files, and only the photos that were fitted may be
        shown beside its scores. Others raise an `ImageReadError`.

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

    sources: Sequence[Path | Image.Image | np.ndarray]
    names: Sequence[str]
    labels: np.ndarray | None = None
    mask_sources: Sequence[MaskSource] | None = None
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    labeling: str = ""
    digests: Digests = field(default_factory=Digests)
    scales: Scales = None  # type: ignore[assignment]  # made of the sources
    notes: dict[str, dict[str, None]] = field(default_factory=dict)
    allowed: frozenset[str] | None = None

    def __post_init__(self):
        self.names = [writable(name) for name in self.names]
        if self.scales is None:
            self.scales = Scales(self.sources, self.digests)
        if self.labels is not None:
            self.labels = np.asarray(self.labels, dtype=int)
        for what, values in (("names", self.names), ("labels", self.labels), ("masks", self.mask_sources)):
            if values is not None and len(values) != len(self):
                raise ValueError(f"{len(values)} {what} for {len(self)} images: give one for each image")

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, i: int) -> Image.Image:
        source = self.sources[operator.index(i)]
        if isinstance(source, Path) and self.allowed is None:
            return read_image(source, scale_for=self.scales, note=self._note(i))
        return self.digest_and_image(i)[1]

    def _in_memory(self, i: int) -> Image.Image:
        """Return an image that has no file; a copy, so that drawing on the result leaves the set as it is."""
        source = self.sources[operator.index(i)]
        if isinstance(source, Image.Image):
            return source.copy()
        assert isinstance(source, np.ndarray)
        return to_rgb(source, self.scales, self._note(i))

    def _note(self, i: int) -> Note:
        return lambda text: self.notes.setdefault(text, {}).setdefault(self.names[operator.index(i)])

    def remarks(self) -> list[tuple[str, list[str]]]:
        """Return what a user should know of how images were read so far, and of which."""
        found = [(text, [name for name in self.names if name in named]) for text, named in self.notes.items()]
        return [(text, names) for text, names in found if names]

    def scaled_as(self, fitted: Mapping[str, Scale]) -> "ImageSet":
        """Return the same images, whose values are scaled as those of a fitted batch; other kinds by themselves."""
        usual, has_images = Scale(0, 1), any(isinstance(source, Image.Image) for source in self.sources)
        if has_images and self.scales.found.get("float") == usual != fitted.get("float", usual):  # they are 8-bit ones
            low, high = fitted["float"].low, fitted["float"].high
            raise ValueError(
                f"these images are floats from 0 to 1, those of the fitted batch run from {low:g} to {high:g}: give "
                "all in the same unit"
            )
        return replace(self, scales=Scales(self.sources, self.digests, fitted), notes=dict(self.notes))

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
        if isinstance(source, np.ndarray):
            return source.shape[1], source.shape[0]
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
        for part in self._mask_parts(i):
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
        """SHA-256 of image i's file, or of its size and 8-bit pixels if it has none."""
        source = self.sources[operator.index(i)]
        return self.digests.of_file(source) if isinstance(source, Path) else _pixel_digest(self._in_memory(i))

    def cache_key(self, i: int) -> str:
        """Return image i's digest, and its scale where it has one that is not the usual one of its type."""
        source = self.sources[operator.index(i)]
        return self.digest(i) + (self.scales.key(source) if isinstance(source, Path) else "")

    def digest_and_image(self, i: int, at_least: int | None = None) -> tuple[str, Image.Image]:
        """Return image i's digest and the image, of the same bytes; a file is opened once, see `read_image`."""
        source = self.sources[operator.index(i)]
        if not isinstance(source, Path):
            image = self._in_memory(i)
            return _pixel_digest(image), image

        def decode(file: BufferedReader) -> Image.Image:
            return decode_image(file, at_least, self.scales, self._note(i))

        digest, image = open_file(source, lambda file: self.digests.of_same_bytes(source, file, decode))
        if self.allowed is not None and digest not in self.allowed:
            raise ImageReadError(
                f"{source} is not the photo that was fitted: it was replaced or edited since. Restore it, or fit again"
            )
        return digest, image

    def fingerprint(self) -> str:
        """SHA-256 of all names, labels, images and masks, in their order: tells one state of the data from another."""
        lines = []
        for i, name in enumerate(self.names):
            label = None if self.labels is None else int(self.labels[i])
            masks = []
            for part in self._mask_parts(i):
                if isinstance(part, np.ndarray):
                    pixels = f"{part.shape} ".encode() + np.packbits(part).tobytes()
                    masks.append(hashlib.sha256(pixels).hexdigest())
                else:
                    masks.append(self.digests.of_file(part))
            lines.append(f"{name} {label} {self.digest(i)} {' '.join(masks)}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _mask_parts(self, i: int) -> Sequence[MaskPart]:
        source = None if self.mask_sources is None else self.mask_sources[i]
        return source if isinstance(source, list) else [] if source is None else [source]


def _pixel_digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
