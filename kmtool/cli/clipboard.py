"""Puts a message on the clipboard, where there is one."""

from __future__ import annotations


def copy(text: str) -> bool:
    """Copy text; False when this terminal has no clipboard (then the message is shown)."""
    import pyperclip  # type: ignore[import-untyped]

    try:
        pyperclip.copy(text)
    except (pyperclip.PyperclipException, OSError):
        return False
    return True
