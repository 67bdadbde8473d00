"""The project's own errors: trouble with the world outside (files, weights, data sets).

Wrong arguments to a function raise ``ValueError``, as everywhere in Python.
"""


class MuScError(Exception):
    """Any trouble that musc_lite reports by itself; its message says what to do."""


class ImageReadError(MuScError):
    """A file that should be an image (or its mask) cannot be used as one."""


class WeightsNotFoundError(MuScError):
    """A backbone's weights are missing, damaged or cannot be downloaded."""


class DataNotFoundError(MuScError):
    """A folder, a data set or a saved file is missing, damaged, or does not have the expected layout."""


class FileWriteError(MuScError, OSError):
    """A file or folder cannot be written: the disk is full, or the folder read-only."""


class DownloadError(MuScError):
    """A file cannot be downloaded, or is not the one that was expected."""


class ArchiveError(MuScError):
    """An archive is damaged, unsafe or too large, or does not hold what was expected."""
