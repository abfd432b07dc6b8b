"""Turns a driver's errors into ours where the operator can do something about them."""

from __future__ import annotations

from kmtool.errors import Broken, DatabaseDamaged, InputRefused, Locked, verbatim
from kmtool.store.sqlite import sqlite3

_DAMAGE = ("malformed", "corrupt", "Could not decode")
_AGAIN = "look at the words of the command and at the file again; nothing was changed"


def translate(error: Exception, name: str) -> Exception | None:
    """Turn a driver's error into one of ours where the operator can do something about it."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        if "locked" in text or "busy" in text:
            return Locked(detail="{name} is locked by another program", name=name)
        if "disk is full" in text or "disk I/O" in text:
            return Broken(
                detail="{text}; nothing was half-written", text=text, mend="make room on the disk"
            )
        if "readonly" in text:
            return Broken(
                detail="{name}: {text}", name=name, text=text, mend="make the shop folder writable"
            )
        if "unable to open" in text:
            return DatabaseDamaged(
                name=name, detail=verbatim(text), mend="look at its path and permissions"
            )
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in text:
        return DatabaseDamaged(
            name=name, detail="it is no database", mend="put the right file there"
        )
    if isinstance(error, sqlite3.DatabaseError) and any(word in text for word in _DAMAGE):
        text = text.partition(" with text ")[0]  # what follows is what a cell holds
        return DatabaseDamaged(name=name, detail=verbatim(text))
    if type(error).__module__.startswith("psycopg") and type(error).__name__ in {
        "LockNotAvailable",
        "DeadlockDetected",
    }:
        return Locked(detail="{name}: {text}", name=name, text=text)
    return None


def is_unfit_structure(error: Exception) -> bool:
    """Tell whether a statement met tables that are not as the program made them."""
    if isinstance(error, sqlite3.OperationalError):
        return True
    return type(error).__name__ in {
        "DuplicateTable", "DuplicateObject", "DuplicateColumn", "UndefinedTable", "UndefinedColumn"
    }  # fmt: skip


def unfit(error: Exception) -> Exception | None:
    """Name a value that no column can hold; it came from outside."""
    if isinstance(error, OverflowError) or type(error).__name__ == "NumericValueOutOfRange":
        return InputRefused(detail="a number is larger than any that is kept", mend=_AGAIN)
    if isinstance(error, UnicodeEncodeError):
        return InputRefused(detail="a word holds what is no text in UTF-8", mend=_AGAIN)
    return None
