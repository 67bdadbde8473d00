"""SNAMD (similarity neighborhood aggregation with multiple degrees): neighbors speak as far as they resemble the patch.

A plain mean over r x r patches lets the surroundings of a small defect drown it. Here each neighbor j of a patch i is
weighed by how near its vector lies to that of the patch,

    w(i, j) = exp(-|x_i - x_j|),    y_r(i) = sum_j w(i, j) x_j / sum_j w(i, j)

over the r x r patches around i that lie on the grid, and the degrees are averaged, so that one vector remains for each
patch and layer: a third of the scoring of three degrees. (MuSc-V2, Li, Xue and Zhou, 2025, arXiv 2511.10047, the part
for images. Written after its description; its code was not at hand, so details such as the length of the vectors that
are compared, here 1, may differ.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from musc_lite.stages.aggregation import LNAMD, normalize_tokens, on_each_image

__all__ = ["SNAMD", "similarity_mean"]


def similarity_mean(tokens: Tensor, grid: tuple[int, int], r: int) -> Tensor:
    """Average each patch vector with the r x r patches around it, weighed by exp(-distance to it).

    Parameters
    ----------
    tokens : Tensor (N, M, C)
        Patch tokens, row by row of the grid.
    grid : (h, w)
        Rows and columns of patches, h * w = M.
    r : int
        Side of the neighborhood in patches, odd; 1 changes nothing.

    Returns
    -------
    Tensor (N, M, C)

    Examples
    --------
    >>> similarity_mean(torch.tensor([[[0.0], [0.0], [2.0]]]), grid=(1, 3), r=3).flatten()
    tensor([0.0000, 0.1268, 1.7616])
    """
    h, w = grid
    on_grid = tokens.unflatten(1, (h, w))  # (N, h, w, C)
    total, weights = torch.zeros_like(on_grid), on_grid.new_zeros(*on_grid.shape[:3], 1)
    reach = r // 2
    for down in range(-min(reach, h - 1), min(reach, h - 1) + 1):
        for right in range(-min(reach, w - 1), min(reach, w - 1) + 1):
            here = (slice(None), slice(max(0, -down), h - max(0, down)), slice(max(0, -right), w - max(0, right)))
            there = (slice(None), slice(max(0, down), h - max(0, -down)), slice(max(0, right), w - max(0, -right)))
            weight = torch.exp(-(on_grid[here] - on_grid[there]).norm(dim=-1, keepdim=True))
            total[here] += weight * on_grid[there]
            weights[here] += weight
    return (total / weights).flatten(1, 2)


class SNAMD(LNAMD):
    """Weigh neighbors by their likeness, and average the degrees: one vector for each patch and layer.

    Parameters
    ----------
    r : sequence of int
        Degrees that are averaged, odd. The result is counted under the largest of them.
    """

    def __init__(self, r: Sequence[int] = (1, 3, 5)):
        self.r = r

    def describe(self) -> dict[str, str]:
        """Name the degrees that are averaged."""
        return {"aggregation": f"neighbors by likeness, mean of the degrees {', '.join(map(str, self._averaged))}"}

    @property
    def _averaged(self) -> tuple[int, ...]:
        return tuple(self.r or ())

    def degrees(self, default: Sequence[int]) -> tuple[int, ...]:
        """Give the largest degree, under which all of them go."""
        return (max(self._averaged),)

    def aggregate(self, tokens: Tensor, grid: tuple[int, int], r: int, device: torch.device) -> Tensor:
        """Aggregate one layer's tokens (N, M, C) onto a device: unit vectors."""

        def mean_of_degrees(image: Tensor) -> Tensor:
            unit = F.normalize(normalize_tokens(image), dim=-1)
            return F.normalize(
                torch.stack([similarity_mean(unit, grid, n) for n in self._averaged]).mean(dim=0), dim=-1
            )

        return on_each_image(mean_of_degrees, tokens, device)
