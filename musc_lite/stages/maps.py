"""From patch scores to pixels: anomaly maps, and one score per image."""

from numbers import Real

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from musc_lite.utils.component import Component


def upsample_maps(
    patch_scores: Tensor | np.ndarray, grid: tuple[int, int], image_size: int | tuple[int, int]
) -> Tensor:
    """Interpolate patch scores to pixels, bilinearly, corner patches on corner pixels.

    Parameters
    ----------
    patch_scores : (N, M)
        One score per patch, row by row of the grid.
    grid : (h, w)
        Rows and columns of patches.
    image_size : int or (H, W)
        Pixels of the map; an int is a square.

    Returns
    -------
    Tensor (N, H, W)

    Examples
    --------
    >>> upsample_maps(np.array([[0.0, 2.0]]), grid=(1, 2), image_size=(1, 5))
    tensor([[[0.0000, 0.5000, 1.0000, 1.5000, 2.0000]]], dtype=torch.float64)
    """
    patch_scores = torch.as_tensor(patch_scores)
    h, w = grid
    if patch_scores.ndim != 2 or patch_scores.shape[1] != h * w:
        raise ValueError(
            f"patch scores need the shape (images, {h} * {w} patches of the grid), got {tuple(patch_scores.shape)}"
        )
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    on_grid = patch_scores.reshape(-1, 1, h, w)
    return F.interpolate(on_grid, size=size, mode="bilinear", align_corners=True)[:, 0]


def image_scores_from_maps(maps: Tensor | np.ndarray, pooling: str | float = "max") -> Tensor:
    """Score each image by the largest value of its map: one defective spot makes the image defective.

    Parameters
    ----------
    maps : (N, H, W)
    pooling : "max", "mean" or float
        The largest value, the paper's; the mean of all, for defects that cover the whole image; or a share of the
        pixels such as 0.005: the mean of the highest ones, at least one, so that no single pixel decides.

    Returns
    -------
    Tensor (N,)

    Raises
    ------
    ValueError
        If pooling is none of these.

    Examples
    --------
    >>> image_scores_from_maps(np.array([[[0.1, 0.7], [0.2, 0.3]]]))
    tensor([0.7000], dtype=torch.float64)
    >>> image_scores_from_maps(np.array([[[0.1, 0.7], [0.2, 0.3]]]), pooling=0.5)
    tensor([0.5000], dtype=torch.float64)
    """
    maps, share = torch.as_tensor(maps), share_of_map(pooling)
    n_highest = max(1, round(share * maps[0].numel()))
    if n_highest == 1:
        return maps.amax(dim=(-2, -1))
    return torch.stack([image.flatten().topk(n_highest).values.mean() for image in maps])


def typical_p95(maps: ArrayLike) -> float:
    """Return what is high in a usual image: the 95th percentile of a map's pixels, in the middle of all images.

    Where most pixels of a photo are background, a map's median says nothing of the object; its high pixels do.

    Parameters
    ----------
    maps : (N, H, W)

    Examples
    --------
    >>> typical_p95(np.arange(101.0).reshape(1, 1, 101))
    95.0
    """
    return float(np.median(np.percentile(np.asarray(maps), 95, axis=(1, 2))))


def share_of_map(pooling: str | float) -> float:
    """Turn a pooling into the share of the pixels that it averages, 0 for the largest one."""
    named = {"max": 0.0, "mean": 1.0}
    if isinstance(pooling, str) and pooling in named:
        return named[pooling]
    if not isinstance(pooling, Real) or not 0 < pooling <= 1:
        raise ValueError(f"pooling is 'max', 'mean' or a share of the pixels such as 0.005, got {pooling!r}")
    return float(pooling)


def patch_shares(masks: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Return the defective share of each patch.

    Parameters
    ----------
    masks : (N, H, W) bool
        True where defective; H and W are multiples of h and w.
    grid : (h, w)
        Rows and columns of patches.

    Returns
    -------
    ndarray (N, M)
        From 0 to 1, row by row of the grid.

    Examples
    --------
    >>> masks = np.zeros((1, 2, 6), dtype=bool)
    >>> masks[0, 0, 3:] = True
    >>> patch_shares(masks, grid=(1, 3))
    array([[0.  , 0.25, 0.5 ]])
    """
    masks, (h, w) = np.asarray(masks), grid
    if masks.ndim != 3 or masks.shape[1] % h or masks.shape[2] % w:
        raise ValueError(
            f"masks need the shape (images, a multiple of {h} rows, of {w} columns) for a grid of {h} x {w} patches, "
            f"got {masks.shape}"
        )
    n, height, width = masks.shape
    return masks.reshape(n, h, height // h, w, width // w).mean(axis=(2, 4)).reshape(n, h * w)


def defective_patches(masks: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Return which patches are defective: those with more than half of their pixels inside the defect.

    Parameters
    ----------
    masks : (N, H, W) bool
        True where defective; H and W are multiples of h and w.
    grid : (h, w)
        Rows and columns of patches.

    Returns
    -------
    ndarray (N, M) of bool
        Row by row of the grid. A defect that covers no more than half of any patch, such as a thin scratch, has none.

    Examples
    --------
    >>> masks = np.zeros((1, 2, 6), dtype=bool)
    >>> masks[0, :, 3:] = True
    >>> defective_patches(masks, grid=(1, 3))
    array([[False, False,  True]])
    """
    return patch_shares(masks, grid) > 0.5


class Pooling(Component):
    """From a map to its image's score: `image_scores_from_maps`; by default the paper's, the largest value.

    Parameters
    ----------
    pooling : "max", "mean" or float
    """

    def __init__(self, pooling: str | float = "max"):
        self.pooling = pooling

    def check(self) -> None:
        """Raise an error for a value that is no pooling."""
        share_of_map(self.pooling)

    def provenance(self) -> dict[str, str]:
        """Name it."""
        what = self.pooling if isinstance(self.pooling, str) else f"mean of the highest {self.pooling:g}"
        return {"image score": f"{what} of the map"}

    def pool(self, maps: Tensor) -> Tensor:
        """Score each map, (N, H, W) -> (N,)."""
        return image_scores_from_maps(maps, self.pooling)
