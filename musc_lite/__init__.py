"""MuSc, step by step: zero-shot anomaly detection by mutual scoring of unlabeled images.

Images flow one way: ``images`` -> ``backbones`` -> ``features`` (stage 1) -> ``aggregation`` (stage 2)
-> ``mutual_scoring`` (stage 3) -> ``maps`` -> ``rescoring`` (stage 4) -> ``metrics``; ``detector`` runs them all.

>>> import musc_lite
>>> images = musc_lite.planted_textures("gravel", n_images=6, n_defective=2)
>>> len(images), int(images.labels.sum())
(6, 2)
"""

import os
import sys

import lazy_loader

# PyTorch's threads wait for each other by spinning, which takes the processor from the very thread that they wait for
# when another program is busy too. OpenMP reads this once, when PyTorch is imported.
if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# Each module loads when one of its names is first used, so `import musc_lite` takes milliseconds.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["results", "widgets"],
    submod_attrs={
        "support.errors": [
            "ArchiveError",
            "DataNotFoundError",
            "DownloadError",
            "FileWriteError",
            "ImageReadError",
            "MuScError",
            "WeightsNotFoundError",
        ],
        "data.image_set": ["ImageSet"],
        "data.arrays": ["from_arrays"],
        "data.loaders": ["load_btad", "load_folder", "load_magnetic_tile", "load_mvtec", "load_visa"],
        "data.duplicates": ["near_duplicates"],
        "data.textures": ["planted_textures"],
        "backbones.load": ["Backbone", "load_backbone"],
        "stages.features": ["Features", "extract_features"],
        "stages.aggregation": ["aggregate", "neighborhood_mean", "normalize_tokens"],
        "stages.mutual_scoring": [
            "interval_average",
            "mutual_scores",
            "nearest_distances",
            "nearest_patches",
            "patch_distances",
            "similar_patch_counts",
            "similarity_counts",
        ],
        "stages.maps": ["image_scores_from_maps", "upsample_maps"],
        "stages.rescoring": ["image_similarity", "keep_top_k", "rescore"],
        "results.metrics": ["Metrics", "evaluate"],
        "detector": ["Detector"],
        "musc": ["MuSc"],
    },
)
