"""Saved features that are damaged at random: each file is refused, or still holds what was written."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from musc_lite import DataNotFoundError, Features
from musc_lite.data.view import ResolvedView
from stress.extraction import Figures
from stress.mutants import WAYS

DAMAGE = ("flip", "head", "cut", "insert", "delete", "blank", "chunks", "empty")


def saved_files(n: int, seed: int = 0) -> Figures:
    """Damage a saved file in n ways and load it: a clear error that names it, or every number as it was."""
    figures = Figures("damaged saved files", notes={"refused": 0})
    numbers = torch.Generator().manual_seed(seed)
    tokens = torch.rand(4, 2, 9, 16, generator=numbers), torch.rand(4, 16, generator=numbers)
    with TemporaryDirectory() as folder:
        path = Path(folder, "features.safetensors")
        written = Features(*tokens, ResolvedView((42, 42), 14), (2, 5))
        written.save(path)
        whole = path.read_bytes()
        for i in range(n):
            random, way = Random(f"{seed}/{i}"), DAMAGE[i % len(DAMAGE)]
            path.write_bytes(WAYS[way](random, whole, "safetensors"))
            figures.trials += 1
            try:
                loaded = Features.load(path)
            except DataNotFoundError as error:
                figures.notes["refused"] += 1
                if str(path) not in str(error):
                    figures.faults.append(f"{seed}/{i} {way}: refused without its name: {error}")
            except Exception as error:  # whatever else comes out is what is looked for
                figures.faults.append(f"{seed}/{i} {way}: {type(error).__name__}: {error}")
            else:
                same = repr(loaded) == repr(written) and all(
                    torch.equal(a, b) for a, b in zip((loaded.patch_tokens, loaded.class_tokens), tokens, strict=True)
                )
                if not same:
                    figures.faults.append(f"{seed}/{i} {way}: other numbers were loaded")
    return figures
