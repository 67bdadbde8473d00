"""Mean and covariance of all patch vectors of a batch, image by image, so that no copy of the batch is made."""

import numpy as np
import torch
from torch import Tensor

from musc_lite.neighbors.brute_force import compute_dtype
from musc_lite.utils.threads import map_on_cpu_threads


def mean_and_covariance(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) and the covariance (C, C) of N M vectors, divided by N M, in double precision on the CPU.

    Examples
    --------
    >>> mean, covariance = mean_and_covariance(torch.tensor([[[1.0, 0.0]], [[3.0, 2.0]]]))
    >>> mean.tolist(), covariance.tolist()
    ([2.0, 1.0], [[1.0, 1.0], [1.0, 1.0]])
    """
    n_images, n_patches, n_channels = tokens.shape
    origin = (
        tokens[0].to(compute_dtype(tokens)).mean(dim=0)
    )  # near the mean, so that little is lost where it lies far out

    def sums_of(images: Tensor) -> np.ndarray:
        sums = torch.zeros(n_channels + 1, n_channels, dtype=torch.float64)
        for image in images:
            moved = image.to(origin.dtype) - origin
            sums[0] += moved.sum(dim=0).cpu()
            sums[1:] += (moved.T @ moved).cpu()
        return sums.numpy()

    sums = torch.from_numpy(sum(map_on_cpu_threads(sums_of, tokens.split(16), tokens.device))) / (n_images * n_patches)
    shift, second = sums[0], sums[1:]
    return origin.cpu().double() + shift, second - torch.outer(shift, shift)
