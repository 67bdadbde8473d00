"""What comes out: scores, metrics, figures, the report."""

import lazy_loader

MODULES = ["contact_sheet", "exports", "metrics", "plots", "report", "scores"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=MODULES)
