"""The parameters of a detector at one moment: checked, with the components made and the backbone loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musc_lite.backbones.backbone import Backbone
from musc_lite.data.image_set import ImageSet
from musc_lite.data.roi import Region
from musc_lite.data.view import ResolvedView
from musc_lite.detector.components import Components
from musc_lite.stages.features import Features, extract_features, region_of_objects


@dataclass(frozen=True)
class Setup:
    """What a fit goes by from its first step to its last, and a fitted detector from then on.

    Attributes
    ----------
    class_name : str
        Of the detector: a key of `DETECTORS`.
    params : mapping of str to object
        The constructor's parameters, copied.
    parts : Parts
        The components that the parameters stand for.
    backbone : Backbone
    """

    class_name: str
    params: Mapping[str, Any]
    components: Components
    backbone: Backbone

    @property
    def layers(self) -> str | Sequence[int] | None:
        """Blocks to read; None: the backbone's default."""
        return self.params["layers"]

    @property
    def groups(self) -> str | int | None:
        """The group of images that all are scored by; None: all images."""
        return self.params["groups"]

    @property
    def max_memory(self) -> int | str | None:
        """Bytes that the batch may take."""
        return self.params["max_memory"]

    def extract(
        self, images: ImageSet, layers: Sequence[int], resolved_view: ResolvedView, storage: str = "float32"
    ) -> Features:
        """Return the features of images, read from the cache where they are there."""
        return extract_features(
            images, self.backbone, layers=layers, view=resolved_view, storage=storage, **self._reading
        )

    def find_objects(self, images: ImageSet) -> Region:
        """Return the region of the photos where the objects are."""
        return region_of_objects(images, self.backbone, **self._reading)

    @property
    def _reading(self) -> dict[str, Any]:
        cache_dir: str | Path | None = self.params["cache_dir"]
        return {"batch_size": self.params["batch_size"], "cache_dir": cache_dir}
