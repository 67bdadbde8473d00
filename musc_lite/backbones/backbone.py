"""One class for all vision transformers: an image batch in, patch tokens and class tokens out.

Patch tokens are raw block outputs, for every backbone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from musc_lite.data.view import patch_grid
from musc_lite.utils.threads import map_on_cpu_threads

TokenOutput = tuple[list[Tensor], Tensor]  # one (B, M, C) per layer, and class tokens (B, D)


class PicklableForward:
    """Base of the forward passes that `load_backbone` makes again from a name, so that they need not be pickled."""


@dataclass(frozen=True)
class Backbone:
    """A vision transformer ready to extract patch tokens; `load_backbone` makes one.

    A pickle holds the names and the hash of its weights, not the weights (``load`` registers how): it loads them again,
    from the hub's cache or the same file, and refuses others. It comes back on its device where there is one, else on
    the CPU.

    Attributes
    ----------
    name, pretrained : str
        What was asked for, and which weights that gave.
    patch_size, depth, width : int
        Pixels along the side of a patch, number of transformer blocks, channels C of a patch token.
    mean, std : tuple of float
        Color statistics that the weights were trained with.
    default_layers : str
        Which blocks are read when nothing else is asked for: "even" or "middle".
    default_r : tuple of int
        Aggregation degrees that go with them.
    default_image_size : int
        Pixels along the side of the square image.
    weights_sha256 : str
        Hash over all weights; part of the feature cache's key.
    device : torch.device
    tokens : callable
        The library's own forward pass; use `forward_tokens`.
    precision : {"float32", "bfloat16"}
        Of the products that a CPU makes, here and where patches are compared.
    """

    name: str
    pretrained: str
    patch_size: int
    depth: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    default_layers: str
    default_r: tuple[int, ...]
    default_image_size: int
    weights_sha256: str
    device: torch.device
    tokens: Callable[[Tensor, list[int]], TokenOutput]
    precision: str = "float32"

    @property
    def products(self) -> str:
        """The number format of its products: float16 on a CUDA device, else its precision."""
        return "float16" if self.device.type == "cuda" else self.precision

    def __repr__(self) -> str:
        return (
            f"Backbone({self.name!r}, pretrained={self.pretrained!r}, patch_size={self.patch_size}, "
            f"depth={self.depth}, device={str(self.device)!r})"
        )

    def __copy__(self) -> "Backbone":
        return self  # nothing in it ever changes

    def __deepcopy__(self, memo: dict) -> "Backbone":
        return self

    def layers(self, choice: str | Sequence[int] | None = None) -> list[int]:
        """Turn a choice of blocks into sorted 0-based block indices.

        Parameters
        ----------
        choice : "even", "middle", sequence of int, or None
            "even": a quarter, half, three quarters and the end of the depth (the paper's choice); "middle": from
            a third to five sixths of the depth; None: the backbone's default.

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            If the choice is unknown, or a block does not exist or stands there twice.
        """
        choice = self.default_layers if choice is None else choice
        if isinstance(choice, str):
            named = {
                "even": [self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)],
                "middle": list(range(self.depth // 3, 5 * self.depth // 6)),
            }
            if choice not in named:
                raise ValueError(f"layers must be 'even', 'middle' or a list of block indices, got {choice!r}")
            return named[choice]
        blocks = sorted(choice) if np.ndim(choice) == 1 else []
        if (
            not blocks
            or not all(isinstance(block, Integral) for block in blocks)
            or len(set(blocks)) < len(blocks)
            or blocks[0] < 0
            or blocks[-1] >= self.depth
        ):
            raise ValueError(
                f"layers must be different block indices between 0 and {self.depth - 1} ({self.name} has "
                f"{self.depth} blocks), got {choice}"
            )
        return [int(block) for block in blocks]

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Return the patch grid (h, w) of an image size, or say which sizes would do."""
        return patch_grid(image_size, self.patch_size, self.name)

    def preprocess(self, image: Image.Image, size: int | tuple[int, int]) -> Tensor:
        """Resize an RGB image, bicubic, to a square or (height, width), and standardize its colors: (3, H, W).

        Notes
        -----
        Differs from the reference: DINO images are resized bicubic too (published code: bilinear).
        """
        height, width = size if isinstance(size, tuple) else (size, size)
        resized = np.array(image.resize((width, height), Image.Resampling.BICUBIC))  # (H, W, 3), a copy of its own
        colors = torch.from_numpy(resized).permute(2, 0, 1).contiguous().float() / 255
        return (colors - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]

    @torch.inference_mode()
    def forward_tokens(self, batch: Tensor, layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Run the transformer on a batch of preprocessed images.

        Parameters
        ----------
        batch : Tensor (B, 3, H, W)
        layers : sequence of int
            0-based block indices, ascending.

        Returns
        -------
        patch_tokens : Tensor (B, S, M, C)
            Raw outputs of the S blocks in float32, class and register tokens left out, patches row by row.
        class_tokens : Tensor (B, D)
            The image as a whole: after the final norm (and CLIP's projection), not scaled to unit length.

        Notes
        -----
        Differs from the reference: DINO patch tokens do not pass the model's final norm, which was trained for
        the last block only (published code: they do). On a CUDA device the blocks run in half precision, on a CPU in
        bfloat16 where that is the backbone's precision. On a CPU the images go through one by one, each in a thread of
        its own: no number depends on the other images of the batch.
        """

        @torch.inference_mode()
        def run(some: Tensor) -> tuple[Tensor, Tensor]:
            with self._autocast():
                patch_tokens, class_tokens = self.tokens(some, list(layers))
            return torch.stack(patch_tokens, dim=1).float(), class_tokens.float()

        batch = batch.to(self.device)
        parts = batch.split(1) if self.device.type == "cpu" else [batch]
        patch_tokens, class_tokens = zip(*map_on_cpu_threads(run, parts, self.device), strict=True)
        return torch.cat(patch_tokens), torch.cat(class_tokens)

    def _autocast(self) -> torch.autocast:
        """Make products with fewer digits: on a GPU always, on a CPU where that is asked for."""
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.float16)
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


def paper_image_size(patch_size: int) -> int:
    """Return the paper's image size, 518 pixels, or the next smaller one that whole patches fill."""
    return 518 // patch_size * patch_size
