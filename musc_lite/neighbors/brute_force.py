"""How stage 3 finds nearest patches fast: products in tiles, on all cores, within a memory budget.

`mutual_scoring` holds the equation; here are two exact ways to evaluate it, and two that do less work by choice.

- `pairwise_min_distances`: one product serves both directions of a pair of images. N (N - 1) / 2 products; holds minima
  of all pairs, 4 N^2 M bytes.
- `min_distances_to_references`: one image at a time against reference images. N J products for J references; holds
  the minima of one image. With a window only patches near the same place are looked at.
- `principal_axes`, `project`: the same search among fewer channels.

Tokens on a GPU that Triton serves go to `gpu`; on any other they take the same way as on a CPU. With
``precision="bfloat16"`` those on a CPU go to `cpu_bfloat16`, which is faster on processors that have units for it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from musc_lite.neighbors import cpu_bfloat16
from musc_lite.neighbors.windows import RowBlock, grid_of_window, window_row_blocks
from musc_lite.utils.threads import for_each, map_on_cpu_threads, single_thread

TILE_BYTES = 2**21  # distances held at once: a tile that stays in the processor's cache is read back quickly
GPU_TILE_BYTES = 2**28  # a GPU wants more work at once


def pairwise_min_distances(
    tokens: Tensor, progress: Callable[[int], object] | None = None, precision: str = "float32"
) -> Tensor:
    """Return all nearest distances between pairs of images.

    Parameters
    ----------
    tokens : Tensor (N, M, C)
    progress : callable, optional
        Called with the number of pairs done since the last call.
    precision : {"float32", "bfloat16"}
        Of the products on a CPU; in bfloat16 distances come out within 0.2 %.

    Returns
    -------
    Tensor (N, N, M)
        Entry [i, j, m] leads from patch m of image i to image j; [i, i] is infinite.
    """
    if uses_triton(tokens.device):
        from musc_lite.neighbors import gpu

        return gpu.pairwise_min_distances(tokens, progress)
    if uses_bfloat16(tokens, precision):
        return cpu_bfloat16.pairwise_min_distances(tokens, progress)
    n_images, n_patches, _ = tokens.shape
    nearest = torch.full((n_images, n_images, n_patches), torch.inf, dtype=compute_dtype(tokens), device=tokens.device)

    def keep_nearest(i: int, others: slice, squared: Tensor) -> None:
        nearest[i, others] = squared.amin(dim=1)  # from image i to the others ...
        nearest[others, i] = squared.amin(dim=2)  # ... and from the others back, out of the same product

    for_each_pair(tokens, keep_nearest, progress)
    return nearest.clamp_(min=0).sqrt_()


def min_distances_to_references(
    tokens: Tensor,
    references: Tensor,
    use: Callable[[int, Tensor], None],
    window: int | None = None,
    grid: tuple[int, int] | None = None,
    progress: Callable[[int], object] | None = None,
    precision: str = "float32",
) -> None:
    """Visit every image once: use(image i, distances (M, J) to the nearest patch of each reference image).

    Parameters
    ----------
    tokens : Tensor (N, M, C)
    references : Tensor (J, M, C)
    use : callable
        Called in the thread that measured the distances. What it keeps it should write into one tensor made before:
        small tensors that stay, made between large ones that go, leave holes in memory as large as the large ones.
    window : int, optional
        Look only so many rows and columns away; None: everywhere.
    grid : (h, w), optional
        Rows and columns of patches, for a window.
    progress : callable, optional
        Called with the number of pairs done since the last call.
    precision : {"float32", "bfloat16"}
        See `pairwise_min_distances`.
    """
    if uses_triton(tokens.device):
        from musc_lite.neighbors import gpu

        for i, nearest in enumerate(gpu.min_distances_to_references(tokens, references, window, grid)):
            use(i, nearest)
            if progress:
                progress(len(references))
        return
    bands = [(slice(None), slice(None), None)] if window is None else window_row_blocks(grid_of_window(grid), window)
    if uses_bfloat16(tokens, precision):
        cpu_bfloat16.min_distances_to_references(tokens, references, use, bands, progress)
        return
    n_patches = tokens.shape[1]
    step = images_at_once(max(len(range(n_patches)[q]) * len(range(n_patches)[p]) for q, p, _ in bands), tokens.device)

    def search(i: int) -> int:
        nearest = references.new_empty(references.shape[:2], dtype=compute_dtype(tokens))  # (J, M)
        tile = empty_tile(tokens, step) if window is None else None
        for some, found in zip(references.split(step), nearest.split(step), strict=True):
            if window is None:
                torch.amin(squared_distances(tokens[i], some, tile), dim=1, out=found)
            else:
                found.copy_(_nearest_in_bands(tokens[i], some, bands))
        use(i, nearest.T.clamp(min=0).sqrt())
        return len(references)

    for_each(search, range(len(tokens)), tokens.device, progress)


def _nearest_in_bands(patches: Tensor, images: Tensor, bands: Sequence[RowBlock]) -> Tensor:
    """Search with a window: squared distances (J, M). What is too far loses by infinity."""
    patches, images = patches.to(compute_dtype(patches)), images.to(compute_dtype(images))
    lengths = torch.linalg.vector_norm(images, dim=-1, keepdim=True).square_()  # (J, M, 1)
    nearest = lengths.new_empty(images.shape[:2])
    for looking, places, too_far in bands:
        queries = patches[looking].T.expand(len(images), -1, -1)  # (J, C, Q)
        squared = torch.baddbmm(lengths[:, places], images[:, places], queries, alpha=-2)  # (J, P, Q)
        if too_far is not None:
            squared += torch.zeros_like(squared[0]).masked_fill_(too_far.to(patches.device), torch.inf)
        nearest[:, looking] = squared.amin(dim=1)  # of |b|^2 - 2ab: |a|^2 decides nothing
    return nearest.add_(patches.square().sum(dim=-1))


def for_each_pair(
    tokens: Tensor, use: Callable[[int, slice, Tensor], None], progress: Callable[[int], object] | None = None
) -> None:
    """Visit every pair of images once: use(image i, slice of J images after it, squared distances (J, M, M))."""
    n_images, n_patches, _ = tokens.shape
    step = images_at_once(n_patches**2, tokens.device)

    def visit(i: int) -> int:
        tile = empty_tile(tokens, step)
        for start in range(i + 1, n_images, step):
            others = slice(start, min(start + step, n_images))
            use(i, others, squared_distances(tokens[i], tokens[others], tile))
        return n_images - 1 - i

    for_each(visit, range(n_images - 1), tokens.device, progress)


def squared_distances(patches: Tensor, images: Tensor, tile: Tensor | None = None) -> Tensor:
    """|a|^2 + |b|^2 - 2ab for the patches (Q, C) and every patch of the images (J, M, C): (J, M, Q).

    A tile (J M or more, Q) that is given is written into, of the type `compute_dtype` gives. Without one a product asks
    for new memory, which costs a third of the time where the system takes it back at once, as in Dask's workers.
    """
    n_images, n_patches, n_channels = images.shape
    patches = patches.to(compute_dtype(patches))
    references = images.reshape(-1, n_channels).to(patches.dtype)  # (J M, C)
    written = None if tile is None else tile[: len(references)]
    squared = torch.addmm(patches.square().sum(dim=-1), references, patches.T, alpha=-2, out=written)  # (J M, Q)
    squared += torch.linalg.vector_norm(references, dim=-1, keepdim=True).square_()  # no copy of all references
    return squared.reshape(n_images, n_patches, len(patches))


def empty_tile(tokens: Tensor, n_images: int) -> Tensor:
    """Ask for the memory of one product: the patches of one of the images (N, M, C) by those of so many, (n M, M)."""
    n_patches = tokens.shape[1]
    return tokens.new_empty(n_images * n_patches, n_patches, dtype=compute_dtype(tokens))


def images_at_once(n_distances: int, device: torch.device) -> int:
    """Return how many images to compare in one product, each of so many distances."""
    return max(1, (TILE_BYTES if device.type == "cpu" else GPU_TILE_BYTES) // (4 * n_distances))


def uses_triton(device: torch.device) -> bool:
    """Whether `gpu` serves a device: NVIDIA GPUs since 2020, where Triton is installed."""
    return device.type == "cuda" and _has_triton() and torch.cuda.get_device_capability(device) >= (8, 0)


def uses_bfloat16(tokens: Tensor, precision: str) -> bool:
    """Whether `bfloat16` serves tokens: those on a CPU, of 32 bits or fewer, where that is asked for."""
    return precision == "bfloat16" and tokens.device.type == "cpu" and compute_dtype(tokens) == torch.float32


def free_memory(device: torch.device) -> int:
    """Count the bytes of a GPU that are free, or kept by PyTorch and unused, less a tenth as a margin."""
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(0.9 * (free + unused))


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def compute_dtype(tokens: Tensor) -> torch.dtype:
    """Return the type to compute in: tokens may be kept in half precision, products are not."""
    return torch.promote_types(tokens.dtype, torch.float32)


def principal_axes(tokens: Tensor, n_components: int) -> Tensor:
    """Find the directions that hold most of the patch vectors' squared length: (C, n_components), orthonormal.

    Eigenvectors of the uncentered second moment (scikit-learn's PCA would center, which moves the origin that lengths
    are measured from).

    Examples
    --------
    >>> tokens = torch.tensor([[[3.0, 0.0, 0.1], [0.0, 2.0, 0.0]]])
    >>> principal_axes(tokens, 1).abs().round(decimals=1).T
    tensor([[1., 0., 0.]])
    """
    n_channels = tokens.shape[-1]
    if not isinstance(n_components, Integral) or not 1 <= n_components <= n_channels:
        raise ValueError(
            f"n_components must be a whole number between 1 and the {n_channels} channels, got {n_components!r}"
        )

    return axes_of_moment(second_moment(tokens), n_components).to(tokens.device, compute_dtype(tokens))


def second_moment(tokens: Tensor) -> Tensor:
    """Add up the outer products of all patch vectors (N, M, C): (C, C), in float64, on the CPU."""

    def moment_of(images: Tensor) -> np.ndarray:
        moment = torch.zeros(tokens.shape[-1], tokens.shape[-1], dtype=torch.float64)
        for image in images:
            image = image.to(compute_dtype(image))
            moment += (image.T @ image).cpu()
        return moment.numpy()

    return torch.from_numpy(sum(map_on_cpu_threads(moment_of, tokens.split(16), tokens.device)))


def axes_of_moment(moment: Tensor, n_components: int) -> Tensor:
    """Return the eigenvectors of the largest eigenvalues of a second moment (C, C): (C, n_components)."""
    with single_thread():
        return torch.linalg.eigh(moment).eigenvectors.flip(-1)[:, :n_components]


def project(tokens: Tensor, axes: Tensor) -> Tensor:
    """Return the coordinates of tokens (N, M, C) along axes (C, n): (N, M, n), in the tokens' own precision."""
    projected = tokens.new_empty(*tokens.shape[:2], axes.shape[1])

    def project_image(i: int) -> None:
        projected[i] = tokens[i].to(axes.dtype) @ axes

    for_each(project_image, range(len(tokens)), tokens.device)
    return projected
