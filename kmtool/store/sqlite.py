"""The one place that chooses the SQLite module, and knows which versions may checkpoint freely.

`pysqlite3` bundles a current SQLite. Versions 3.7.0–3.51.2 (but 3.44.6+ and 3.50.7+ of their lines)
can corrupt a WAL database used by two processes when a checkpoint resets the log; with such a
version automatic checkpoints are off and only the holder of the sender lock checkpoints.
"""

from __future__ import annotations

try:
    import pysqlite3.dbapi2 as sqlite3
except ImportError:  # no wheel for this platform: the standard library's
    import sqlite3

__all__ = ["MODULE", "VERSION", "checkpoints_freely", "sqlite3"]

MODULE: str = sqlite3.__name__
VERSION: str = sqlite3.sqlite_version


def checkpoints_freely(version: str = VERSION) -> bool:
    """Tell whether this SQLite may checkpoint while another process writes."""
    parts = tuple(int(p) for p in version.split("."))
    if parts >= (3, 51, 3):
        return True
    return (
        parts[:2] in {(3, 44), (3, 50)}
        and parts >= {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}[(parts[0], parts[1])]
    )
