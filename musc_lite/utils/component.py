"""What the exchangeable parts of a detector have in common."""

from sklearn.base import BaseEstimator


class Component(BaseEstimator):
    """A part of a `Detector`: its parameters are the arguments of its constructor, as in scikit-learn.

    A part becomes known to saved detectors and to the command line by a line in `musc_lite.detector.components`.
    """

    def check(self) -> None:
        """Raise ValueError for parameters that no batch and no backbone makes right."""

    def provenance(self) -> dict[str, str]:
        """Return the lines that name this part's settings in a report, title: value."""
        return {}
