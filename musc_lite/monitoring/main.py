"""What `musc-lite app` shows: the review app, and in a second tab how the method works."""

import ipywidgets

from musc_lite.monitoring.app_paths import Places
from musc_lite.monitoring.explorer_app import App
from musc_lite.monitoring.review_app import ReviewApp

ABOUT = """Choose a texture or enter the path of a folder of images, press <i>Run</i>, and explore. <i>Check</i> shows
in advance what is seen, at which resolution, and how long it takes. Images are scored by mutual comparison: nothing is
trained, no labels are needed, and nothing leaves this computer."""


class Page(ipywidgets.Tab):
    """Two tabs: "Find anomalies" and "How it works".

    Parameters
    ----------
    places : Places, optional
        Where it may read and where it writes; by default what `musc-lite app` handed on.

    Attributes
    ----------
    review : ReviewApp
    app : App
    """

    def __init__(self, places: Places | None = None):
        places = places or Places.from_environment()
        self.review, self.app = ReviewApp(places), App(places.features, places)
        about = ipywidgets.HTML(f'<div style="line-height: 1.4; white-space: normal">{ABOUT}</div>')
        super().__init__([self.review, ipywidgets.VBox([about, self.app])])
        self.titles = ("Find anomalies", "How it works")
        self.review.work.observe(self._share, "busy")

    def _share(self, change) -> None:
        """Let the second tab wait while the first works: both at once would take the memory of two."""
        self.app.run.disabled = self.app.check.disabled = change.new
