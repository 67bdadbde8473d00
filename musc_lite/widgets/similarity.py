"""What explorers of similar patches share: the threshold up to which a patch counts as similar."""

import traitlets

from musc_lite.stages.similarity_counts import default_threshold
from musc_lite.widgets.feature_explorer import FeatureExplorer

__all__ = ["PER_UNIT", "Similarity"]

PER_UNIT = 100  # thresholds to a distance of 1: all explorers share them, so that their thresholds can be linked


class Similarity(FeatureExplorer):
    """Has a threshold in hundredths, from 0 to 2.

    Attributes
    ----------
    threshold : float
        Largest distance that counts as similar; what is set is rounded to hundredths. At first the default of the
        chosen features, which it follows until it is set.
    """

    threshold = traitlets.Float()

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal):
        if not 0 <= proposal.value <= 2:
            raise traitlets.TraitError(f"unit vectors lie 0 to 2 apart: give such a threshold, got {proposal.value}")
        return round(proposal.value * PER_UNIT) / PER_UNIT

    def default_threshold(self) -> float:
        """Compute the default threshold of the chosen features from the detector's scores."""
        return default_threshold(self.patch_scores(*self.features))

    def begin_at_default_threshold(self) -> None:
        """Set the default threshold, and set it again where other features are chosen before it was changed."""
        self.threshold = self._default = self.default_threshold()
        self.observe(self._follow_features, "features")

    def _follow_features(self, _) -> None:
        before, self._default = self._default, self.default_threshold()
        if self.threshold == before:
            with self.following():
                self.threshold = self._default
