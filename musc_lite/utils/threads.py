"""Work on the images divided among the cores, so that no thread waits for another one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cpu_threads(
    visit: Callable[[Item], Result], items: Sequence[Item] | Tensor, device: torch.device
) -> Iterator[Result]:
    """Return visit(item) for each item, in order, each in one thread from its beginning to its end.

    PyTorch's own threads share every single operation and wait for each other after it, spinning: where another
    program wants the processor too, that takes ten times as long. Threads with items of their own wait for nobody, and
    what they compute does not depend on how many there are.

    Parameters
    ----------
    visit : callable
        May use `map_on_cpu_threads` itself: in a thread of its own it works there.
    items : sequence
    device : torch.device
        Only a CPU is divided; for any other device the items are visited in the calling thread.
    """
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_workers = min(n_threads, len(items))
    if n_workers <= 1:
        yield from map(visit, items)
        return
    share = n_threads // n_workers  # 1, unless there are fewer items than cores
    try:
        with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield from pool.map(visit, items)  # raises what a thread raised
    finally:
        torch.set_num_threads(n_threads)


def for_each(
    visit: Callable[[Item], Result],
    items: Sequence[Item] | Tensor,
    device: torch.device,
    progress: Callable[[Result], object] | None = None,
) -> None:
    """Visit all items as `map_on_cpu_threads` does; progress is called with each result, in order."""
    for done in map_on_cpu_threads(visit, items, device):
        if progress:
            progress(done)


@contextmanager
def single_thread() -> Iterator[None]:
    """Let PyTorch work in the calling thread alone: for what would share hundreds of small operations."""
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(n_threads)
