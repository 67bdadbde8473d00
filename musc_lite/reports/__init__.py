"""What people read: figures, HTML reports, exported files."""

import lazy_loader

MODULES = ["contact_sheet", "export_maps", "plots", "report"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=MODULES)
