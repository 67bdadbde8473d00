"""Why an image is flagged: its photo around the strangest patch, beside the place that comes closest to it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """The patch of an image that is least like the others, and its closest likeness.

    Attributes
    ----------
    image, patch : int
        The patch with the highest score of its image.
    compared : int or None
        The image with the closest likeness among those that are not flagged; None if the scorer names none.
    compared_patch : int or None
        Where that is.
    distance : float or None
        From one to the other, the mean over blocks and degrees r; unit vectors lie 0 to 2 apart.
    """

    image: int
    patch: int
    compared: int | None = None
    compared_patch: int | None = None
    distance: float | None = None
