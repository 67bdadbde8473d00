"""Search windows: which patches lie near the same place, and in which bands of rows they are looked for."""

import torch
from torch import Tensor

RowBlock = tuple[
    slice, slice, Tensor | None
]  # the Q patches that look, the P that they look among, those too far (P, Q)

BAND = 4  # rows of the patch grid that a window is moved over at once: fewer make slow products, more useless ones


def window_row_blocks(grid: tuple[int, int], window: int) -> list[RowBlock]:
    """Divide a grid into bands of a few rows, each of which looks among the rows near it: see `RowBlock`.

    Of these rows some patches are too far all the same, mostly by their columns.

    Examples
    --------
    >>> [(looking, places) for looking, places, _ in window_row_blocks((5, 2), window=1)]
    [(slice(0, 8, None), slice(0, 10, None)), (slice(8, 10, None), slice(6, 10, None))]
    """
    h, w = grid
    bands: list[RowBlock] = []
    for top in range(0, h, BAND):
        rows, near = slice(top, min(top + BAND, h)), slice(max(0, top - window), min(top + BAND + window, h))
        looking, places = (slice(some.start * w, some.stop * w) for some in (rows, near))
        bands.append((looking, places, outside_window(grid, window, near, rows)))
    return bands


def outside_window(
    grid: tuple[int, int], window: int, rows: slice = slice(None), other_rows: slice = slice(None)
) -> Tensor:
    """Return which patches of some rows lie more than `window` rows or columns away from which of other rows.

    Examples
    --------
    >>> outside_window((1, 3), window=1)
    tensor([[False, False,  True],
            [False, False, False],
            [ True, False, False]])
    """
    far_rows, far_columns = ((place[:, None] - place).abs() > window for place in map(torch.arange, grid))
    far = far_rows[rows, other_rows][:, None, :, None] | far_columns[None, :, None, :]  # (rows, w, other rows, w)
    return far.reshape(far.shape[0] * grid[1], -1)


def grid_of_window(grid: tuple[int, int] | None) -> tuple[int, int]:
    """Return the grid (h, w) that a window moves over, which must be known."""
    if grid is None:
        raise ValueError("a window needs to know the grid (h, w) of the patches")
    return grid
