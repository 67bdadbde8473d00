"""The ranked photos of a batch: enlarge one beside its map, mark it good, bad or unsure by key or click."""

import io
from collections.abc import Callable, Sequence

import anywidget
import numpy as np
import traitlets
from PIL import Image

from musc_lite.data.roi import resize_map_to_image
from musc_lite.data.verdicts import VERDICTS
from musc_lite.reports.gallery import describe
from musc_lite.reports.html import data_uri, read_web, template
from musc_lite.reports.plots import HEAT, map_color_limits
from musc_lite.results.scores import Scores
from musc_lite.utils.errors import ImageReadError
from musc_lite.utils.progress import progress_bar
from musc_lite.widgets.tiles import fitted, jpeg

THUMBNAIL = 240  # pixels along the longer side
LARGEST = 2400
MAP_SIDE = 256  # maps are interpolated from a grid of patches: the browser stretches them


class Gallery(anywidget.AnyWidget):
    """Photos in their own shape, the most anomalous first, with what was found about each; the report has the same.

    Attributes
    ----------
    html : str
        The cards, with their pictures; empty where nothing is shown.
    cards : list of dict
        What each card says, see `describe`.
    verdicts : list of str
        "good", "bad", "unsure" or "" for each card.
    scores : Scores or None
        What is shown.
    """

    _esm = read_web("widgets/zoom.js", "reports/gallery.js", "monitoring/gallery.js")
    _css = read_web("reports/gallery.css", "monitoring/gallery.css")

    html = traitlets.Unicode().tag(sync=True)
    verdicts = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self):
        super().__init__()
        self.scores: Scores | None = None
        self.cards: list[dict] = []
        self._mark: Callable[[int, str], None] = lambda i, verdict: None
        self.on_msg(lambda _widget, message, _buffers: self._answer(message))

    def on_mark(self, call: Callable[[int, str], None]) -> None:
        """Call call(i, verdict) with the photo's place in the scores whenever one is marked; "" takes it back."""
        self._mark = call

    def show(self, scores: Scores, verdicts: Sequence[str]) -> None:
        """Show other scores, with a verdict for each of their images, in their order."""
        self._range = map_color_limits((scores.batch or scores).anomaly_maps)  # new images on the colors of their batch
        cards = []
        bar = progress_bar(scores.ranking, desc="making the gallery", unit="image", leave=False)
        for rank, i in enumerate(map(int, bar)):
            photo = _photo(scores, i, THUMBNAIL)
            pictures = {"image": data_uri(photo), "heat": data_uri(self._heat(scores, i, 64))}
            cards.append(describe(scores, i, photo) | pictures | {"rank": rank + 1})
        self.scores, self.cards = scores, cards
        with self.hold_sync():
            self.verdicts = [verdicts[i] for i in scores.ranking]
            gallery = getattr(template("gallery.html.jinja").module, "gallery")  # noqa: B009 - a macro of the template
            self.html = str(gallery(VERDICTS, cards, plain="show where", more_keys="the map."))

    def clear(self) -> None:
        """Show nothing."""
        self.scores, self.cards = None, []
        with self.hold_sync():
            self.verdicts, self.html = [], ""

    def set_verdicts(self, verdicts: Sequence[str]) -> None:
        """Show other verdicts, one for each of the images in the order of the scores."""
        if self.scores is not None:
            self.verdicts = [verdicts[i] for i in self.scores.ranking]

    def _answer(self, message: dict) -> None:
        """Do what the page asks: send a large picture, or pass a verdict on."""
        card = message.get("card")
        if self.scores is None or not isinstance(card, int) or not 0 <= card < len(self.verdicts):
            return
        i = int(self.scores.ranking[card])
        if message.get("verdict") in (*VERDICTS, ""):
            self._mark(i, message["verdict"])
        elif message.get("open"):
            photo = _photo(self.scores, i, LARGEST)
            pictures = [jpeg(photo, photo.size, quality=88), self._heat(self.scores, i, MAP_SIDE)]
            self.send({"card": card}, buffers=pictures)

    def _heat(self, scores: Scores, i: int, longer: int) -> bytes:
        """Return what is laid over photo i, in its shape."""
        shape = fitted(*_size(scores, i), longer)
        return heat_layer(resize_map_to_image(scores.anomaly_maps[i], shape, scores.region), *self._range)


def _photo(scores: Scores, i: int, longer: int) -> Image.Image:
    """Return photo i, at most so many pixels long; gray where it cannot be read any more."""
    size = _size(scores, i)
    smaller = size if max(size) <= longer else fitted(*size, longer)
    try:
        photo = scores.required_images.digest_and_image(i, at_least=min(smaller))[1]
    except ImageReadError:
        return Image.new("RGB", smaller, "gray")
    return photo.resize(smaller, Image.Resampling.LANCZOS)


def _size(scores: Scores, i: int) -> tuple[int, int]:
    """Return photo i's own width and height; of one that cannot be read any more those of its map."""
    try:
        return scores.required_images.size(i)
    except ImageReadError:
        height, width = scores.anomaly_maps[i].shape
        return width, height


def heat_layer(anomaly_map: np.ndarray, low: float, high: float) -> bytes:
    """Color a map (H, W) as `overlay` does: a PNG to lay over its photo, the more opaque the more anomalous."""
    heat = np.clip((np.asarray(anomaly_map, dtype=float) - low) / (high - low), 0, 1)
    colors = HEAT(0.25 + 0.7 * heat)
    colors[..., 3] = 0.85 * heat**0.75
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * colors).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
