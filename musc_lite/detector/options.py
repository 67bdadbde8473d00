"""The parameters of `MuSc` in one table: which component owns each, how a text is read as its value, what it is for.

`MuSc` makes its components from this table and the command line its options; both work without torch until they score.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from musc_lite.utils.validation import check_count, check_degrees, check_interval, check_memory, check_rescoring_sizes


@dataclass(frozen=True)
class Option:
    """A parameter of `MuSc`.

    Attributes
    ----------
    help : str
        One line for the command line.
    read : callable
        From a flag and the text given with it to the value; or a type that the command line knows: str, int, float,
        bool.
    component, name_there : str, optional
        The kind of component that owns the parameter, and its name there where that is another one.
    check : callable, optional
        Refuse what no batch and no backbone makes right, without torch; raise ValueError.
    """

    help: str
    read: Callable[[str, str], Any] | type = str
    component: str | None = None
    name_there: str | None = None
    check: Callable[[Any], None] | None = None


def flag(name: str) -> str:
    """Return the command line's flag of a parameter: "image_size" -> "--image-size"."""
    return f"--{name.replace('_', '-')}"


def read_numbers(option: str, text: str, kind: type = int) -> tuple:
    """Read "1,3,5"; an empty text gives none."""
    try:
        return tuple(kind(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{option} takes numbers with commas between them, got {text!r}") from error


def read_one_number(option: str, text: str, words: tuple[str, ...], takes: str) -> str | float:
    """Read one of some words, or one number."""
    if text in words:
        return text
    numbers = read_numbers(option, text, float)
    if len(numbers) != 1:
        raise ValueError(f"{option} takes {takes}, got {text!r}")
    return numbers[0]


def _shares(option: str, text: str) -> tuple[float, ...]:
    return read_numbers(option, text, float)


def _layers(option: str, text: str) -> str | tuple[int, ...]:
    return text if text in ("even", "middle") else read_numbers(f"{option} (even, middle or block numbers)", text)


def _sides(option: str, text: str) -> int | tuple[int, ...]:
    """Read "448" or "336x504"."""
    if not re.fullmatch(r"\s*\d+(\s*[x, ]\s*\d+)?\s*", text):
        raise ValueError(f"{option} takes a whole number such as 2, or two as in 2x3, got {text!r}")
    numbers = read_numbers(option, text.replace("x", " "))
    return numbers[0] if len(numbers) == 1 else numbers


def _image_size(option: str, text: str) -> int | tuple[int, ...] | str:
    if found := re.fullmatch(r"(aspect|auto)([:\s]+[1-9]\d*)?", text):
        return found[0].replace(":", " ")
    return _sides(f"{option} (pixels, height x width, aspect or auto)", text)


def _region(option: str, text: str) -> str | tuple[float, ...]:
    return text if text == "auto" else _shares(option, text)


def _pooling(option: str, text: str) -> str | float:
    takes = "max, mean or one share of the highest pixels such as 0.005"
    return read_one_number(option, text, ("max", "mean"), takes)


OPTIONS: dict[str, Option] = {
    "backbone": Option("dinov2_vits14 (default), dinov2_vitb14, dinov3_vitb16, ViT-L-14-336, ..."),
    "layers": Option("Transformer blocks: even, middle, or numbers such as 4,6,8.", _layers),
    "image_size": Option(
        "Input size in pixels: 448; 336x504; aspect:448 keeps the images' shape; auto:60 is as large as 60 s allow.",
        _image_size, "view", "size",
    ),
    "region": Option(
        "Region of interest: left, top, right, bottom as fractions; or auto.", _region, "view"
    ),
    "tiles": Option(
        "Split each image into tiles: a number along the longer side, or rows x columns such as 2x3.", _sides, "view"
    ),
    "overlap": Option("Overlap of neighboring tiles as a fraction, 0 to 0.5.", float, "view"),
    "pooling": Option(
        "Image score from its map: max, mean, or the mean of this fraction of the highest pixels, such as 0.005.",
        _pooling, "pooling"
    ),
    "r": Option("Neighborhood sizes of aggregation, such as 1,3,5.", read_numbers, "aggregation", check=check_degrees),
    "interval": Option(
        "Fractions of the closest images to average over, such as 0,0.3.", _shares, "scorer", check=check_interval
    ),
    "rescoring_sizes": Option(
        "Neighborhood sizes of the re-scoring, such as 1,2,3; an empty text turns it off.", read_numbers, "rescoring",
        check=check_rescoring_sizes,
    ),
    "references": Option("Compare with this number of images only (for large folders).", int, "scorer"),
    "n_components": Option("Search in this number of principal components.", int, "scorer"),
    "search_window": Option(
        "Search within this distance in patches (for aligned parts).", int, "scorer"
    ),
    "aligned": Option("Compare each tile with the same tile of other images only.", bool, "scorer"),
    "max_memory": Option("Memory limit for the batch, such as 4GB.", check=check_memory),
    "batch_size": Option(
        "Images per forward pass of the backbone.", int, check=partial(check_count, "batch_size")
    ),
    "device": Option("cpu, cuda, ... Default: a GPU if there is one."),
    "precision": Option("float32, bfloat16, or auto (default): bfloat16 where this processor runs it faster."),
}  # fmt: skip


def of_component(kind: str) -> Mapping[str, str]:
    """Return which parameters a kind of component owns: our name, its name."""
    return {name: option.name_there or name for name, option in OPTIONS.items() if option.component == kind}
