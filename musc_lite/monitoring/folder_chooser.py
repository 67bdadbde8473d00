"""A list of folders to walk through, with the number of images in each."""

import os
from collections.abc import Callable
from pathlib import Path

import ipywidgets

from musc_lite.data.discovery import readable
from musc_lite.monitoring.app_paths import Places

MOST = 200  # folders that are listed


class FolderChooser(ipywidgets.VBox):
    """Buttons for the folder above and those inside of the one that is chosen.

    Parameters
    ----------
    places : Places
        Folders outside of its root are not offered.
    choose : callable
        Called with the path of a folder when its button is pressed.
    """

    def __init__(self, places: Places, choose: Callable[[Path], None]):
        super().__init__(
            layout={"max_height": "260px", "overflow": "auto", "border": "1px solid", "max_width": "600px"}
        )
        self.places, self._choose = places, choose

    def show(self, folder: Path) -> None:
        """List what is in a folder; one that cannot be read says so."""
        try:
            inside = self.places.subfolders(folder)
        except OSError as error:
            self.children = [ipywidgets.Label(f"{folder} cannot be listed: {error.strerror}")]
            return
        above = [folder.parent] if folder.parent != folder and self.places.is_inside(folder.parent) else []
        buttons = [self._button(path, "up to ", "level-up") for path in above]
        buttons += [self._button(path, "", "folder") for path in inside[:MOST]]
        here = ipywidgets.Label(f"{folder}: {_in_words(count_images(folder))}")
        rest = [ipywidgets.Label(f"and {len(inside) - MOST} more: type the path")] if len(inside) > MOST else []
        self.children = [here, *buttons, *rest]

    def _button(self, path: Path, before: str, icon: str) -> ipywidgets.Button:
        text = f"{before}{path.name or path}" + ("" if before else f": {_in_words(count_images(path))}")
        button = ipywidgets.Button(description=text, icon=icon, tooltip=str(path), layout={"width": "auto"})
        button.style.text_align = "left"
        button.layout.flex = "0 0 auto"
        button.on_click(lambda _: self._choose(path))
        return button


def count_images(folder: Path) -> int | None:
    """Count files with an image's name directly in a folder; None where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.name[0] != "." and entry.name.lower().endswith(readable()) for entry in entries)
    except OSError:
        return None


def _in_words(n: int | None) -> str:
    return "cannot be listed" if n is None else f"{n} image{'s' * (n != 1)}"
