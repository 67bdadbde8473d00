"""A solution of the assignment that gets all points. Not for students."""

import numpy as np


def aggregate(tokens: np.ndarray, grid: tuple[int, int], r: int) -> np.ndarray:
    """LNAMD for one size: tokens (N, M, C) -> (N, M, C) of unit length."""
    n_images, n_patches, n_channels = tokens.shape
    h, w = grid
    mean, spread = tokens.mean(axis=(1, 2), keepdims=True), tokens.std(axis=(1, 2), keepdims=True)
    on_grid = ((tokens - mean) / spread).reshape(n_images, h, w, n_channels)
    reach = r // 2
    padded = np.pad(on_grid, ((0, 0), (reach, reach), (reach, reach), (0, 0)))  # zeros add nothing
    total = sum(padded[:, y : y + h, x : x + w] for y in range(r) for x in range(r))
    total = total.reshape(n_images, n_patches, n_channels)
    return total / np.linalg.norm(total, axis=2, keepdims=True)


def mutual_scores(tokens: np.ndarray, low: float = 0.0, high: float = 0.3) -> np.ndarray:
    """MSM: tokens (N, M, C) -> scores (N, M)."""
    n_others = len(tokens) - 1
    first = int(n_others * low)
    last = max(int(n_others * high), first + 1)
    scores = []
    for i, image in enumerate(tokens):
        others = [other for j, other in enumerate(tokens) if j != i]
        apart = [np.linalg.norm(image[:, None] - other[None], axis=2).min(axis=1) for other in others]  # each (M,)
        scores.append(np.sort(apart, axis=0)[first:last].mean(axis=0))
    return np.stack(scores)


def rescore(image_scores: np.ndarray, class_tokens: np.ndarray, windows: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    """RsCIN: image scores (N,), class tokens (N, D) -> (N,)."""
    low, high = image_scores.min(), image_scores.max()
    scaled = (image_scores - low) / (high - low)
    similarity = class_tokens @ class_tokens.T  # (N, N)
    most_similar = np.argsort(-similarity, axis=1)  # of each image, itself among them
    means = []
    for k in windows:
        kept = most_similar[:, :k]
        means.append(np.average(scaled[kept], weights=np.take_along_axis(similarity, kept, axis=1), axis=1))
    return np.mean(means, axis=0)
