"""Stage 1, feature extraction: every image becomes patch tokens of several blocks, and one class token."""

import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import WHOLE, Region
from musc_lite.data.view import ResolvedView, View
from musc_lite.stages.roi_detection import find_region
from musc_lite.utils.deprecation import renamed_attributes
from musc_lite.utils.errors import DataNotFoundError, ImageReadError
from musc_lite.utils.files import atomic_write, ensure_dir, read_tensors, remove_leftovers, write_error, write_tensors
from musc_lite.utils.progress import progress_bar
from musc_lite.utils.threads import map_on_cpu_threads

TileFn = Callable[[int], list[Image.Image]]  # from an image's index to its tiles


@renamed_attributes(framing="resolved_view")
@dataclass(frozen=True)
class Features:
    """What a backbone sees in a batch of images.

    Attributes
    ----------
    patch_tokens : Tensor (N, S, M, C)
        One vector per image, layer and patch; patches row by row of the grid.
    class_tokens : Tensor (N, D)
        One unit vector per image.
    resolved_view : ResolvedView
        What was looked at of each photo: M patches on its grid.
    layers : tuple of int
        The S blocks that were read, 0-based.
    """

    patch_tokens: Tensor
    class_tokens: Tensor
    resolved_view: ResolvedView
    layers: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns (h, w) of patches, h * w = M."""
        return self.resolved_view.grid

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Pixels of what was looked at, and of maps: the side of a square, or (height, width)."""
        return self.resolved_view.image_size

    def __len__(self) -> int:
        return len(self.patch_tokens)

    def __repr__(self) -> str:
        n, s, m, c = self.patch_tokens.shape
        return (
            f"Features({n} images, {s} layers {list(self.layers)}, {m} patches on a {self.grid[0]} x {self.grid[1]} "
            f"grid, {c} channels, image_size={self.image_size})"
        )

    def check(self, n_images: int, layers: Sequence[int], resolved_view: ResolvedView, n_channels: int) -> None:
        """Raise ValueError for features of other images or made another way."""
        found: list = [len(self), tuple(self.layers), self.image_size, self.patch_tokens.shape[-1]]
        asked: list = [n_images, tuple(layers), resolved_view.image_size, n_channels]
        names = ["images", "layers", "pixels a side", "channels"]
        if found == asked:
            found, asked, names = [self.resolved_view], [resolved_view], ["as their view"]
        if found != asked:
            differ = [f"{f} {name}, not {a}" for f, a, name in zip(found, asked, names, strict=True) if f != a]
            raise ValueError(f"these features do not fit: they have {'; '.join(differ)}; extract them anew")

    def subset(self, index: np.ndarray) -> "Features":
        """Choose images, in the order of `index`."""
        return replace(self, patch_tokens=self.patch_tokens[index], class_tokens=self.class_tokens[index])

    def save(self, path: str | Path) -> None:
        """Write all of it to one safetensors file, complete or not at all, with a checksum."""
        about = {"framing": asdict(self.resolved_view), "grid": self.grid, "layers": self.layers}
        tensors = {"patch_tokens": self.patch_tokens, "class_tokens": self.class_tokens}
        write_tensors(Path(path), tensors, "features", json.dumps(about))

    @classmethod
    def load(cls, path: str | Path) -> "Features":
        """Read what `save` wrote.

        Raises
        ------
        DataNotFoundError
            If there is no such file, it is not a features file, or it has changed since it was written.
        """
        tensors, about = read_tensors(path, "features")
        return cls(**tensors, resolved_view=framing_from_json(about), layers=tuple(about["layers"]))


def extract_features(
    images: ImageSet,
    backbone: Backbone,
    *,
    layers: str | Sequence[int] | None = None,
    image_size: int | tuple[int, int] | None = None,
    view: View | ResolvedView | None = None,
    batch_size: int = 8,
    cache_dir: str | Path | None = None,
    storage: str = "float32",
    progress: bool = True,
) -> Features:
    """Run the backbone over all images.

    Parameters
    ----------
    images : ImageSet
        Images of any size.
    backbone : Backbone
        See `load_backbone`.
    layers : "even", "middle" or sequence of int, optional
        Which blocks to read (`Backbone.layers`); None: the backbone's default.
    image_size : int or (int, int), optional
        The same as ``view=View(image_size)``: the whole photo as a square of so many pixels a side, or at (height,
        width), multiples of the patch size; None: the backbone's default square.
    view : View or ResolvedView, optional
        What to look at, and how closely. A view is settled for these images; a framing was settled for others.
    batch_size : int
        Images that go through the backbone at once.
    cache_dir : path, optional
        Folder where the tokens of each image are kept. What is there is not extracted again, also after an
        interruption; a file belongs to the image's bytes, the weights, the layers and the size, so a change of
        any of them is never answered from it. Batches are redone whole, so the numbers do not depend on where
        an earlier run stopped. A file that is damaged, by its checksum, or is another's is warned of and made again.
        Several processes may share the folder; one that holds all that is asked for may be read-only.
    storage : {"float32", "float16", "disk"}
        How patch tokens are kept: in memory, in half precision for half of it, or in half precision in a file without
        a name, beside the cache or in the system's temporary folder, which goes when the tokens go.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Features
        On the CPU; class tokens in float32.

    Raises
    ------
    ValueError
        If the layers, the view or the batch size do not fit the backbone or the images.
    ImageReadError
        If an image cannot be read; the message names it.
    FileWriteError
        If the cache, or the file of ``storage="disk"``, cannot be written.
    """
    chosen = backbone.layers(layers)
    if image_size is not None and view is not None:
        raise ValueError(f"give image_size={image_size} or a view, not both: View({image_size}, ...)")
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number, at least 1, got {batch_size!r}")
    resolved_view = view
    if not isinstance(resolved_view, ResolvedView):
        resolved_view = frame(view or View(image_size), images, backbone, batch_size=batch_size, cache_dir=cache_dir)
    cache = None if cache_dir is None else _cache_folder(Path(cache_dir), backbone, chosen, resolved_view)

    def extract(cut: TileFn, some: Sequence[int]) -> tuple[Tensor, Tensor]:
        tiles = [backbone.preprocess(tile, resolved_view.tile_size) for i in some for tile in cut(i)]
        found = [backbone.forward_tokens(batch, chosen) for batch in torch.stack(tiles).split(batch_size)]
        patch_tokens, class_tokens = (torch.cat(kind) for kind in zip(*found, strict=True))
        each = patch_tokens.split(resolved_view.n_passes)  # an image's tiles, and last its region
        return torch.stack([resolved_view.stitch(tokens) for tokens in each]), class_tokens[
            resolved_view.n_passes - 1 :: resolved_view.n_passes
        ]

    digests: dict[int, str] = {}  # of the images whose features will be cached
    patch_tokens, class_tokens, damaged = None, [], []  # (N, S, M, C); per batch (B, D); messages
    with (
        progress_bar(total=len(images), desc="extracting features", unit="image", show=progress) as bar,
        _cutting(images, resolved_view, digests) as cut,
    ):
        for start in range(0, len(images), batch_size):
            indices = range(start, min(start + batch_size, len(images)))
            files = None
            if cache is not None:
                digests |= {i: images.digest(i) for i in indices}
                files = [cache / f"{images.cache_key(i)}.safetensors" for i in indices]
            tokens = _read_batch(files, damaged) if files else None
            if tokens is None:
                parts = [[i] for i in indices] if backbone.device.type == "cpu" else [indices]
                found = map_on_cpu_threads(partial(extract, cut), parts, backbone.device)
                tokens = tuple(torch.cat(kind).cpu() for kind in zip(*found, strict=True))
                if files:
                    _write_batch(files, *tokens)
            if patch_tokens is None:  # the first batch tells how many channels there are
                patch_tokens = _empty_tokens((len(images), *tokens[0].shape[1:]), storage, cache)
            patch_tokens[indices.start : indices.stop] = tokens[0]
            class_tokens.append(tokens[1].clone())  # a view would keep all tokens of the last block alive
            bar.update(len(indices))
    if damaged:
        warnings.warn(f"{len(damaged)} files of the cache were made again: {damaged[0]}", stacklevel=2)
    return Features(
        patch_tokens=patch_tokens,
        class_tokens=F.normalize(torch.cat(class_tokens), dim=-1),
        resolved_view=resolved_view,
        layers=tuple(chosen),
    )


@contextmanager
def _cutting(images: ImageSet, resolved_view: ResolvedView, digests: Mapping[int, str]) -> Iterator[TileFn]:
    """Return a thread-safe function that cuts image i into tiles; ValueError if its digest has changed."""
    # A decoded photo may take a GB. One is decoded while another is cut into tiles, and never more. One thread decodes
    # all of them: what a thread has freed, malloc may keep for that thread, so that 12 would keep the memory of 12.
    decoded = BoundedSemaphore(2)

    def read(i: int) -> Image.Image:
        known = digests.get(i)
        if known is None:
            return images[i]
        digest, image = images.digest_and_image(i)
        if digest != known:
            raise ImageReadError(f"{images.names[i]} was replaced while the batch was read: run it again")
        return image

    with ThreadPoolExecutor(1) as reader:

        def cut(i: int) -> list[Image.Image]:
            with decoded:
                return resolved_view.cut(reader.submit(read, i).result())

        yield cut


def frame(
    view: View,
    images: ImageSet,
    backbone: Backbone,
    *,
    found: Region | None = None,
    batch_size: int = 8,
    cache_dir: str | Path | None = None,
) -> ResolvedView:
    """Settle a view for a batch; `found`: where the objects are, if that is known."""
    view.check()
    if view.region == "auto" and found is None:
        found = region_of_objects(images, backbone, batch_size=batch_size, cache_dir=cache_dir)
    return view.resolve(images, backbone.patch_size, backbone.default_image_size, backbone.name, found or WHOLE)


def region_of_objects(
    images: ImageSet, backbone: Backbone, *, batch_size: int = 8, cache_dir: str | Path | None = None
) -> Region:
    """Look once at the whole photos to find where the objects are; where there are none, that is the region."""
    extract = partial(extract_features, layers=[backbone.depth - 1], batch_size=batch_size, cache_dir=cache_dir)
    features = extract(images, backbone)
    found = find_region(features.patch_tokens[:, 0], features.grid)
    if found is None:
        warnings.warn("no clear object stands out from its surroundings: the whole photo is looked at", stacklevel=3)
    return found or WHOLE


def framing_from_json(about: Mapping) -> ResolvedView:
    """Read a framing; what 0.1 wrote has a square and its grid."""
    if "framing" in about:
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["framing"].items()}
        resolved_view = ResolvedView(**known)
        resolved_view.check()
        return resolved_view
    size = about["image_size"]
    return ResolvedView((size, size), size // about["grid"][0])


def storage_of(features: Features) -> str:
    """Return the storage, "float32" or "float16", of patch tokens that are in memory."""
    return "float16" if features.patch_tokens.dtype == torch.float16 else "float32"


def _empty_tokens(shape: tuple[int, ...], storage: str, folder: Path | None) -> Tensor:
    """Make room for patch tokens in memory or on disk."""
    if storage == "disk":
        n_bytes = 2 * math.prod(shape)
        where = Path(folder or tempfile.gettempdir())
        try:
            with tempfile.TemporaryFile(dir=folder) as file:  # the map keeps it alive after it is closed
                if hasattr(os, "posix_fallocate"):  # a map of a full disk would end the process (SIGBUS)
                    os.posix_fallocate(file.fileno(), 0, n_bytes)
                return torch.from_numpy(np.memmap(file, dtype=np.float16, mode="w+", shape=shape))
        except OSError as error:
            raise write_error(where, error, f"a file of {n_bytes / 1e6:,.0f} MB for patch tokens") from error
    if storage not in ("float32", "float16"):
        raise ValueError(f"storage must be 'float32', 'float16' or 'disk', got {storage!r}")
    return torch.empty(shape, dtype=getattr(torch, storage))


def _cache_folder(root: Path, backbone: Backbone, layers: list[int], resolved_view: ResolvedView) -> Path:
    """Return the folder for one way of extraction; its name is a hash over all that shapes the numbers."""
    image_size = resolved_view.image_size
    settings: dict[str, object] = {
        "backbone": backbone.name,  # names the activation too
        "weights": backbone.weights_sha256,
        "layers": layers,
        "image_size": image_size,
        "preprocessing": ["bicubic square", backbone.mean, backbone.std],
        "dtype": "float16 blocks" if backbone.device.type == "cuda" else backbone.precision,
    }
    if resolved_view != ResolvedView(resolved_view.size, resolved_view.patch_size):  # not the whole photo at once
        settings["framing"] = asdict(resolved_view)
    text = json.dumps(settings, sort_keys=True)
    pixels = "x".join(map(str, np.atleast_1d(image_size)))
    folder = root / f"{backbone.name}-{pixels}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    ensure_dir(folder)
    remove_leftovers(folder)
    if not (folder / "settings.json").exists():  # for people; a complete cache may be read-only
        with atomic_write(folder / "settings.json") as partial:
            partial.write_text(text + "\n")
    return folder


def _read_batch(files: Sequence[Path], damaged: list[str]) -> tuple[Tensor, Tensor] | None:
    """Read a batch back, (B, S, M, C) and (B, D); None unless every file is whole. `damaged` says what is wrong."""
    if not all(file.exists() for file in files):
        return None
    try:
        found = []
        for file in files:
            tensors, about = read_tensors(file, "cached features")
            if about != _about(file):
                raise DataNotFoundError(f"{file} holds something else: {about}")
            found.append(tensors)
        patch_tokens, class_tokens = (torch.stack([f[key] for f in found]) for key in ("patch_tokens", "class_token"))
        if patch_tokens.ndim != 4 or class_tokens.ndim != 2:
            raise DataNotFoundError(f"{files[0].parent} holds tokens of another shape")
    except (DataNotFoundError, KeyError, RuntimeError) as error:
        damaged.append(str(error))
        return None
    return patch_tokens, class_tokens


def _about(file: Path) -> dict[str, str]:
    """Return the image and the settings that a cache file belongs to: a renamed file is found out."""
    return {"file": f"{file.parent.name}/{file.name}"}


def _write_batch(files: Sequence[Path], patch_tokens: Tensor, class_tokens: Tensor) -> None:
    for file, patches, class_token in zip(files, patch_tokens, class_tokens, strict=True):
        tensors = {"patch_tokens": patches, "class_token": class_token}
        write_tensors(file, tensors, "cached features", json.dumps(_about(file)))
