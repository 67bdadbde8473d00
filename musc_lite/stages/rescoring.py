"""Stage 4, RsCIN (re-scoring with constrained image-level neighborhood): similar images correct each other.

An image's score comes from its worst patch, so one noisy patch can spoil it. Images that look alike as a whole,
by their class tokens, should have like scores: each score becomes a weighted mean over the image's own
neighborhood, the k most similar images (paper, section "Re-scoring with Constrained Image-level Neighborhood"):

    c = mean over windows k of  D^-1 W_k c    W_k: `keep_top_k` of the similarities, D: its row sums
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import renamed_parameters
from musc_lite.utils.validation import check_rescoring_sizes


def image_similarity(class_tokens: Tensor | np.ndarray) -> Tensor:
    """Compare all images by the products of their class tokens.

    Parameters
    ----------
    class_tokens : (N, D)
        Taken as given; for unit-length tokens, such as `extract_features` gives, this is the cosine similarity.

    Returns
    -------
    Tensor (N, N)

    Examples
    --------
    >>> image_similarity(np.array([[1.0, 0.0], [0.6, 0.8]]))
    tensor([[1.0000, 0.6000],
            [0.6000, 1.0000]], dtype=torch.float64)
    """
    class_tokens = torch.as_tensor(class_tokens)
    if class_tokens.ndim != 2:
        raise ValueError(f"class tokens need the shape (images, channels), got {tuple(class_tokens.shape)}")
    return class_tokens @ class_tokens.T


def keep_top_k(similarity: Tensor | np.ndarray, k: int) -> Tensor:
    """Keep each row's k largest similarities and set the others to 0: the constrained neighborhood.

    Parameters
    ----------
    similarity : (..., N)
        Rows of similarities to N images. An image is its own first neighbor.
    k : int
        Window size, at least 1; more than N counts as N.

    Returns
    -------
    Tensor (..., N)

    Examples
    --------
    >>> keep_top_k(np.array([[1.0, 0.6, 0.7]]), k=2)
    tensor([[1.0000, 0.0000, 0.7000]], dtype=torch.float64)
    """
    similarity = torch.as_tensor(similarity)
    if k != int(k) or k < 1:
        raise ValueError(f"a window is a number of images and holds at least 1, the image itself; got {k}")
    top = similarity.topk(min(int(k), similarity.shape[-1]), dim=-1)
    return torch.zeros_like(similarity).scatter(-1, top.indices, top.values)


@renamed_parameters(windows="rescoring_sizes")
def rescore(
    image_scores: Tensor | np.ndarray, class_tokens: Tensor | np.ndarray, rescoring_sizes: Sequence[int] = (1, 2, 3)
) -> Tensor:
    """Replace each image score by the weighted mean over its most similar images, averaged over window sizes.

    Parameters
    ----------
    image_scores : (N,)
        One score per image; they are scaled to 0..1 first.
    class_tokens : (N, D)
        Taken as given, not normalized again.
    rescoring_sizes : sequence of int
        Sizes of the neighborhoods, the image itself counted: 1 leaves the scaled score as it is. An empty
        sequence turns the stage off and returns the scores unscaled.

    Returns
    -------
    Tensor (N,)

    Notes
    -----
    Differs from the reference: the windows are a parameter (published code: chosen by the data set's name);
    constant scores stay constant (published code: 0 / 0).

    Examples
    --------
    >>> scores, tokens = np.array([2.0, 4.0, 3.0]), np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> rescore(scores, tokens, rescoring_sizes=(1, 2))
    tensor([0.2222, 0.7778, 0.5938], dtype=torch.float64)
    """
    image_scores, class_tokens = torch.as_tensor(image_scores), torch.as_tensor(class_tokens)
    if image_scores.ndim != 1 or len(class_tokens) != len(image_scores):
        raise ValueError(
            f"re-scoring needs one score and one class token per image, got scores {tuple(image_scores.shape)} "
            f"and class tokens {tuple(class_tokens.shape)}"
        )
    if not torch.isfinite(image_scores).all():
        raise ValueError("the image scores hold NaN or infinite values")
    if np.ndim(rescoring_sizes) != 1:
        raise ValueError(
            "rescoring_sizes is a list of sizes such as (1, 2, 3), or () to turn re-scoring off; "
            f"got {rescoring_sizes!r}"
        )
    if not len(rescoring_sizes):
        return image_scores
    scaled = scale_scores(image_scores, image_scores.min(), image_scores.max())
    return neighborhood_scores(image_similarity(class_tokens), scaled, rescoring_sizes)


def scale_scores(image_scores: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale scores so that low becomes 0 and high 1; where both are the same, all become 0."""
    return (image_scores - low) / (high - low if high > low else 1.0)


def neighborhood_scores(similarity: Tensor, scores: Tensor, rescoring_sizes: Sequence[int]) -> Tensor:
    """Average the scores (N,) over the neighbors that each row of similarity (Q, N) keeps: (Q,)."""
    means = []
    for k in rescoring_sizes:
        weights = keep_top_k(similarity, k).to(scores.dtype)  # (Q, N)
        total = weights.sum(dim=-1)  # (Q,)
        if not (total > 0).all():
            raise ValueError(
                f"with window {k}, image {int((~(total > 0)).nonzero()[0])} has no positive similarity to weigh its "
                "neighbors with; check the class tokens (unit length makes an image its own best neighbor)"
            )
        means.append(weights @ scores / total)
    return torch.stack(means).mean(dim=0)


@renamed_parameters(windows="rescoring_sizes")
class RsCIN(Component):
    """The paper's re-scoring: `rescore` with these windows.

    Parameters
    ----------
    rescoring_sizes : sequence of int
        Neighborhood sizes; () turns it off.
    """

    def __init__(self, rescoring_sizes: Sequence[int] = (1, 2, 3)):
        self.rescoring_sizes = rescoring_sizes

    def check(self) -> None:
        """Raise an error for values that are no neighborhood sizes."""
        check_rescoring_sizes(self.rescoring_sizes)

    def provenance(self) -> dict[str, str]:
        """Name the windows."""
        return {"re-scoring windows": ", ".join(map(str, self.sizes)) or "none"}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The neighborhood sizes."""
        return tuple(self.rescoring_sizes)

    def rescore(self, map_scores: Tensor, class_tokens: Tensor) -> Tensor:
        """Re-score a batch: scores (N,) and class tokens (N, D) -> (N,)."""
        return rescore(map_scores, class_tokens, self.sizes)

    def rescore_new(self, new: Tensor, new_tokens: Tensor, map_scores: Tensor, class_tokens: Tensor) -> Tensor:
        """Re-score each new image as if it were one more image of the batch.

        Parameters
        ----------
        new : Tensor (Q,)
            Scores of the new images before re-scoring.
        new_tokens : Tensor (Q, D)
        map_scores, class_tokens : Tensor (N,), (N, D)
            Of the batch; its scores before re-scoring give the range that is scaled to 0..1.

        Returns
        -------
        Tensor (Q,)
        """
        if not len(self.sizes):
            return new
        scaled = scale_scores(torch.cat([new, map_scores]), map_scores.min(), map_scores.max())
        own, batch = scaled[: len(new)], scaled[len(new) :]
        rescored = []
        for score, token in zip(own, new_tokens, strict=True):
            similarity = torch.cat([(token @ token)[None], class_tokens @ token])[None]  # (1, 1 + N): its row alone
            rescored.append(neighborhood_scores(similarity, torch.cat([score[None], batch]), self.sizes))
        return torch.cat(rescored)


@renamed_parameters(windows="rescoring_sizes")
class RsCon(RsCIN):
    """The re-scoring of MuSc-V2: the same, with the image alone always among the neighborhoods.

    So no image loses its own score: it keeps at least its share of one window's. (Li, Xue and Zhou, 2025, arXiv
    2511.10047; written after its description.)

    Parameters
    ----------
    rescoring_sizes : sequence of int
        Neighborhood sizes beside 1; () turns re-scoring off.
    """

    def __init__(self, rescoring_sizes: Sequence[int] = (2, 3)):
        self.rescoring_sizes = rescoring_sizes

    @property
    def sizes(self) -> tuple[int, ...]:
        """The neighborhood sizes, 1 among them where there are any."""
        return tuple(sorted({1, *self.rescoring_sizes})) if len(self.rescoring_sizes) else ()
