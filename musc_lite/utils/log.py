"""What the library tells on its way goes to the logger "musc_lite"; where nobody listens it is shown."""

import logging
import sys


def log_info(module: str, text: str, *values) -> None:
    """Log a line at INFO; in a program or notebook that has set up no logging, write it to stderr.

    Python itself shows warnings that way (``logging.lastResort``), but a download of 90 MB is no warning, and nobody
    should have to guess why a cell takes a minute. No handler or level is ever set, so a program that sets up logging
    gets what it asked for, and ``logging.getLogger("musc_lite").setLevel("WARNING")`` is silence.

    Parameters
    ----------
    module : str
        `__name__`.
    text, *values
        As for ``logging.info``.
    """
    logger = logging.getLogger(module)
    if logger.hasHandlers() or logging.getLogger("musc_lite").level > logging.INFO:
        logger.info(text, *values, stacklevel=2)
    else:
        sys.stderr.write(f"musc_lite: {text % values if values else text}\n")
        sys.stderr.flush()
