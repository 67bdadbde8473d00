"""The embedded backbone, DINOv2 ViT-S/14: a transformer to read, and weights that need no model hub."""

import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone, NamedTokens, Tokens
from musc_lite.backbones.vision_transformer import VisionTransformer
from musc_lite.backbones.weights import EMBEDDED, EMBEDDED_SHA256, embedded_weights

__all__ = ["EmbeddedTokens", "load_embedded"]


class EmbeddedTokens(NamedTokens):
    """Its forward pass."""

    def __init__(self, model: VisionTransformer):
        self.model = model

    def __call__(self, batch: Tensor, layers: list[int]) -> Tokens:
        """Give patch tokens and class tokens; see `Backbone.forward_tokens`."""
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
