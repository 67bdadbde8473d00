"""Anomaly maps that another method made: read from files or arrays, and brought to one size."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from musc_lite.utils.errors import DataNotFoundError

Maps = str | Path | Mapping[str, ArrayLike] | Sequence[ArrayLike] | np.ndarray
ENDINGS = (".npy", ".npz", ".tiff", ".tif", ".png")  # in this order, where a map is there twice


def read_maps(maps: Maps, names: Sequence[str]) -> np.ndarray:
    """Read one map for each image, in the order of the images.

    Parameters
    ----------
    maps : path, mapping, sequence or ndarray
        A folder with a file for each image, of its name with or without the image's own ending: .npy, .npz with one
        array, or a gray picture (.tiff, .png; 8 or 16 bits, or floating point). An .npz with an array for each name, or
        with `maps` and `names` as `musc-lite score` writes it. A mapping of names to arrays. Arrays (H, W) in the order
        of the images.
    names : sequence of str
        N images.

    Returns
    -------
    ndarray (N, H, W) of float32
        Maps of different sizes are resized, bilinearly, to the middle one.

    Raises
    ------
    DataNotFoundError
        If an image has no map; the message names some of them.
    ValueError
        If a map is no array (H, W) of finite numbers.

    Examples
    --------
    >>> read_maps({"b.png": np.ones((2, 2)), "a.png": np.zeros((2, 2))}, ["a.png", "b.png"]).mean(axis=(1, 2))
    array([0., 1.], dtype=float32)
    """
    if isinstance(maps, str | Path):
        try:
            maps = dict(_of_file(Path(maps), names))
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, SyntaxError, TypeError, MemoryError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataNotFoundError(f"{maps} holds no maps that can be read ({reason}): write them again") from error
    if isinstance(maps, Mapping):
        _refuse_missing([name for name in names if name not in maps], names, f"the maps have {sorted(maps)[:3]}, ...")
        maps = [maps[name] for name in names]
    if len(maps) != len(names):
        raise ValueError(f"{len(maps)} maps for {len(names)} images: give one for each, in their order")
    arrays = [_checked(values, name) for values, name in zip(maps, names, strict=True)]
    height, width = np.median([values.shape for values in arrays], axis=0).astype(int)
    return np.stack([_resized(values, (int(height), int(width))) for values in arrays])


def _of_file(path: Path, names: Sequence[str]) -> Mapping[str, ArrayLike]:
    """Read a folder of maps, or one .npz with all of them."""
    if path.is_dir():
        files = {name: _find(path, name) for name in names}
        _refuse_missing([name for name, file in files.items() if file is None], names, f"{path} was searched")
        return {name: _read(file) for name, file in files.items() if file is not None}
    if path.suffix != ".npz" or not path.is_file():
        raise DataNotFoundError(f"{path} is neither a folder of maps nor an .npz file")
    with np.load(path) as file:
        if {"maps", "names"} <= set(file.files):
            return dict(zip(file["names"].tolist(), file["maps"], strict=True))
        return {name: file[name] for name in file.files}


def _find(folder: Path, name: str) -> Path | None:
    """Find the map of an image: photo.jpg has photo.npy or photo.jpg.npy, in the same subfolder."""
    stems = [PurePosixPath(name), PurePosixPath(name).with_suffix("")]
    for ending in ENDINGS:
        for stem in stems:
            if (file := folder / f"{stem}{ending}").is_file():
                return file
    return None


def _read(file: Path) -> ArrayLike:
    if file.suffix == ".npy":
        return np.load(file)
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            if len(arrays.files) != 1:
                raise ValueError(f"{file} holds {len(arrays.files)} arrays, a map is one")
            return arrays[arrays.files[0]]
    with Image.open(file) as picture:
        if picture.mode not in ("L", "I", "F", "I;16"):
            raise ValueError(f"{file} is a picture in color ({picture.mode}), a map is one value for each pixel")
        return np.asarray(picture)


def _checked(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):  # one channel, first or last
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "buif":
        raise ValueError(f"the map of {name} must be numbers (H, W), got {array.dtype} {np.shape(values)}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"the map of {name} holds NaN or infinite values")
    return array


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR))


def _refuse_missing(missing: Sequence[str], names: Sequence[str], where: str) -> None:
    if missing:
        shown = ", ".join(missing[:3]) + ", ..." * (len(missing) > 3)
        raise DataNotFoundError(f"{len(missing)} of {len(names)} images have no map: {shown}; {where}")
