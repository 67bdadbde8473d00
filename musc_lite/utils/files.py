"""Files that are there whole or not at all, and whose content is checked when it is read."""

import json
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from musc_lite.utils.errors import DataNotFoundError, FileWriteError

if TYPE_CHECKING:  # who writes a picture waits for no torch
    from torch import Tensor

LEFTOVERS = (".*.partial", ".tmp??????")  # the second are those of safetensors
OLD_LEFTOVER = 3_600  # seconds: no write takes so long


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Return a temporary path to write to, renamed to the real one at the end: no reader sees half a file.

    The folder is made where there is none.

    Raises
    ------
    FileWriteError
        If the disk is full, the folder read-only, ...; what was at `path` before is unchanged.
    """
    partial = path.with_name(f".{uuid.uuid4().hex[:8]}.partial")  # two processes do not meet; never a longer name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def ensure_dir(folder: Path) -> Path:
    """Make a folder and those above it; raise `FileWriteError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def write_error(path: Path, error: Exception, what: str = "") -> FileWriteError:
    """Return why a path, or something in it, cannot be written."""
    reason = getattr(error, "strerror", None) or str(error)
    where = f"{what} in {path}" if what else path
    return FileWriteError(f"{where} cannot be written: {reason}; make room there, or give a folder that can be written")


def remove_leftovers(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote, as far as it is old."""
    for pattern in LEFTOVERS:
        for partial in folder.glob(pattern):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > OLD_LEFTOVER:
                    partial.unlink()


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", kind: str, about: str) -> None:
    """Write tensors and a text about them to one safetensors file, complete or not at all.

    Parameters
    ----------
    path : Path
    tensors : dict of str to Tensor
    kind : str
        What the file holds, such as "features": the key of the text in its metadata.
    about : str
        JSON.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {kind: about, "crc32": _checksum(tensors, kind, about)}
    with atomic_write(path) as partial:
        partial.touch()  # with the rights that new files have here; those of safetensors are for their owner alone
        rights = partial.stat().st_mode
        save_file(tensors, partial, metadata)
        partial.chmod(rights)


def read_tensors(path: str | Path, kind: str) -> "tuple[dict[str, Tensor], dict]":
    """Read what `write_tensors` wrote; the file can hold numbers and text only, so a stranger's can run no code.

    Returns
    -------
    tensors : dict of str to Tensor
    about : dict

    Raises
    ------
    DataNotFoundError
        If there is no such file, it is of another kind, or any byte has changed since it was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if kind not in metadata:
                raise ValueError(f"it does not say that it holds {kind}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if metadata.get("crc32") != _checksum(tensors, kind, metadata[kind]):
            raise ValueError("its checksum differs: it is damaged, or from an early version")
        return tensors, json.loads(metadata[kind])
    except RecursionError as error:
        raise DataNotFoundError(f"{path} is not a {kind} file: its JSON is nested too deep; make it again") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise DataNotFoundError(
            f"{path} is not a complete {kind} file ({error}): give another, or make it again"
        ) from error


def _checksum(tensors: "Mapping[str, Tensor]", kind: str, about: str) -> str:
    """CRC-32 over all, names and shapes too: against accidents; no proof of who wrote it."""
    import torch

    crc = zlib.crc32(f"{kind} {about}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def write_json(path: Path, content: dict, indent: int | None = None) -> None:
    """Write strict JSON; half a letter, as a path may hold, as JSON's own escape."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=indent)
    with atomic_write(path) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")
