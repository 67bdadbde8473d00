"""What was made once and may be asked for again, as long as there is room; all explorers of a detector share it."""

from collections.abc import Callable, Hashable
from threading import Condition
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from cachetools import LRUCache, cached
from torch import Tensor

from musc_lite.detector.detector import Detector
from musc_lite.utils.validation import parse_bytes

LARGEST_CACHE = 1_000_000_000  # bytes of tokens, distances, counts and pictures in the cache of a detector


class ArrayCache:
    """Keep what was made, up to so many bytes; what was used longest ago goes first.

    Threads may ask at once: what one of them makes, another one that wants the same waits for.

    Parameters
    ----------
    max_bytes : int
        Of tensors, arrays and encoded pictures. One thing that is larger by itself is made, given and not kept.

    Examples
    --------
    >>> kept = ArrayCache(max_bytes=100)
    >>> len(kept.get("a", lambda: np.zeros(10))), len(kept.get("b", lambda: np.zeros(5))), kept.n_bytes
    (10, 5, 40)
    >>> "a" in kept, "b" in kept
    (False, True)
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._values: LRUCache[Hashable, Any] = LRUCache(max_bytes, getsizeof=_size)
        self._get = cached(self._values, key=lambda key, make: key, condition=Condition())(lambda key, make: make())

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    @property
    def n_bytes(self) -> int:
        """How much is kept."""
        return int(self._values.currsize)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is kept under a key, or make it."""
        return self._get(key, make)


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_size, value))
    if isinstance(value, bytes):
        return len(value)
    return value.nbytes if isinstance(value, np.ndarray | Tensor) else 0


_of_detectors: WeakKeyDictionary[Detector, tuple[ref, ArrayCache]] = WeakKeyDictionary()


def kept_of(detector: Detector) -> ArrayCache:
    """Return the one store of a fitted detector; a new one after it was fitted again, or its `max_memory` changed."""
    max_bytes = LARGEST_CACHE if detector.max_memory is None else parse_bytes(detector.max_memory)
    fitted_on, kept = _of_detectors.get(detector, (lambda: None, None))
    if kept is None or fitted_on() is not detector.features_ or kept.max_bytes != max_bytes:
        kept = ArrayCache(max_bytes)
        _of_detectors[detector] = (ref(detector.features_), kept)
    return kept
