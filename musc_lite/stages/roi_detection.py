"""Where the objects are: one rectangle for a whole batch, read from the patch vectors."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import label as label_parts
from torch import Tensor

from musc_lite.data.roi import Region

# On the last block of the embedded backbone: boards 0.90 and 0.00, toys 0.93 and 0.02, a piece of gravel laid on grass
# 0.76 and 0.00; of what fills the photo: tiles 0.75 and 0.69, grass 0.73 and 0.74, gravel 0.79 and 0.86, brick 0.93 and
# 0.95.
LEAST_APART = 0.7  # share of the variance that lies between the two sides of the threshold
MOST_AT_BORDER = 0.1  # share of the patches at the photos' border that lie on objects
MARGIN = 0.5  # patches: one that an object covers less than half of may count as surroundings


def find_region(tokens: Tensor | np.ndarray, grid: tuple[int, int]) -> Region | None:
    """Find the rectangle that holds the object of every photo of a batch.

    The first principal component of all patches tells objects from their surroundings, where there are any: patches
    fall in two kinds (Otsu's threshold), of which one keeps away from the photos' border. The rectangle holds the
    largest connected part of that kind in each photo, and half a patch more.

    Parameters
    ----------
    tokens : (N, M, C)
        Patch tokens of a deep block, of whole photos.
    grid : (h, w)
        Rows and columns of patches.

    Returns
    -------
    (left, top, right, bottom) or None
        In shares of the photos; None where no clear object stands out.

    Examples
    --------
    >>> tokens = np.random.default_rng(0).normal(0, 0.1, (3, 8, 8, 5)) + [2, 0, 0, 0, 0]
    >>> tokens[:, 2:5, 4:6] += 1.0
    >>> find_region(tokens.reshape(3, 64, 5), grid=(8, 8))
    (0.4375, 0.1875, 0.8125, 0.6875)
    """
    from skimage.filters import threshold_otsu  # takes a while to import

    h, w = grid
    vectors = F.normalize(torch.as_tensor(tokens).float(), dim=-1)
    vectors = vectors - vectors.mean(dim=(0, 1))
    flat = vectors.flatten(0, 1)
    axis = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -1]
    values = (vectors @ axis).unflatten(1, (h, w)).numpy()  # (N, h, w)
    border = np.ones((h, w), dtype=bool)
    border[1:-1, 1:-1] = False
    if values[:, border].mean() > values.mean():
        values = -values
    objects = values > threshold_otsu(values)
    share = objects.mean()
    if not 0 < share < 1 or objects[:, border].mean() > MOST_AT_BORDER:
        return None
    step = values[objects].mean() - values[~objects].mean()
    if share * (1 - share) * step**2 < LEAST_APART * values.var():
        return None
    boxes = np.array([_largest_part(image) for image in objects if image.any()])
    left, top = (boxes[:, :2].min(axis=0) - MARGIN).tolist()
    right, bottom = (boxes[:, 2:].max(axis=0) + MARGIN).tolist()
    return max(0.0, left / w), max(0.0, top / h), min(1.0, right / w), min(1.0, bottom / h)


def _largest_part(objects: np.ndarray) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the largest connected part, in patches."""
    parts, _ = label_parts(objects)
    rows, columns = np.nonzero(parts == 1 + np.bincount(parts[objects] - 1).argmax())
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
