"""How a photo becomes what the backbone sees: today one square."""

from musc_lite.support.part import Part

__all__ = ["View"]


class View(Part):
    """The whole photo, resized to a square.

    Parameters
    ----------
    size : int, optional
        Pixels along its side, a multiple of the backbone's patch size; None: the backbone's default.
    """

    def __init__(self, size: int | None = None):
        self.size = size

    def pixels(self, default: int) -> int:
        """Give the side of the square, where the backbone's default is this one."""
        return default if self.size is None else self.size
