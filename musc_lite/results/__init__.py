"""What comes out: scores, decisions, metrics."""

import lazy_loader

MODULES = ["metrics", "scores"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=MODULES)
