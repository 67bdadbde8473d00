"""Ask the model hub: what lies in its cache on this machine, and whether it can be reached at all."""

from pathlib import Path

from musc_lite.backbones.weights import EMBEDDED, shortened
from musc_lite.utils.errors import WeightsNotFoundError

__all__ = ["ask_hub", "cached_file"]

HUB_TIMEOUT = 10.0  # seconds until the hub must have answered


def cached_file(repository: str, file: str) -> Path | None:
    """Find a file in the hub's own cache, in the safe format or in the other one."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    for variant in (_safe(file), file):
        found = try_to_load_from_cache(repository, variant, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def ask_hub(name: str, repository: str, file: str) -> None:
    """Find out with one request that weights cannot be had: left alone the hub's client asks for a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    if not repository or cached_file(repository, file):
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


def _safe(file: str) -> str:
    return file.replace("pytorch_", "").replace(".bin", ".safetensors")
