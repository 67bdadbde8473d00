"""A vision transformer to read: DINOv2's, from pixels to the tokens of every block, in one file.

An image is cut into patches of 14 x 14 pixels. A linear map turns each patch into a vector, its *token*; a learned
vector says where in the image it lies, and one more token, the *class token*, will describe the whole image. Then
twelve equal blocks follow. In each of them every token first looks at all others (attention) and then thinks for itself
(a small network, the MLP); both only add to what the token was before. The source: "An Image is Worth 16x16 Words"
(arXiv 2010.11929), DINOv2 (arXiv 2304.07193).

The parameters have timm's names, and the numbers are timm's (``vit_small_patch14_dinov2.lvd142m``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musc_lite.backbones.backbone import Backbone, PicklableForward, TokenOutput
from musc_lite.backbones.weights import EMBEDDED, EMBEDDED_SHA256, embedded_weights


class PatchEmbedding(nn.Module):
    """Cut images into patches, and map each one linearly to a token: (B, 3, H, W) -> (B, h, w, C).

    A convolution whose step is as long as its window is wide does both at once.
    """

    def __init__(self, patch_size: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return one token for each patch."""
        return self.proj(images).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Let every token gather from all tokens what it looks for: (B, T, C) -> (B, T, C).

    Each token asks with a query, offers itself with a key and has a value to give. It receives the mean of all values,
    weighed by how well its query fits their keys: softmax(Q K^T / sqrt(d)) V. That happens in several heads, each with
    d = C / heads channels of its own.
    """

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what each token gathers."""
        queries, keys, values = self.qkv(tokens).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(queries, keys, values)  # each (B, heads, T, d)
        return self.proj(gathered.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Work on each token alone: to four times as many channels, through a bend, and back."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to each token."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class LayerScale(nn.Module):
    """Multiply each channel by a learned factor: how much of it a block may add."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scale the channels."""
        return tokens * self.gamma


class Block(nn.Module):
    """One of the equal steps of a transformer: look around, then think; both are added to what was there."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, n_heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width)
        self.ls2 = LayerScale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after this block."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """DINOv2's vision transformer for images of any size that whole patches fill; ViT-S/14 by default.

    Parameters
    ----------
    patch_size : int
        Pixels along the side of a patch.
    width : int
        Channels C of a token.
    depth : int
        How many blocks there are.
    n_heads : int
        Parts of the channels that attend each for itself; they divide C.
    trained_grid : int
        Rows and columns of patches of the images that the positions were learned on: 518 / 14.

    Examples
    --------
    >>> blocks, class_tokens = VisionTransformer(depth=2)(torch.zeros(1, 3, 28, 42), layers=[0, 1])
    >>> [tuple(tokens.shape) for tokens in blocks], tuple(class_tokens.shape)
    ([(1, 6, 384), (1, 6, 384)], (1, 384))
    """

    def __init__(
        self, patch_size: int = 14, width: int = 384, depth: int = 12, n_heads: int = 6, trained_grid: int = 37
    ):
        super().__init__()
        self.trained_grid = trained_grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + trained_grid**2, width))  # the class token's comes first
        self.patch_embed = PatchEmbedding(patch_size, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor, layers: list[int]) -> tuple[list[Tensor], Tensor]:
        """Return the patch tokens of some blocks, and the class tokens of the last one.

        Parameters
        ----------
        images : Tensor (B, 3, H, W)
            Standardized colors.
        layers : list of int
            0-based blocks, ascending.

        Returns
        -------
        list of Tensor (B, M, C)
            What each of these blocks gives, patches row by row.
        Tensor (B, C)
            Class tokens after the final norm.
        """
        patches = self.patch_embed(images)  # (B, h, w, C)
        class_token = self.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([class_token, patches.flatten(1, 2)], dim=1)
        tokens = tokens + self.positions(patches.shape[1], patches.shape[2])
        found = []
        for b, block in enumerate(self.blocks):
            tokens = block(tokens)
            if b in layers:
                found.append(tokens[:, 1:])
        return found, self.norm(tokens)[:, 0]

    def positions(self, h: int, w: int) -> Tensor:
        """Resize the learned positions to h x w patches: (1, 1 + h * w, C)."""
        side = self.trained_grid
        if h == w == side:
            return self.pos_embed
        learned = self.pos_embed[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        resized = F.interpolate(learned, (h, w), mode="bicubic", antialias=True)
        return torch.cat([self.pos_embed[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


class EmbeddedTokens(PicklableForward):
    """Its forward pass."""

    def __init__(self, model: VisionTransformer):
        self.model = model

    def __call__(self, batch: Tensor, layers: list[int]) -> TokenOutput:
        """Return patch tokens and class tokens; see `Backbone.forward_tokens`."""
        return self.model(batch, layers)


def load_embedded(device: torch.device) -> Backbone:
    """Load it for `load_backbone`."""
    with torch.device("meta"):  # no random numbers for what is replaced at once
        model = VisionTransformer()
    model.load_state_dict(embedded_weights(), assign=True)
    model.requires_grad_(False).eval().to(device)
    return Backbone(
        name=EMBEDDED,
        pretrained="auto",
        patch_size=14,
        depth=len(model.blocks),
        width=model.cls_token.shape[-1],
        mean=(0.485, 0.456, 0.406),  # of ImageNet's colors
        std=(0.229, 0.224, 0.225),
        # These defaults were chosen on the textures and 184 magnetic tiles (see the README).
        default_layers="middle",
        default_r=(1, 3),
        default_image_size=224,
        weights_sha256=EMBEDDED_SHA256,  # which was checked
        device=device,
        tokens=EmbeddedTokens(model),
    )
