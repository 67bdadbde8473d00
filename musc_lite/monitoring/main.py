"""What `musc-lite app` shows: the foreman's page, and behind a second tab how it works."""

import ipywidgets

from musc_lite.monitoring.app_paths import Places
from musc_lite.monitoring.explorer_app import App
from musc_lite.monitoring.review_app import Foreman

ABOUT = """Choose a texture or type the path of a folder of images, press <i>Run</i>, and explore. <i>Check</i> says
beforehand what would be looked at, how closely, and how long that takes. The images score each other: nothing is
trained, no labels are needed, and nothing leaves this computer."""


class Page(ipywidgets.Tab):
    """Two tabs: "Find the odd ones" and "How it works".

    Parameters
    ----------
    places : Places, optional
        Where it may read and where it writes; by default what `musc-lite app` handed on.

    Attributes
    ----------
    foreman : Foreman
    app : App
    """

    def __init__(self, places: Places | None = None):
        places = places or Places.from_environment()
        self.foreman, self.app = Foreman(places), App(places.features, places)
        about = ipywidgets.HTML(f'<div style="line-height: 1.4; white-space: normal">{ABOUT}</div>')
        super().__init__([self.foreman, ipywidgets.VBox([about, self.app])])
        self.titles = ("Find the odd ones", "How it works")
        self.foreman.work.observe(self._share, "busy")

    def _share(self, change) -> None:
        """Let the second tab wait while the first works: both at once would take the memory of two."""
        self.app.run.disabled = self.app.check.disabled = change.new
