"""MuSc in three functions: replace each `raise` by your own code. NumPy only; do not import musc_lite.

Letters: N images, M = h * w patches row by row of the grid, C channels of a patch, D channels of a class token.
`python template.py` runs small examples; the hidden tests, 20 points in all, call the functions on other inputs.
"""

import numpy as np


def aggregate(tokens: np.ndarray, grid: tuple[int, int], r: int) -> np.ndarray:
    """LNAMD for one size: each patch speaks for the r x r patches around it (7 points).

    1. Bring each image's tokens to mean 0 and variance 1, over its patches and channels together.
    2. Add up the patches of the r x r neighborhood. At a border there are fewer: what lies outside adds nothing.
    3. Give each sum unit length.

    tokens (N, M, C), grid (h, w), r odd -> (N, M, C). With unit length it does not matter whether you add or average.
    """
    raise NotImplementedError


def mutual_scores(tokens: np.ndarray, low: float = 0.0, high: float = 0.3) -> np.ndarray:
    """MSM: how far each patch lies from its nearest patch in the other images that know it best (7 points).

    1. Distance from each patch to the nearest patch of each *other* image: N - 1 distances.
    2. Sort them; take those from place int((N - 1) * low) up to, not including, int((N - 1) * high), counted from 0;
       at least one.
    3. Their mean is the score.

    tokens (N, M, C) -> (N, M), higher is more anomalous.
    """
    raise NotImplementedError


def rescore(image_scores: np.ndarray, class_tokens: np.ndarray, windows: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    """RsCIN: images that look alike correct each other's score (6 points).

    1. Scale the scores to 0..1.
    2. Similarity of two images: the product of their class tokens, as they are given.
    3. For a window k: the mean of the scores of the k most similar images, weighted by their similarity. The image
       itself is one of the k.
    4. The mean over the windows.

    image_scores (N,), class_tokens (N, D) -> (N,).
    """
    raise NotImplementedError


if __name__ == "__main__":  # examples that can be followed by hand; `python template.py` runs them
    ramp = np.array([0.0, 1.0, 5.0, 9.0]).reshape(4, 1, 1)  # four images of one patch, one channel
    assert np.allclose(mutual_scores(ramp).ravel(), [1, 1, 4, 4])  # the nearest other image: int(3 * 0.3) is 0, so one
    row = np.array([4.0, -1.0, 1.0, -2.0]).reshape(1, 4, 1)  # one image of four patches in a row; their mean is 0.5
    assert np.allclose(aggregate(row, (1, 4), 1).ravel(), [1, -1, 1, -1])  # one channel: of unit length is the sign
    assert np.allclose(aggregate(row, (1, 4), 3).ravel(), [1, 1, -1, -1])
    scores, tokens = np.array([2.0, 4.0, 3.0]), np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    assert np.allclose(rescore(scores, tokens, (1,)), [0, 1, 0.5])  # a window of one only scales
    assert np.allclose(rescore(scores, tokens, (2,)), [0.8 / 1.8, 1 / 1.8, (0.6 + 0.5) / 1.6])
    print("the public examples are right")
