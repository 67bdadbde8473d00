"""The project's own errors: trouble with the world outside (files, weights, data sets).

Wrong arguments to a function raise ``ValueError``, as everywhere in Python.
"""

__all__ = [
    "ArchiveError",
    "DataNotFoundError",
    "DownloadError",
    "ImageReadError",
    "MuScError",
    "WeightsNotFoundError",
]


class MuScError(Exception):
    """Any trouble that musc_lite reports by itself; its message says what to do."""


class ImageReadError(MuScError):
    """A file that should be an image (or its mask) cannot be used as one."""


class WeightsNotFoundError(MuScError):
    """A backbone's weights are missing, damaged or cannot be downloaded."""


class DataNotFoundError(MuScError):
    """A folder or data set is missing, or does not have the expected layout."""


class DownloadError(MuScError):
    """A file cannot be downloaded, or is not the one that was expected."""


class ArchiveError(MuScError):
    """An archive is damaged, unsafe or too large, or does not hold what was expected."""
