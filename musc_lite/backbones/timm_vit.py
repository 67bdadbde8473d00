"""DINO, DINOv2, DINOv3 and every other vision transformer of timm with a class token."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from musc_lite.backbones.backbone import Backbone, PicklableForward, TokenOutput, paper_image_size
from musc_lite.backbones.weights import (
    EMBEDDED,
    check_hub,
    fixed_seed,
    read_weights,
    state_digest,
    weights_errors,
    weights_file,
)
from musc_lite.utils.errors import WeightsNotFoundError

TIMM_NAMES = {
    EMBEDDED: "vit_small_patch14_dinov2.lvd142m",
    "dino_vitb16": "vit_base_patch16_224.dino",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2_vitl14": "vit_large_patch14_dinov2.lvd142m",
    "dinov3_vits16": "vit_small_patch16_dinov3.lvd1689m",
    "dinov3_vitb16": "vit_base_patch16_dinov3.lvd1689m",
    "dinov3_vitl16": "vit_large_patch16_dinov3.lvd1689m",
}
TIMM_VIT_MODULES = ("timm.models.vision_transformer", "timm.models.eva", "timm.models.deit")


class TimmTokens(PicklableForward):
    """The forward pass of a timm model."""

    def __init__(self, model: nn.Module):
        self.model: Any = model  # timm has no class for what its vision transformers have in common

    def __call__(self, batch: Tensor, layers: list[int]) -> TokenOutput:
        """Return patch tokens and class tokens; see `Backbone.forward_tokens`."""
        final, blocks = self.model.forward_intermediates(batch, indices=layers, norm=False, output_fmt="NLC")
        return blocks, final[:, 0]


def has_timm(name: str) -> bool:
    """Whether a name, with or without the tag of its weights, is a vision transformer of timm."""
    return TIMM_NAMES.get(name, name).split(".")[0] in timm_vits()


def timm_vits() -> list[str]:
    """List their names in timm."""
    import timm

    return [name for name in timm.list_models() if timm.model_entrypoint(name).__module__ in TIMM_VIT_MODULES]


def load_timm(name: str, pretrained: str, device: torch.device) -> Backbone:
    """Load one for `load_backbone`."""
    import timm

    options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True}
    file = weights_file(name, pretrained)
    if file:  # said to have no classes, timm loads strictly: it names what is missing or too much
        options["pretrained_cfg_overlay"] = {"state_dict": _state_for_timm(name, file), "num_classes": 0}
    elif pretrained == "auto":
        check_hub(name, *timm_hub_file(name))
    with fixed_seed(), weights_errors(name, file or pretrained):
        model: Any = timm.create_model(TIMM_NAMES.get(name, name), pretrained != "random", **options)
    patch_size = model.patch_embed.patch_size[0]
    given = model.pretrained_cfg.pop("state_dict", {}).get("patch_embed.proj.weight", torch.empty(0))
    if given.ndim == 4 and given.shape[-1] != patch_size:  # timm interpolates it
        raise WeightsNotFoundError(
            f"{file} does not fit {name}: it is for patches of {given.shape[-1]} pixels, not of {patch_size}"
        )
    model.requires_grad_(False).eval().to(device)
    config = timm.data.resolve_model_data_config(model)
    return Backbone(
        name=name,
        pretrained=pretrained,
        patch_size=patch_size,
        depth=len(model.blocks),
        width=model.embed_dim,
        mean=config["mean"],
        std=config["std"],
        default_layers="middle" if name == EMBEDDED else "even",  # of other weights, too: as in `load_embedded`
        default_r=(1, 3) if name == EMBEDDED else (1, 3, 5),
        default_image_size=224 if name == EMBEDDED else paper_image_size(patch_size),
        weights_sha256=state_digest(model.state_dict()),
        device=device,
        tokens=TimmTokens(model),
    )


def timm_hub_file(name: str) -> tuple[str, str]:
    """Return what to ask a model hub for: repository and file; ("", ...) where the weights are elsewhere."""
    config = _timm_config(name)
    return config.hf_hub_id or "", config.hf_hub_filename or "pytorch_model.bin"


def _state_for_timm(name: str, file: Path) -> dict[str, Tensor]:
    """Read a weights file without its classifier."""
    head = tuple(f"{part}." for part in np.atleast_1d(_timm_config(name).classifier or "head"))
    state = {key: tensor for key, tensor in read_weights(file).items() if not key.startswith(head)}
    if not state:
        raise WeightsNotFoundError(f"{file} does not fit {name}: it holds no tensors, not even cls_token")
    return state


def _timm_config(name: str):
    import timm

    return timm.get_pretrained_cfg(TIMM_NAMES.get(name, name), allow_unregistered=False)
