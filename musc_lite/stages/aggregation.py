"""Stage 2, LNAMD (local neighborhood aggregation with multiple degrees): each patch is averaged with its neighborhood.

A defect may be smaller or larger than one patch. Averaging every patch vector with its r x r neighbors on the
patch grid gives one description of the image per degree r; the degrees are scored apart and averaged later.
Paper: section "Local Neighborhood Aggregation with Multiple Degrees".

SNAMD (similarity neighborhood aggregation with multiple degrees): neighbors speak as far as they resemble the patch.
A plain mean over r x r patches lets the surroundings of a small defect drown it. Here each neighbor j of a patch i is
weighed by how near its vector lies to that of the patch,

    w(i, j) = exp(-|x_i - x_j|),    y_r(i) = sum_j w(i, j) x_j / sum_j w(i, j)

over the r x r patches around i that lie on the grid, and the degrees are averaged, so that one vector remains for each
patch and layer: a third of the scoring of three degrees. (MuSc-V2, Li, Xue and Zhou, 2025, arXiv 2511.10047, the part
for images. Written after its description; its code was not at hand, so details such as the length of the vectors that
are compared, here 1, may differ.)
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musc_lite.utils.component import Component
from musc_lite.utils.threads import for_each, map_on_cpu_threads
from musc_lite.utils.validation import check_degrees


def as_tokens(tokens: Tensor | np.ndarray, keep_half: bool = False) -> Tensor:
    """Turn patch tokens into a floating-point tensor (N, M, C), or say what is wrong with them.

    Half precision becomes float32 on a CPU, where half-precision products are slow, unless it is to be kept.
    """
    tokens = torch.as_tensor(tokens)
    if tokens.ndim != 3:
        raise ValueError(
            f"patch tokens need the shape (images, patches, channels), got {tuple(tokens.shape)}; "
            "of a Features object take one layer: features.patch_tokens[:, s]"
        )
    if 0 in tokens.shape:
        raise ValueError(f"patch tokens are empty: shape {tuple(tokens.shape)}")
    half = tokens.device.type == "cpu" and tokens.dtype.itemsize < 4
    if not tokens.is_floating_point() or (half and not keep_half):
        tokens = tokens.float()
    if not all(map_on_cpu_threads(lambda image: bool(torch.isfinite(image).all()), tokens, tokens.device)):
        raise ValueError("patch tokens hold NaN or infinite values; check the images and the backbone that gave them")
    return tokens


def normalize_tokens(tokens: Tensor | np.ndarray) -> Tensor:
    """Bring every image's tokens to mean 0 and variance 1, over its patches and channels together.

    Parameters
    ----------
    tokens : (N, M, C)
        Patch tokens of one layer.

    Returns
    -------
    Tensor (N, M, C)
        A layer norm over (M, C) without learned scale and shift.

    Examples
    --------
    >>> tokens = normalize_tokens(np.arange(8.0).reshape(1, 4, 2))
    >>> round(tokens.mean().item(), 4), round(tokens.var(correction=0).item(), 4)
    (0.0, 1.0)
    """
    tokens = as_tokens(tokens)
    return F.layer_norm(tokens, tokens.shape[1:])


def neighborhood_mean(tokens: Tensor | np.ndarray, grid: tuple[int, int], r: int) -> Tensor:
    """Average each patch vector over the r x r patches around it.

    Patches outside of the grid count as zeros, so a border patch is pulled toward zero; unit length, in
    `aggregate`, undoes most of that.

    Parameters
    ----------
    tokens : (N, M, C)
        Patch tokens, row by row of the grid.
    grid : (h, w)
        Rows and columns of patches, h * w = M.
    r : int
        Aggregation degree: the side of the neighborhood in patches, odd. 1 changes nothing.

    Returns
    -------
    Tensor (N, M, C)

    Raises
    ------
    ValueError
        If r is even or not positive, or the grid does not have M patches.

    Examples
    --------
    >>> neighborhood_mean(np.full((1, 9, 1), 9.0), grid=(3, 3), r=3).reshape(3, 3)
    tensor([[4., 6., 4.],
            [6., 9., 6.],
            [4., 6., 4.]], dtype=torch.float64)
    """
    tokens = as_tokens(tokens)
    n_images, n_patches, n_channels = tokens.shape
    h, w = grid
    if h * w != n_patches:
        raise ValueError(f"a grid of {h} x {w} has {h * w} patches, but the tokens have {n_patches}")
    if r != int(r) or r < 1 or r % 2 == 0:
        raise ValueError(f"the aggregation degree r must be an odd whole number (1, 3, 5, ...), got {r}")
    if r == 1:
        return tokens
    on_grid = tokens.reshape(n_images, h, w, n_channels).permute(0, 3, 1, 2)  # (N, C, h, w), a view
    mean = F.avg_pool2d(on_grid, kernel_size=int(r), stride=1, padding=int(r) // 2)
    return mean.permute(0, 2, 3, 1).reshape(n_images, n_patches, n_channels)


def aggregate(tokens: Tensor | np.ndarray, grid: tuple[int, int], r: int) -> Tensor:
    """Apply the whole stage: layer norm, r x r mean, unit length.

    Parameters
    ----------
    tokens : (N, M, C)
        Patch tokens of one layer.
    grid : (h, w)
        Rows and columns of patches.
    r : int
        Aggregation degree, odd.

    Returns
    -------
    Tensor (N, M, C)
        One unit vector per patch, ready for mutual scoring.

    Examples
    --------
    >>> tokens = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))
    >>> aggregate(tokens, grid=(3, 3), r=3).norm(dim=-1).allclose(torch.ones(2, 9))
    True
    """
    return F.normalize(neighborhood_mean(normalize_tokens(tokens), grid, r), dim=-1)


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


def aggregate_each(tokens: Tensor, grid: tuple[int, int], r: int, device: torch.device) -> Tensor:
    """Apply `aggregate` to each image in a thread of its own: memory for the result (N, M, C), and little more.

    The result is on that device, on a CPU in the tokens' precision, on a GPU in half precision.
    """
    return on_each_image(lambda image: aggregate(image, grid, r), tokens, device)


def on_each_image(work: Callable[[Tensor], Tensor], tokens: Tensor, device: torch.device) -> Tensor:
    """Call work((1, M, C)) for each image in a thread of its own, and put the results together: (N, M, C)."""
    results = torch.empty(tokens.shape, dtype=tokens.dtype if device.type == "cpu" else torch.float16, device=device)

    def visit(i: int) -> None:
        results[i] = work(tokens[i : i + 1].to(device))[0]

    for_each(visit, range(len(tokens)), device)
    return results


class LNAMD(Component):
    """The paper's aggregation: `aggregate` at several degrees.

    Parameters
    ----------
    r : sequence of int, optional
        Aggregation degrees, odd; None: the backbone's default.
    """

    def __init__(self, r: Sequence[int] | None = None):
        self.r = r

    def check(self) -> None:
        """Raise an error for values that are no degrees."""
        check_degrees(self.r)

    def degrees(self, default: Sequence[int]) -> tuple[int, ...]:
        """Return the degrees, where the backbone's default are these."""
        return tuple(default if self.r is None else self.r)

    def aggregate(self, tokens: Tensor, grid: tuple[int, int], r: int, device: torch.device) -> Tensor:
        """Aggregate one layer's tokens (N, M, C) at one degree, onto a device: `aggregate_each`."""
        return aggregate_each(tokens, grid, r, device)


class SNAMD(LNAMD):
    """Weigh neighbors by their likeness, and average the degrees: one vector for each patch and layer.

    Parameters
    ----------
    r : sequence of int
        Degrees that are averaged, odd. The result is counted under the largest of them.
    """

    def __init__(self, r: Sequence[int] = (1, 3, 5)):
        self.r = r

    def provenance(self) -> dict[str, str]:
        """Name the degrees that are averaged."""
        return {"aggregation": f"neighbors by likeness, mean of the degrees {', '.join(map(str, self._averaged))}"}

    @property
    def _averaged(self) -> tuple[int, ...]:
        return tuple(self.r or ())

    def degrees(self, default: Sequence[int]) -> tuple[int, ...]:
        """Return the largest degree, under which all of them go."""
        return (max(self._averaged),)

    def aggregate(self, tokens: Tensor, grid: tuple[int, int], r: int, device: torch.device) -> Tensor:
        """Aggregate one layer's tokens (N, M, C) onto a device: unit vectors."""

        def mean_of_degrees(image: Tensor) -> Tensor:
            unit = F.normalize(normalize_tokens(image), dim=-1)
            return F.normalize(
                torch.stack([similarity_mean(unit, grid, n) for n in self._averaged]).mean(dim=0), dim=-1
            )

        return on_each_image(mean_of_degrees, tokens, device)
