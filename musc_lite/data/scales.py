"""The scales of a batch of images, found when the first image needs one."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from musc_lite.data.decode import measure_values
from musc_lite.data.depth import LEGACY, Scale, ValueRange, kind_of, range_of, scale_of
from musc_lite.data.file_hashes import Digests
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.progress import progress_bar


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
        self._sources, self._digests, self._lock = sources, digests, RLock()
        self._is_measured = False
        self.fitted = dict(fitted or {})
        self.found: dict[str, Scale] = {}

    def __call__(self, kind: str) -> Scale:
        """Return the scale for one kind of values."""
        with self._lock:
            if kind not in self.found:
                if kind not in self.fitted and not self._is_measured:
                    self._measure()
                # A file that became deep after it was measured is divided as its type alone says.
                self.found.setdefault(kind, self.fitted.get(kind, LEGACY.get(kind, Scale(0, 255))))
            return self.found[kind]

    def key(self, path: Path) -> str:
        """Return what a cache must know of the scale of a file beside its digest; "" where that is nothing."""
        if not self._digests.is_deep(path):
            return ""
        with self._lock:
            if not self._is_measured:  # also for a kind that the fitted batch lacks
                self._measure()
        scales = {
            kind: scale for kind, scale in sorted({**self.found, **self.fitted}.items()) if LEGACY.get(kind) != scale
        }
        return "".join(f"-{kind}-{scale.low:g}-{scale.high:g}" for kind, scale in scales.items())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=RLock())

    def _measure(self) -> None:
        self._is_measured = True
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            ranges = pool.map(self._range, self._sources)
            bar = progress_bar(ranges, total=len(self._sources), desc="measuring values", unit="image", leave=False)
            found: dict[str, list[ValueRange]] = {}
            for each in bar:
                if each is not None:
                    found.setdefault(each.kind, []).append(each)
        self.found |= {kind: scale_of(each) for kind, each in found.items() if kind not in self.fitted}

    def _range(self, source: Any) -> ValueRange | None:
        if isinstance(source, np.ndarray):
            return range_of(source) if kind_of(source.dtype) else None
        try:
            return measure_values(source) if isinstance(source, Path) and self._digests.is_deep(source) else None
        except ImageReadError:  # it is said when the image itself is read
            return None
