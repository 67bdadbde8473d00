"""What explorers of similar patches share: the threshold up to which a patch counts as similar."""

import traitlets

__all__ = ["PER_UNIT", "Similarity"]

PER_UNIT = 100  # thresholds to a distance of 1: all explorers share them, so that their thresholds can be linked


class Similarity(traitlets.HasTraits):
    """Has a threshold in hundredths, from 0 to 2.

    Attributes
    ----------
    threshold : float
        Largest distance that counts as similar; what is set is rounded to hundredths.
    """

    threshold = traitlets.Float()

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal):
        if not 0 <= proposal.value <= 2:
            raise traitlets.TraitError(f"unit vectors lie 0 to 2 apart: give such a threshold, got {proposal.value}")
        return round(proposal.value * PER_UNIT) / PER_UNIT
