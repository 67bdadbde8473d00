"""The line below an explorer's controls: what it found, undo, PNG, CSV, code, and whether the kernel is still there."""

from collections.abc import Callable

import anywidget
import traitlets

from musc_lite.reports.html import read_web

File = tuple[str, str, bytes]  # name, MIME type, content


class StatusBar(anywidget.AnyWidget):
    """A sentence that screen readers read aloud when it changes, and buttons for what is shown.

    Names the sliders around it for screen readers too, which ipywidgets leaves nameless, and says it when an answer
    of the kernel does not come.

    Parameters
    ----------
    value : str
        The sentence.
    code : str
        The line that makes what is shown.
    can_undo : bool
    tools : list of str
        Which buttons there are: "undo", "png", "csv".
    """

    # As text: anywidget keeps every widget alive whose script is a path.
    _esm = read_web("widgets/status_bar.js")
    _css = read_web("widgets/status_bar.css", "widgets/shown.css")

    value = traitlets.Unicode().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)
    can_undo = traitlets.Bool().tag(sync=True)
    tools = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def serve(self, undo: Callable[[], None], files: dict[str, Callable[[], File]]) -> None:
        """Offer what the buttons do: go back, and files by the name of their button, each made when it is asked for."""
        self.tools = ["undo", *files]

        def answer(_widget, message, _buffers) -> None:
            asked = message.get("ask")
            if asked == "undo":
                undo()
            elif asked in files:
                name, kind, content = files[asked]()
                self.send({"file": name, "type": kind}, buffers=[content])
            self.send({"here": True})

        self.on_msg(answer)
