"""What the exchangeable parts of a detector have in common."""

from sklearn.base import BaseEstimator


class Part(BaseEstimator):
    """A part of a `Detector`: its parameters are the arguments of its constructor, as in scikit-learn.

    A part becomes known to saved detectors and to the command line by a line in `musc_lite.detector.components`.
    """

    def check(self) -> None:
        """Refuse parameters that no batch and no backbone makes right; raise ValueError."""

    def describe(self) -> dict[str, str]:
        """Give the lines that name this part's settings in a report, title: value."""
        return {}
