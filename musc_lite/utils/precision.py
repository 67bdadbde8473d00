"""How many digits products are made with on a CPU: float32, or bfloat16 where the processor is faster at that."""

import time
from functools import cache

import torch

from musc_lite.utils.threads import single_thread

PRECISIONS = ("float32", "bfloat16", "auto")
WORTH_IT = 1.3  # times as fast, or the digits are not given away
ROUNDS = 5


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return what "auto" stands for on this machine.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
    device : torch.device
        Only on a CPU is there a choice.

    Returns
    -------
    "float32" or "bfloat16"

    Raises
    ------
    ValueError
        If it is none of the three.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {', '.join(map(repr, PRECISIONS[:-1]))} or 'auto', got {precision!r}")
    if device.type != "cpu":
        return "float32"
    return ("bfloat16" if _bfloat16_is_faster() else "float32") if precision == "auto" else precision


def portable_precision(precision: str) -> str:
    """Return what to ask for on another machine: where there are no units for bfloat16, it takes very long."""
    return "auto" if precision == "bfloat16" else "float32"


@cache
def _bfloat16_is_faster() -> bool:
    """Time products of two sizes, for some hundredths of a second."""
    # A processor without units for bfloat16 may be a hundred times slower: a small product tells that soon enough.
    with single_thread():
        return _seconds(128, torch.bfloat16) < 10 * _seconds(128, torch.float32) and (
            _seconds(512, torch.bfloat16) * WORTH_IT < _seconds(512, torch.float32)
        )


def _seconds(size: int, kind: torch.dtype) -> float:
    """Return the least time that a product of two square matrices took."""
    matrix, seconds = torch.ones(size, size, dtype=kind), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return min(seconds)
