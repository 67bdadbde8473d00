"""The search with products in bfloat16, for processors that have units for them (Intel AMX, AVX512-BF16, Arm BF16).

bfloat16 keeps 8 binary digits. The product of two unit vectors that lie near each other is near 1, and rounded to 8
digits it says nothing of their small distance. So each vector is made longer by six channels, three parts of its half
squared length and three ones, such that the product is half the squared distance itself:

    [-a, 1, 1, 1, |a|^2/2] . [b, |b|^2/2, 1, 1, 1] = |a|^2/2 + |b|^2/2 - ab = |a - b|^2 / 2

The processor adds up in float32 and rounds once, at the end: a distance comes out within 0.2 % (the square within
2^-8), up as often as down, so that the mean over several images is far closer. To measure the distance to each winner
again, in float32, would take longer than the whole search: where a minimum lies takes more to find out than the
product.

Of numbers without a minus the bits, read as whole numbers, are in the same order, and of whole numbers of 16 bits
processors find minima fastest.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from musc_lite.utils.threads import for_each

TILE_BYTES = 2**21  # of half squared distances held at once, see `nearest`
MULTIPLE = 32  # channels that the processor's units take at once
INFINITE = 0x7F80  # the bits of infinity
LEAST = -(2**15)  # of all bits the least
N_PARTS = 3  # of 8 digits each, as many as float32 has


def pairwise_min_distances(tokens: Tensor, progress: Callable[[int], object] | None = None) -> Tensor:
    """Return all nearest distances between pairs of images: see `brute_force.pairwise_min_distances`."""
    n_images, n_patches, n_channels = tokens.shape
    longer = append_norms(tokens)
    nearest = torch.full((n_images, n_images, n_patches), torch.inf)
    step = images_at_once(n_patches**2)

    def visit(i: int) -> int:
        queries = negate_queries(longer[i], n_channels)
        for start in range(i + 1, n_images, step):
            others = slice(start, min(start + step, n_images))
            bits = half_squared_norms(queries, longer[others])
            nearest[i, others] = distances_of(bits.amin(dim=1))
            nearest[others, i] = distances_of(bits.amin(dim=2))
        return n_images - 1 - i

    for_each(visit, range(n_images - 1), tokens.device, progress)
    return nearest


def min_distances_to_references(
    tokens: Tensor,
    references: Tensor,
    use: Callable[[int, Tensor], None],
    bands: Sequence[tuple[slice, slice, Tensor | None]],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Visit every image once, with its distances (M, J) to references: see `brute_force.min_distances_to_references`.

    Parameters
    ----------
    bands : sequence of (slice, slice, Tensor or None)
        Which patches look among which, and which of these (P, Q) are too far all the same.
    """
    longer, n_patches = append_norms(references), tokens.shape[1]
    step = images_at_once(max(len(range(n_patches)[q]) * len(range(n_patches)[p]) for q, p, _ in bands))
    least = [None if far is None else torch.where(far, INFINITE, LEAST).short() for _, _, far in bands]

    def search(i: int) -> int:
        queries = negate_queries(append_norms(tokens[i : i + 1])[0], tokens.shape[-1])
        found = torch.empty(references.shape[:2], dtype=torch.int16)
        for (looking, places, _), lifted in zip(bands, least, strict=True):
            for some, nearest in zip(longer[:, places].split(step), found[:, looking].split(step), strict=True):
                bits = half_squared_norms(queries[looking], some)
                nearest[:] = (bits if lifted is None else torch.maximum(bits, lifted)).amin(dim=1)
        use(i, distances_of(found).T)
        return len(references)

    for_each(search, range(len(tokens)), tokens.device, progress)


def append_norms(images: Tensor) -> Tensor:
    """Make the vectors of images (J, M, C) longer by what a product needs to be half a squared distance: (J, M, K)."""
    n_images, n_patches, n_channels = images.shape
    longer = torch.zeros(n_images, n_patches, padded_width(n_channels), dtype=torch.bfloat16, device=images.device)

    def lengthen(j: int) -> None:
        longer[j, :, :n_channels] = images[j]
        parts = half_squared_lengths(longer[j, :, :n_channels])
        longer[j, :, n_channels : n_channels + 2 * N_PARTS] = F.pad(parts, (0, N_PARTS), value=1)

    for_each(lengthen, range(n_images), images.device)
    return longer


def padded_width(n_channels: int) -> int:
    """Return how many channels a vector of so many becomes.

    Examples
    --------
    >>> padded_width(384)
    416
    """
    return -(-(n_channels + 2 * N_PARTS) // MULTIPLE) * MULTIPLE


def negate_queries(longer: Tensor, n_channels: int) -> Tensor:
    """Make of longer vectors (M, K) the other factor of the product: each negated, with ones and parts changing places.

    Examples
    --------
    >>> negate_queries(torch.tensor([[2.0, 9, 8, 7, 1, 1, 1, 0]]), n_channels=1)
    tensor([[-2.,  1.,  1.,  1.,  9.,  8.,  7.,  0.]])
    """
    vectors, parts, ones, rest = longer.split(
        [n_channels, N_PARTS, N_PARTS, longer.shape[1] - n_channels - 2 * N_PARTS], dim=1
    )
    return torch.cat([-vectors, ones, parts, rest], dim=1)


def half_squared_norms(queries: Tensor, longer: Tensor) -> Tensor:
    """Return half the squared distances from negated queries (Q, K) to patches (J, M, K), as bits: (J, M, Q)."""
    products = longer.flatten(0, 1) @ queries.T
    return products.view(torch.int16).unflatten(0, longer.shape[:2])


def half_squared_lengths(vectors: Tensor) -> Tensor:
    """Return |v|^2 / 2 of bfloat16 vectors (M, C) as a sum of three bfloat16 numbers: (M, 3).

    Examples
    --------
    >>> half_squared_lengths(torch.tensor([[1.0, 0.046875]], dtype=torch.bfloat16))
    tensor([[0.5000, 0.0011, 0.0000]], dtype=torch.bfloat16)
    """
    left, parts = vectors.float().square().sum(dim=-1) / 2, []
    for _ in range(N_PARTS):
        parts.append(left.to(torch.bfloat16))
        left = left - parts[-1].float()
    return torch.stack(parts, dim=-1)


def distances_of(bits: Tensor) -> Tensor:
    """Turn the bits of half squared distances into distances in float32; what rounding made negative becomes 0.

    Examples
    --------
    >>> distances_of(torch.tensor([2.0, 0.5, -1e-7], dtype=torch.bfloat16).view(torch.int16))
    tensor([2., 1., 0.])
    """
    return bits.clamp(min=0).view(torch.bfloat16).float().mul_(2).sqrt_()


def images_at_once(n_distances: int) -> int:
    """Return how many images to compare in one product, each of so many distances."""
    return max(1, TILE_BYTES // (2 * n_distances))
