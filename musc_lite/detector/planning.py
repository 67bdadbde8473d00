"""What a detector can say before the work: what it will look at, how much there is of it, what it costs."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from musc_lite.backbones import load
from musc_lite.backbones.backbone import Backbone
from musc_lite.data.coerce import Images, as_image_set
from musc_lite.data.roi import WHOLE, Region
from musc_lite.data.view import Framing, some_photos
from musc_lite.detector.components import Parts
from musc_lite.detector.memory import Cost, Extent, estimate_cost
from musc_lite.detector.resolution import closest_tiles
from musc_lite.stages.features import Features
from musc_lite.utils.validation import check_memory, check_reach

__all__ = ["PlanningAhead"]


class PlanningAhead:
    """The part of a detector that answers before it is fitted."""

    backbone: str | Backbone
    layers: str | Sequence[int] | None
    max_memory: int | str | None
    device: str | None
    precision: str
    _loaded: tuple[Any, Any] = (None, None)  # what a name stands for

    @property
    def parts(self) -> Parts:
        """What the detector is made of."""
        raise NotImplementedError

    def cost(self, n_images: int, images: Images | None = None) -> Cost:
        """Estimate what fitting so many images takes, see `budget.estimate_cost`; some views need some images."""
        check_memory(self.max_memory)
        self.parts.check()
        return self.cost_of(n_images, self.framing(images))

    def cost_of(self, n_images: int, framing: Framing) -> Cost:
        """Estimate the same where it is settled what is looked at."""
        return estimate_cost(self.parts.scorer, self.load_backbone(), n_images, self.extent(framing), self.max_memory)

    def framing(self, images: Images | None, found: Region = WHOLE, **changes: Any) -> Framing:
        """Settle the view, or one with some changes, for these images; `found`: what a region "auto" stands for."""
        view, backbone = clone(self.parts.view).set_params(**changes), self.load_backbone()
        some = None if images is None else as_image_set(images)
        if view.seconds is not None:
            region = found if view.region == "auto" else view.region
            tiles = closest_tiles(self, some_photos(some, view), view.seconds, region)
            view.set_params(size=None, tiles=tiles)
        return view.settle(some, backbone.patch_size, backbone.default_image_size, backbone.name, found)

    def extent(self, framing: Framing, features: Features | None = None) -> Extent:
        """Say how much there is of each image; features, where there are any, have their layers."""
        backbone = self.load_backbone()
        layers = features.layers if features and self.layers is None else backbone.layers(self.layers)
        degrees = self.parts.aggregation.degrees(backbone.default_r)
        check_reach(degrees, framing.grid)
        return Extent(tuple(layers), tuple(degrees), framing, backbone.width)

    def load_backbone(self) -> Backbone:
        """Give the backbone; one that is given by name is loaded once."""
        given = self.backbone
        if isinstance(given, Backbone):
            return given
        if self._loaded[0] != (asked := (given, self.device, self.precision)):
            self._loaded = asked, load.load_backbone(given, device=self.device, precision=self.precision)
        return self._loaded[1]
