"""What was made once and may be asked for again, as long as there is room."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["Kept"]


class Kept:
    """Keep what was made, up to so many bytes; what was used longest ago goes first.

    Parameters
    ----------
    max_bytes : int
        Of tensors and arrays. One thing that is larger by itself is made, given and not kept.

    Examples
    --------
    >>> kept = Kept(max_bytes=100)
    >>> len(kept.get("a", lambda: np.zeros(10))), len(kept.get("b", lambda: np.zeros(5))), kept.n_bytes
    (10, 5, 40)
    """

    def __init__(self, max_bytes: int):
        self.max_bytes, self.n_bytes = max_bytes, 0
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Give what is kept under a key, or make it."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        size = _size(value)
        if size <= self.max_bytes:
            while self.n_bytes + size > self.max_bytes:
                self.n_bytes -= _size(self._values.popitem(last=False)[1])
            self._values[key] = value
            self.n_bytes += size
        return value


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(map(_size, value))
    return value.nbytes if isinstance(value, np.ndarray | Tensor) else 0
