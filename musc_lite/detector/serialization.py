"""What a fitted detector is on disk: one safetensors file of numbers and text, which can run no code."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from musc_lite.backbones.backbone import Backbone
from musc_lite.backbones.load import load_backbone
from musc_lite.data.appearance import Appearance
from musc_lite.data.depth import LEGACY, Scale
from musc_lite.data.duplicates import originals
from musc_lite.data.image_set import ImageSet, MaskPart, MaskSource
from musc_lite.detector.batch import make_scorers
from musc_lite.detector.components import PARTS, part_as_json, part_from_json
from musc_lite.stages.features import Features, framing_from_json, storage_of
from musc_lite.stages.thresholds import Decision
from musc_lite.utils.component import Part
from musc_lite.utils.errors import DataNotFoundError
from musc_lite.utils.files import make_folder, read_tensors, write_tensors
from musc_lite.utils.names import writable
from musc_lite.utils.precision import asked_again

if TYPE_CHECKING:
    from musc_lite.detector.detector import Detector

__all__ = ["read_detector", "write_detector"]

ARRAYS = ("patch_scores_", "anomaly_maps_", "map_scores_", "image_scores_")
VERSION = 1  # of the file's format
NOT_SAVED = ("backbone", "cache_dir", "device")


def write_detector(path: str | Path, detector: "Detector") -> None:
    """Write a fitted detector, complete or not at all, with a checksum."""
    tensors = {name: torch.tensor(getattr(detector, name)) for name in ARRAYS}  # copies: two of them may be one array
    if detector.calibration_ is not None:
        tensors["calibration_"] = torch.tensor(detector.calibration_)
    features = detector.features_
    tensors |= {"patch_tokens": features.patch_tokens, "class_tokens": features.class_tokens}
    for (s, r), scorer in detector.scorers_.items():
        tensors |= {f"scorer {s} {r} {name}": tensor.cpu() for name, tensor in scorer.state().items()}
    parameters = {k: v for k, v in detector._setup.get_params(deep=False).items() if k not in NOT_SAVED}
    given = [kind for kind in PARTS if isinstance(parameters.get(kind), Part)]
    parts = {kind: part_as_json(kind, parameters.pop(kind)) for kind in given}
    images = detector.__dict__.get("images_")  # a loaded detector may have none
    about = {
        "version": VERSION,
        "parameters": parameters,
        "parts": parts,
        "backbone": [detector.backbone_.name, detector.backbone_.pretrained, detector.backbone_.weights_sha256],
        "layers": features.layers,
        "framing": asdict(features.framing),
        "r": detector.r_,
        "names": detector.names_,
        "digests": sorted(detector._digests),
        "threshold": detector.threshold_,
        "decision": asdict(detector.decision_),
        "normal": detector.normal_,
        "copy_of": detector.copy_of_,
        "seconds": detector.seconds_,
        "precision": detector.backbone_.precision,
        "products": detector._products,
        "storage": detector._storage,
        "fitted_at": detector.fitted_at_,
        "scales": {kind: [scale.low, scale.high] for kind, scale in detector.scales_.items()},
        "appearance": None if detector.appearance_ is None else asdict(detector.appearance_),
        **_images_as_json(images, tensors),
    }
    make_folder(Path(path).parent)
    write_tensors(Path(path), tensors, "saved detector", _as_json(about))


def read_detector(cls: type["Detector"], path: str | Path, backbone: Backbone | None, device: str | None) -> "Detector":
    """Read what `write_detector` wrote, as the class that was saved: `MuSc` or `Detector`."""
    tensors, about = read_tensors(path, "saved detector")
    if isinstance(about, dict) and about.get("version", VERSION) != VERSION:
        raise DataNotFoundError(
            f"{path} has the format version {about['version']}, and this musc_lite reads version {VERSION}: install "
            "the musc_lite that wrote it, or fit and save again"
        )
    try:
        name, pretrained, weights = map(str, about["backbone"])
        parts: dict[str, Any] = {kind: part_from_json(kind, part) for kind, part in about.get("parts", {}).items()}
        parameters = about["parameters"] | {"cache_dir": None}  # no file says where to write
        if parameters.get("false_alarm_rate") is not None:
            parameters["contamination"] = "auto"  # early versions took both and ignored this one
        detector = _class_of(parameters, cls)(name, **parameters, **parts, device=device)
        detector._setup = detector._setup_now()
        detector.features_ = Features(
            tensors.pop("patch_tokens"),
            tensors.pop("class_tokens"),
            framing_from_json(about),
            tuple(about["layers"]),
        )
        detector._products = about.get("products", about.get("precision", "float32"))
        detector._storage = about.get("storage", storage_of(detector.features_))
        for key in ARRAYS:
            setattr(detector, key, tensors[key].numpy())
        detector.names_, detector._digests = [*map(writable, about["names"])], set(about["digests"])
        detector.r_, detector.seconds_ = tuple(about["r"]), about["seconds"]
        detector.fitted_at_ = about.get("fitted_at")
        scales = about.get("scales")  # early versions divided by 257, whatever the values
        detector.scales_ = dict(LEGACY) if scales is None else {kind: Scale(*ends) for kind, ends in scales.items()}
        appearance = about.get("appearance")  # no early version has one
        detector.appearance_ = None if appearance is None else Appearance(**appearance)
        calibration = tensors.get("calibration_")  # no early version has one
        detector.calibration_ = None if calibration is None else calibration.numpy()
        detector.copy_of_ = np.array(about.get("copy_of", range(len(detector.names_))))  # 0.1.0 knew of no copies
        rule, n_unique = detector.parts_.threshold, len(originals(detector.copy_of_))
        detector.decision_ = (
            Decision(**about["decision"])
            if "decision" in about  # early versions wrote the threshold alone
            else Decision.by(rule, about["threshold"], n_unique, detector.calibration_)
        )
        normal = about.get("normal")
        detector.groups_, detector.normal_ = None, None if normal is None else np.array(normal)
        scorer, layers = detector.batch_scorer, detector.features_.layers
        detector.scorers_ = make_scorers(scorer, detector.names_, detector.copy_of_, layers, detector.r_)
        for (s, r), scorer in detector.scorers_.items():
            begin = f"scorer {s} {r} "
            scorer.set_state({key.removeprefix(begin): t for key, t in tensors.items() if key.startswith(begin)})
        files, labels, masks = (about[key] for key in ("files", "labels", "masks"))
        if files:
            masks = None if masks is None else [_mask_from_json(mask, tensors) for mask in masks]
            allowed = frozenset(detector._digests)
            images = ImageSet([Path(file) for file in files], detector.names_, labels, masks, allowed=allowed)
            detector.images_ = images.scaled_as(detector.scales_)
        _check_shapes(detector)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise DataNotFoundError(f"{path} is not a complete saved detector ({error}); fit and save again") from error
    if backbone is None and Path(pretrained).is_file():
        raise ValueError(
            f"{path} was fitted with the weights file {pretrained}: if you trust it, give "
            f"backbone=load_backbone({name!r}, {pretrained!r})"
        )
    precision = asked_again(about.get("precision", "float32"))
    detector.backbone_ = load_backbone(name, pretrained, device, precision) if backbone is None else backbone
    if detector.backbone_.weights_sha256 != weights:
        raise ValueError(
            f"{path} was fitted with other weights of {name}: {weights[:12]}..., these are "
            f"{detector.backbone_.weights_sha256[:12]}...: scores would not be comparable; give backbone="
        )
    return detector


def _check_shapes(detector: "Detector") -> None:
    """Raise ValueError where what a file holds does not belong together."""
    features, n_images = detector.features_, len(detector.names_)
    size, n_layers = features.framing.size, len(features.layers)
    n_patches = features.grid[0] * features.grid[1]
    found = {name: np.shape(getattr(detector, name)) for name in ARRAYS}
    found |= {"patch tokens": tuple(features.patch_tokens.shape[:-1]), "copy_of": np.shape(detector.copy_of_)}
    found |= {"class tokens": tuple(features.class_tokens.shape[:-1])}
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(found, (n_images,))
    expected["patch_scores_"] = len(detector.r_), n_layers, n_images, n_patches
    expected["anomaly_maps_"] = n_images, *size
    expected["patch tokens"] = n_images, n_layers, n_patches
    for name, shape in found.items():
        if shape != expected[name]:
            raise ValueError(f"its {name} are {shape}, not {expected[name]}")
    copies = detector.copy_of_
    if not ((copies >= 0) & (copies <= np.arange(n_images))).all() or (copies[copies] != copies).any():
        raise ValueError("its copies are copies of no image before them")
    detector.parts_.check()


def _class_of(parameters: dict, asked: type["Detector"]) -> type["Detector"]:
    """Return the class whose parameters these are: `MuSc` has flat ones, such as the image size, `Detector` parts."""
    from musc_lite.detector.detector import Detector
    from musc_lite.detector.musc import MuSc

    saved = MuSc if "image_size" in parameters else Detector
    return asked if issubclass(asked, MuSc) == (saved is MuSc) else saved


def _images_as_json(images: ImageSet | None, tensors: dict[str, Tensor]) -> dict[str, object]:
    """Tell files, labels and masks, each None where not all images are files."""
    files = [] if images is None else [str(source.absolute()) for source in images.sources if isinstance(source, Path)]
    if images is None or not files or len(files) < len(images):
        return {"files": None, "labels": None, "masks": None}
    masks = [_mask_as_json(mask, tensors) for mask in images.mask_sources] if images.mask_sources else None
    return {"files": files, "labels": images.labels, "masks": masks}


def _mask_as_json(source: MaskSource, tensors: dict[str, Tensor]) -> object:
    """Give absolute paths for files; an array goes to `tensors`, a bit for a pixel, and leaves its name and shape."""
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
