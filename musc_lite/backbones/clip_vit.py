"""CLIP, the paper's backbone, and every other plain vision transformer of open_clip."""

import warnings
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone, PicklableForward, TokenOutput, paper_image_size
from musc_lite.backbones.weights import check_hub, fixed_seed, state_digest, weights_errors, weights_file
from musc_lite.utils.errors import WeightsNotFoundError

PLAIN_GELU = "-gelu"  # suffix of a CLIP name: OpenAI weights run with plain GELU, as behind the paper's tables


class ClipTokens(PicklableForward):
    """The forward pass of open_clip's image tower, at any image size."""

    def __init__(self, visual: Any):  # a module, whose attributes nn.Module does not know
        self.visual = visual
        self._trained_positions = self.visual.positional_embedding.clone()  # (1 + h w, C) at the training size
        self._resizing = Lock()  # by the first of several threads

    def __call__(self, batch: Tensor, layers: list[int]) -> TokenOutput:
        """Return patch tokens and class tokens; see `Backbone.forward_tokens`."""
        with self._resizing:
            self._fit_positions(
                batch.shape[-2] // self.visual.patch_size[0], batch.shape[-1] // self.visual.patch_size[1]
            )
        out = self.visual.forward_intermediates(batch, indices=layers, output_fmt="NLC")
        return out["image_intermediates"], out["image_features"]

    def _fit_positions(self, h: int, w: int) -> None:
        """Do what open_clip's force_image_size does, but at any time."""
        from open_clip.model import resize_pos_embed

        if (h, w) != tuple(self.visual.grid_size):
            self.visual.grid_size = (h, w)
            positions = {"visual.positional_embedding": self._trained_positions}
            resize_pos_embed(positions, SimpleNamespace(visual=self.visual))
            self.visual.positional_embedding.data = positions["visual.positional_embedding"]


def has_clip(name: str) -> bool:
    """Whether a name, with or without `PLAIN_GELU`, is a vision transformer of open_clip."""
    return name.removesuffix(PLAIN_GELU) in clip_vits()


def clip_vits() -> list[str]:
    """List their names in open_clip."""
    import open_clip

    def is_vit(vision: dict) -> bool:  # ResNets have a list of layers, foreign towers a name
        return isinstance(vision.get("layers"), int) and "timm_model_name" not in vision

    return [name for name in open_clip.list_models() if is_vit(open_clip.get_model_config(name)["vision_cfg"])]


def load_clip(name: str, pretrained: str, device: torch.device) -> Backbone:
    """Load one for `load_backbone`."""
    import open_clip

    clip_name = name.removesuffix(PLAIN_GELU)
    tag = "openai" if pretrained in ("auto", "random") else pretrained
    tags = open_clip.list_pretrained_tags_by_model(clip_name)
    if pretrained not in ("auto", "random", *tags) and not Path(pretrained).is_file():
        raise WeightsNotFoundError(f"{pretrained} is neither a weights file nor one of the tags {', '.join(tags)}")
    file = None if pretrained in tags and pretrained != "openai" else weights_file(clip_name, pretrained)
    if pretrained == "auto" and tag not in tags and not file:
        raise ValueError(f"{name} has no OpenAI weights; give pretrained= one of {', '.join(tags)}")
    if pretrained != "random" and not file:
        check_hub(name, *clip_hub_file(name, tag))
    # Weights know which activation they were trained with; open_clip itself only warns of a mismatch.
    trained_with_quick_gelu = (open_clip.get_pretrained_cfg(clip_name, tag) or {}).get("quick_gelu", False)
    with fixed_seed(), weights_errors(name, file or tag), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "QuickGELU mismatch")  # where it happens, the name asked for it: -gelu
        visual = open_clip.create_model(
            clip_name,
            pretrained=None if pretrained == "random" else str(file or tag),
            force_quick_gelu=trained_with_quick_gelu and not name.endswith(PLAIN_GELU),
            weights_only=True,
        ).visual
    preprocessing = open_clip.get_model_preprocess_cfg(SimpleNamespace(visual=visual))
    visual.requires_grad_(False).eval().to(device)
    patch_size = visual.patch_size[0]
    return Backbone(
        name=name,
        pretrained="random" if pretrained == "random" else tag,
        patch_size=patch_size,
        depth=len(visual.transformer.resblocks),
        width=visual.transformer.width,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        default_layers="even",
        default_r=(1, 3, 5),
        default_image_size=paper_image_size(patch_size),
        weights_sha256=state_digest(visual.state_dict()),
        device=device,
        tokens=ClipTokens(visual),
    )


def clip_hub_file(name: str, tag: str = "openai") -> tuple[str, str]:
    """Return what to ask a model hub for: repository and file; ("", ...) where the weights are elsewhere."""
    import open_clip

    known = open_clip.get_pretrained_cfg(name.removesuffix(PLAIN_GELU), tag).get("hf_hub", "")
    repository, _, file = known.rpartition("/")
    return repository, file or "open_clip_pytorch_model.bin"
