"""What an explorer or the app says: a status line, or an error that the user can mend."""

import html

from musc_lite.utils.errors import MuScError

USER_ERRORS = (MuScError, ValueError, OSError)  # what the user can mend


def told(text: str) -> str:
    """Make HTML of what is said, line by line."""
    return _spoken(text, "status")


def error_html(error: Exception) -> str:
    """Make HTML of what went wrong."""
    return _spoken(f"This did not work: {error}", "alert", "; color: var(--jp-error-color1, #b00020)")


def _spoken(text: str, role: str, style: str = "") -> str:
    wrapped = "line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere"
    return f'<div role="{role}" style="{wrapped}{style}">{html.escape(text)}</div>'
