"""Which images of a batch the others are compared with: all, so many, or those that are named."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

# So many images; which ones, by index or name; all; "trusted": those with the verdict good, see `fit_reference`.
References: TypeAlias = int | Sequence[int | str] | Literal["trusted"] | None


def choose_references(n_images: int, references: References) -> Tensor:
    """Return which images the others are scored by: J indices in order, at least 2 of them.

    Examples
    --------
    >>> choose_references(5, None), choose_references(5, [4, 0]), len(choose_references(100, 10))
    (tensor([0, 1, 2, 3, 4]), tensor([0, 4]), 10)
    """
    if references is None:
        return torch.arange(n_images)
    _check_named(references)
    if np.ndim(references) == 0:
        if not isinstance(references, Integral) or not 2 <= int(references) <= n_images:
            raise ValueError(f"references must be 2 to {n_images} of the {n_images} images, got {references!r}")
        drawn = torch.randperm(n_images, generator=torch.Generator().manual_seed(0))
        return drawn[: int(references)].sort().values
    chosen = torch.unique(torch.as_tensor(references))
    if len(chosen) < 2 or chosen.is_floating_point() or chosen[0] < 0 or chosen[-1] >= n_images:
        raise ValueError(f"references must name at least 2 of the images 0 to {n_images - 1}, got {references}")
    return chosen


def count_references(n_images: int, references: References) -> int:
    """Count them, also where they are names of a batch that is not here; of trusted ones there may be as many as all.

    Examples
    --------
    >>> count_references(9, None), count_references(9, 4), count_references(9, ["a", "b"])
    (9, 4, 2)
    """
    if isinstance(references, str) and references == "trusted":
        return n_images
    named = np.asarray(references)
    if named.ndim and named.dtype.kind == "U":
        return len(set(named.tolist()))
    return len(choose_references(n_images, references))


def name_references(references: References, everyone: str = "all images") -> str:
    """Return words for the references, for a report.

    Examples
    --------
    >>> name_references(None), name_references(5), name_references(["a.png", "b.png"])
    ('all images', '5 images drawn at random', 'the images a.png, b.png')
    """
    if references is None:
        return everyone
    if isinstance(references, str):
        return f"the {references} images"
    if np.ndim(references) == 0:
        return f"{references} images drawn at random"
    return f"the images {', '.join(map(str, np.asarray(references).tolist()))}"


def select_references(batch: Tensor, references: References) -> Tensor:
    """Take the references' tokens (J, M, C) of a batch; all of it, without a copy, where there is no choice."""
    return batch if references is None else batch[choose_references(len(batch), references)]


def reference_indices(references: References, place: Mapping[Any, int]) -> References:
    """Turn names and indices of images into places in the batch; all and a number of them stay.

    Parameters
    ----------
    references : int, sequence of int or str, or None
    place : mapping of str or int to int
        See `PatchScorer.resolve_references`.

    Examples
    --------
    >>> reference_indices(["b", "a"], {"a": 0, "b": 1, 0: 0, 1: 1})
    [0, 1]
    """
    _check_named(references)
    if references is None or np.ndim(references) == 0:
        return references
    chosen = np.asarray(references).tolist()
    unknown = [each for each in chosen if each not in place]
    if unknown and isinstance(unknown[0], str):
        names = [name for name in place if isinstance(name, str)]
        close = get_close_matches(unknown[0], names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the first image is {names[0]!r}"
        raise ValueError(f"references: {len(unknown)} names are not in the batch, such as {unknown[0]!r}; {hint}")
    if unknown:
        last = max(each for each in place if not isinstance(each, str))
        raise ValueError(f"references must name at least 2 of the images 0 to {last}, got {references}")
    return sorted({place[each] for each in chosen})


def _check_named(references: References) -> None:
    """Raise an error for references="trusted" without verdicts."""
    if isinstance(references, str) and references == "trusted":
        raise ValueError(
            "references='trusted' are the images with the verdict good: fit_reference(detector, images, verdicts), or "
            "`musc-lite fit --verdicts FILE --references-good-only`"
        )
