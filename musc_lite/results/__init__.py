"""What comes out: scores, metrics, figures, the report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["exports", "metrics", "plots", "report", "scores"])
