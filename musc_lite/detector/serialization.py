"""What a fitted detector is on disk: one safetensors file of numbers and text, which can run no code."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import load_backbone
from musc_lite.data.appearance import Appearance
from musc_lite.data.duplicates import unique_indices
from musc_lite.data.image_set import ImageSet, MaskPart, MaskSource
from musc_lite.data.pixels import LEGACY, Scale
from musc_lite.detector.batch import UniqueBatch, make_scorers
from musc_lite.detector.components import COMPONENTS, component_from_dict, component_to_dict, detector_class
from musc_lite.detector.fit import Fitted, scorer_of_batch
from musc_lite.detector.setup import Setup
from musc_lite.results.scores import Scores
from musc_lite.stages.features import Features, framing_from_json, storage_of
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.component import Component
from musc_lite.utils.deprecation import current_names
from musc_lite.utils.errors import DataNotFoundError
from musc_lite.utils.files import ensure_dir, read_tensors, write_tensors
from musc_lite.utils.names import writable
from musc_lite.utils.precision import portable_precision

ARRAYS = ("patch_scores", "anomaly_maps", "map_scores", "image_scores")
VERSION = 1  # of the file's format
NOT_SAVED = ("backbone", "cache_dir", "device")


def write_fitted(path: str | Path, fitted: Fitted) -> None:
    """Write what a fit found, complete or not at all, with a checksum."""
    setup, batch, features, scores = fitted.setup, fitted.batch, fitted.features, fitted.scores
    tensors = {f"{name}_": torch.tensor(getattr(scores, name)) for name in ARRAYS}  # copies: two may be one array
    if fitted.calibration is not None:
        tensors["calibration_"] = torch.tensor(fitted.calibration)
    tensors |= {"patch_tokens": features.patch_tokens, "class_tokens": features.class_tokens}
    for (s, r), scorer in fitted.scorers.items():
        tensors |= {f"scorer {s} {r} {name}": tensor.cpu() for name, tensor in scorer.state().items()}
    parameters = {k: v for k, v in setup.params.items() if k not in NOT_SAVED}
    given = [kind for kind in COMPONENTS if isinstance(parameters.get(kind), Component)]
    parts = {kind: component_to_dict(kind, parameters.pop(kind)) for kind in given}
    about = {
        "version": VERSION,
        "class": setup.class_name,
        "parameters": parameters,
        "parts": parts,
        "backbone": [setup.backbone.name, setup.backbone.pretrained, setup.backbone.weights_sha256],
        "layers": features.layers,
        "framing": asdict(features.resolved_view),
        "r": fitted.r,
        "names": batch.names,
        "digests": sorted(batch.digests),
        "threshold": scores.threshold,
        "decision": asdict(scores.decision),
        "normal": fitted.normal,
        "copy_of": batch.copy_of,
        "seconds": scores.seconds,
        "precision": setup.backbone.precision,
        "products": fitted.products,
        "storage": fitted.storage,
        "fitted_at": fitted.fitted_at,
        "scales": {kind: [scale.low, scale.high] for kind, scale in batch.scales.items()},
        "appearance": None if batch.appearance is None else asdict(batch.appearance),
        **_images_as_json(batch.images, tensors),
    }
    ensure_dir(Path(path).parent)
    write_tensors(Path(path), tensors, "saved detector", _as_json(about))


def read_fitted(path: str | Path, backbone: Backbone | None, device: str | None) -> tuple[Any, Fitted]:
    """Read what `write_fitted` wrote, and the class that was saved: `MuSc` or `Detector`."""
    tensors, about = read_tensors(path, "saved detector")
    if isinstance(about, dict) and about.get("version", VERSION) != VERSION:
        raise DataNotFoundError(
            f"{path} has the format version {about['version']}, and this musc_lite reads version {VERSION}: install "
            "the musc_lite that wrote it, or fit and save again"
        )
    try:
        name, pretrained, weights = map(str, about["backbone"])
        read = _read(about, tensors, name, device)
        _check_shapes(read)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise DataNotFoundError(f"{path} is not a complete saved detector ({error}); fit and save again") from error
    if backbone is None and Path(pretrained).is_file():
        raise ValueError(
            f"{path} was fitted with the weights file {pretrained}: if you trust it, give "
            f"backbone=load_backbone({name!r}, {pretrained!r})"
        )
    precision = portable_precision(about.get("precision", "float32"))
    loaded = load_backbone(name, pretrained, device, precision) if backbone is None else backbone
    if loaded.weights_sha256 != weights:
        raise ValueError(
            f"{path} was fitted with other weights of {name}: {weights[:12]}..., these are "
            f"{loaded.weights_sha256[:12]}...: scores would not be comparable; give backbone="
        )
    fitted = replace(read, setup=replace(read.setup, backbone=loaded))
    return detector_class(read.setup.class_name), fitted.with_decision(fitted.scores.decision)


def _read(about: dict, tensors: dict[str, Tensor], backbone: str, device: str | None) -> Fitted:
    """Return what a file holds, with `backbone`, a name, where the backbone belongs."""
    parts: dict[str, Any] = {kind: component_from_dict(kind, part) for kind, part in about.get("parts", {}).items()}
    parameters = about["parameters"] | {"cache_dir": None}  # no file says where to write
    if parameters.get("false_alarm_rate") is not None:
        parameters["contamination"] = "auto"  # early versions took both and ignored this one
    class_name = about.get("class", "MuSc" if "image_size" in parameters else "Detector")  # early ones did not say
    found = detector_class(class_name)
    unfitted = found(backbone, **current_names(parameters, found), **parts, device=device)
    params = unfitted.get_params(deep=False)
    setup = Setup(class_name, params, unfitted.components, backbone)  # type: ignore[arg-type]
    patch_tokens, class_tokens = tensors.pop("patch_tokens"), tensors.pop("class_tokens")
    features = Features(patch_tokens, class_tokens, framing_from_json(about), tuple(about["layers"]))
    names, digests = [*map(writable, about["names"])], frozenset(about["digests"])
    # What early versions did not write: scales (they divided by 257, whatever the values), the appearance, calibration
    # images, copies, the decision (the threshold alone), products and storage.
    scales = about.get("scales")
    scales = dict(LEGACY) if scales is None else {kind: Scale(*ends) for kind, ends in scales.items()}
    appearance = None if about.get("appearance") is None else Appearance(**about["appearance"])
    calibration = tensors["calibration_"].numpy() if "calibration_" in tensors else None
    copy_of = np.array(about.get("copy_of", range(len(names))))
    images = None
    if about["files"]:
        masks = about["masks"] and [_mask_from_json(mask, tensors) for mask in about["masks"]]
        images = ImageSet([*map(Path, about["files"])], names, about["labels"], masks, allowed=digests)
        images = images.scaled_as(scales)
    batch = UniqueBatch(names, images, digests, copy_of, scales, appearance)
    decision = (
        Decision(**about["decision"])
        if "decision" in about
        else Decision.by(setup.components.threshold, about["threshold"], len(unique_indices(copy_of)), calibration)
    )
    normal = None if about.get("normal") is None else np.array(about["normal"])
    scorers = make_scorers(scorer_of_batch(setup, normal), batch, features.layers, about["r"])
    for (s, r), scorer in scorers.items():
        begin = f"scorer {s} {r} "
        scorer.load_state_dict({key.removeprefix(begin): t for key, t in tensors.items() if key.startswith(begin)})
    patches, maps, of_maps, of_images = (tensors[f"{name}_"].numpy() for name in ARRAYS)
    scores = Scores(
        names, of_images, of_maps, maps, patches, decision, images, copy_of,
        seconds=about["seconds"], resolved_view=features.resolved_view, appearance=appearance,
    )  # fmt: skip
    products = about.get("products", about.get("precision", "float32"))
    storage = about.get("storage", storage_of(features))
    return Fitted(
        setup, batch, features, tuple(about["r"]), scorers, None, normal, scores, calibration,
        about.get("fitted_at"), products, storage,
    )  # fmt: skip


def _check_shapes(fitted: Fitted) -> None:
    """Raise ValueError where what a file holds does not belong together."""
    features, copies, n_images = fitted.features, fitted.batch.copy_of, len(fitted.batch.names)
    found = {f"{name}_": np.shape(getattr(fitted.scores, name)) for name in ARRAYS}
    found |= {"patch tokens": tuple(features.patch_tokens.shape[:-1]), "copy_of": np.shape(copies)}
    found |= {"class tokens": tuple(features.class_tokens.shape[:-1])}
    n_patches, n_layers = features.grid[0] * features.grid[1], len(features.layers)
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(found, (n_images,))
    expected["patch_scores_"] = len(fitted.r), n_layers, n_images, n_patches
    expected["anomaly_maps_"] = n_images, *features.resolved_view.size
    expected["patch tokens"] = n_images, n_layers, n_patches
    for name, shape in found.items():
        if shape != expected[name]:
            raise ValueError(f"its {name} are {shape}, not {expected[name]}")
    if not ((copies >= 0) & (copies <= np.arange(n_images))).all() or (copies[copies] != copies).any():
        raise ValueError("its copies are copies of no image before them")
    fitted.setup.components.check()


def _images_as_json(images: ImageSet | None, tensors: dict[str, Tensor]) -> dict[str, object]:
    """Return files, labels and masks, each None where not all images are files."""
    files = [] if images is None else [str(source.absolute()) for source in images.sources if isinstance(source, Path)]
    if images is None or not files or len(files) < len(images):
        return {"files": None, "labels": None, "masks": None}
    masks = [_mask_as_json(mask, tensors) for mask in images.mask_sources] if images.mask_sources else None
    return {"files": files, "labels": images.labels, "masks": masks}


def _mask_as_json(source: MaskSource, tensors: dict[str, Tensor]) -> object:
    """Return absolute paths for files; an array goes to `tensors`, a bit for a pixel, and leaves its name and shape."""
    if isinstance(source, list):
        return [_mask_as_json(part, tensors) for part in source]
    if not isinstance(source, np.ndarray):
        return source if source is None else str(source.absolute())
    name = f"mask_{len(tensors)}"
    tensors[name] = torch.from_numpy(np.packbits(source.astype(bool)))
    return {"tensor": name, "shape": source.shape}


def _mask_from_json(source: str | list | dict | None, tensors: dict[str, Tensor]) -> MaskSource:
    """Undo `_mask_as_json`."""
    if isinstance(source, list):
        return [_part_from_json(part, tensors) for part in source]
    return None if source is None else _part_from_json(source, tensors)


def _part_from_json(part: str | dict, tensors: dict[str, Tensor]) -> MaskPart:
    if isinstance(part, str):
        return Path(part)
    height, width = part["shape"]
    bits = np.unpackbits(tensors[part["tensor"]].numpy(), count=height * width)
    return bits.reshape(height, width).astype(bool)


def _as_json(about: dict) -> str:
    """Write JSON; NumPy's numbers and arrays, ranges and other sequences become plain ones."""
    return json.dumps(about, default=lambda value: value.tolist() if hasattr(value, "tolist") else list(value))
