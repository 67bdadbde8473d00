"""MuSc, step by step: zero-shot anomaly detection by mutual scoring of unlabeled images.

Photos flow one way, folder by folder: ``data`` -> ``backbones`` -> ``stages`` (features, aggregation, scores of the
patches by one of the ``scorers``, maps, re-scoring, thresholds) -> ``results``; ``detector`` runs them all.

>>> import musc_lite
>>> images = musc_lite.planted_textures("gravel", n_images=6, n_defective=2)
>>> len(images), int(images.labels.sum())
(6, 2)
"""

import os
import sys
from typing import Any

import lazy_loader

# PyTorch's threads wait for each other by spinning, which takes the processor from the very thread that they wait for
# when another program is busy too. OpenMP reads this once, when PyTorch is imported.
if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# Each module loads when one of its names is first used, so `import musc_lite` takes milliseconds. The names and where
# they live stand in `__init__.pyi`, which editors and type checkers read too.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

OLD_NAMES = {"FalseAlarmRate": "ConformalThreshold", "apply_line": "apply_reference", "fit_line": "fit_reference"}


def __getattr__(name: str) -> Any:
    """Load what a name stands for; an old name works with a DeprecationWarning."""
    if name in OLD_NAMES:
        from musc_lite.utils.deprecation import warn_of_old_name

        warn_of_old_name(f"musc_lite.{name}", f"musc_lite.{OLD_NAMES[name]}", stacklevel=3)
        name = OLD_NAMES[name]
    return _load(name)
