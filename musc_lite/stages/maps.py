"""From patch scores to pixels: anomaly maps, and one score per image."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from musc_lite.support.part import Part

__all__ = ["MaxPooling", "image_scores_from_maps", "patch_shares", "upsample_maps"]


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


def image_scores_from_maps(maps: Tensor | np.ndarray) -> Tensor:
    """Score each image by the largest value of its map: one defective spot makes the image defective.

    Parameters
    ----------
    maps : (N, H, W)

    Returns
    -------
    Tensor (N,)

    Examples
    --------
    >>> image_scores_from_maps(np.array([[[0.1, 0.7], [0.2, 0.3]]]))
    tensor([0.7000], dtype=torch.float64)
    """
    return torch.as_tensor(maps).amax(dim=(-2, -1))


def patch_shares(masks: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Give the defective share of each patch.

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


class MaxPooling(Part):
    """The paper's image score: the largest value of the map."""

    def pool(self, maps: Tensor) -> Tensor:
        """Score each map, (N, H, W) -> (N,)."""
        return image_scores_from_maps(maps)
