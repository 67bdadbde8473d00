"""Stage 3 on a GPU: products in half precision, minima taken before a distance is ever written to memory.

The same two ways as in `nearest`, as one Triton kernel: each program compares a block of an image's patches with all
patches of another image, tile by tile, and keeps the minima in registers. Products are added up in float32. Cost: the
products, and reading the tokens from the GPU's cache; only minima are written, 4 bytes for each patch and image.
"""

from collections.abc import Callable, Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from musc_lite.neighbors.windows import grid_of_window

BLOCK_M, BLOCK_N, BLOCK_K = 128, 128, 64  # query patches, reference patches and channels of a tile
RESULT_BYTES = 2**28  # minima that one launch may write


def pairwise_min_distances(tokens: Tensor, progress: Callable[[int], object] | None = None) -> Tensor:
    """Return all nearest distances between pairs of images, as `brute_force.pairwise_min_distances` does: (N, N, M)."""
    n_images, n_patches, _ = tokens.shape
    halves, longest = _in_half(tokens)
    lengths = _squared_lengths(halves)
    nearest = torch.full((n_images, n_images, n_patches), torch.inf, device=tokens.device)
    pairs = torch.triu_indices(n_images, n_images, 1, device=tokens.device)  # (2, N (N - 1) / 2)
    for i, j in zip(*(image.split(_pairs_at_once(n_patches)) for image in pairs), strict=True):
        there, back = _compare(halves, lengths, halves, lengths, i, j, both=True)
        nearest[i, j], nearest[j, i] = there, back
        if progress:
            _wait_for(tokens.device)  # a bar that runs ahead of the work would say nothing
            progress(len(i))
    return nearest.mul_(longest)


def min_distances_to_references(
    tokens: Tensor, references: Tensor, window: int | None = None, grid: tuple[int, int] | None = None
) -> Iterator[Tensor]:
    """Yield for each image the distances to the nearest patch of each reference image, (M, J)."""
    n_references, n_patches, _ = references.shape
    halves, longest = _in_half(references)
    lengths = _squared_lengths(halves)
    all_j = torch.arange(n_references, device=tokens.device)
    for image in tokens:
        queries = (image[None] / longest).half()
        nearest = []
        for j in all_j.split(_pairs_at_once(n_patches)):
            i = torch.zeros_like(j)
            (found,) = _compare(queries, _squared_lengths(queries), halves, lengths, i, j, window=window, grid=grid)
            nearest.append(found)
        yield torch.cat(nearest).T * longest


def _in_half(tokens: Tensor) -> tuple[Tensor, float]:
    """Bring tokens to lengths up to 1, where half precision neither overflows nor loses digits; and that length."""
    if tokens.dtype == torch.float16:
        return tokens.contiguous(), 1.0
    longest = max(float(torch.linalg.vector_norm(image, dim=-1).max()) for image in tokens) or 1.0
    return torch.stack([(image / longest).half() for image in tokens]), longest


def _squared_lengths(halves: Tensor) -> Tensor:
    """(N, M), of the rounded tokens: so that a patch is at distance 0 from itself."""
    return torch.stack([image.float().square().sum(dim=-1) for image in halves])


def _pairs_at_once(n_patches: int) -> int:
    return max(1, RESULT_BYTES // (4 * n_patches * (triton.cdiv(n_patches, BLOCK_M) + 1)))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _compare(
    queries: Tensor,
    query_lengths: Tensor,
    references: Tensor,
    reference_lengths: Tensor,
    i: Tensor,
    j: Tensor,
    both: bool = False,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
) -> tuple[Tensor, ...]:
    """Compare P pairs of images queries[i] and references[j]: distances there and, with `both`, back, each (P, M)."""
    n_pairs, n_patches, n_channels = len(i), *queries.shape[1:]
    n_blocks = triton.cdiv(n_patches, BLOCK_M)
    there = torch.empty(n_pairs, n_patches, device=queries.device)
    back = torch.empty(n_pairs, n_blocks, n_patches, device=queries.device) if both else there
    _nearest_kernel[(n_pairs * n_blocks,)](
        queries,
        references,
        query_lengths,
        reference_lengths,
        i.contiguous(),
        j.contiguous(),
        there,
        back,
        n_patches,
        n_channels,
        n_blocks,
        n_patches if window is None else grid_of_window(grid)[1],
        BOTH=both,
        WINDOW=-1 if window is None else window,
        BLOCK_M=BLOCK_M,
        BLOCK_N=BLOCK_N,
        BLOCK_K=BLOCK_K,
        num_warps=8,
        num_stages=3,
    )
    return (_distances(there), _distances(back.amin(dim=1))) if both else (_distances(there),)


def _distances(squared: Tensor) -> Tensor:
    return squared.clamp_(min=0).sqrt_()


@triton.jit
def _nearest_kernel(
    queries,  # (I, M, C) float16
    references,  # (J, M, C) float16
    query_lengths,  # (I, M) float32, squared
    reference_lengths,  # (J, M)
    of_query,  # (P,) int64: which image each pair takes
    of_reference,  # (P,)
    there,  # (P, M) float32, squared distances, written
    back,  # (P, blocks, M): minima of each block's patches
    n_patches,
    n_channels,
    n_blocks,
    width,  # columns of the patch grid
    BOTH: tl.constexpr,
    WINDOW: tl.constexpr,  # -1: none
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    pair = tl.program_id(0) // n_blocks  # blocks of one pair run side by side: they read the same references
    block = tl.program_id(0) % n_blocks
    i = tl.load(of_query + pair)
    j = tl.load(of_reference + pair)
    m = block * BLOCK_M + tl.arange(0, BLOCK_M)
    is_query = m < n_patches
    query = queries + (i * n_patches + m[:, None]) * n_channels
    query_length = tl.load(query_lengths + i * n_patches + m, mask=is_query, other=float("inf"))
    nearest = tl.full([BLOCK_M], float("inf"), tl.float32)

    first = 0
    last = n_patches
    if WINDOW >= 0:  # the rows of the grid that any of these patches may look at
        first = tl.maximum(0, (block * BLOCK_M // width - WINDOW) * width)
        last = tl.minimum(n_patches, ((block * BLOCK_M + BLOCK_M - 1) // width + WINDOW + 1) * width)
    for start in range(first, last, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        is_reference = n < n_patches
        reference = references + (j * n_patches + n[None, :]) * n_channels
        product = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for channel in range(0, n_channels, BLOCK_K):
            c = channel + tl.arange(0, BLOCK_K)
            a = tl.load(query + c[None, :], mask=is_query[:, None] & (c[None, :] < n_channels), other=0.0)
            b = tl.load(reference + c[:, None], mask=is_reference[None, :] & (c[:, None] < n_channels), other=0.0)
            product = tl.dot(a, b, product)
        reference_length = tl.load(reference_lengths + j * n_patches + n, mask=is_reference, other=float("inf"))
        from_query = reference_length[None, :] - 2 * product
        if WINDOW >= 0:
            rows = tl.abs(m[:, None] // width - n[None, :] // width)
            columns = tl.abs(m[:, None] % width - n[None, :] % width)
            from_query = tl.where((rows > WINDOW) | (columns > WINDOW), float("inf"), from_query)
        nearest = tl.minimum(nearest, tl.min(from_query, axis=1))
        if BOTH:
            from_reference = tl.min(query_length[:, None] - 2 * product, axis=0) + reference_length
            tl.store(back + (pair * n_blocks + block) * n_patches + n, from_reference, mask=is_reference)
    tl.store(there + pair * n_patches + m, nearest + query_length, mask=is_query)
