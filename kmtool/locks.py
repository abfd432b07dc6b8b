"""Locks that die with their process: OS file locks, never a file that merely exists."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO


class FileLock:
    """An exclusive lock on a file. The operating system frees it when the process ends, however."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process (or another FileLock here) holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(handle, "r+b")
        if not _lock(file):
            file.close()
            return False
        self._file = file
        return True

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back. `remove` deletes the file too (only for names used once)."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if remove and sys.platform != "win32":
            self.path.unlink(missing_ok=True)  # before it is free: nobody locks a name that goes
        file.close()
        if remove and sys.platform == "win32":
            with contextlib.suppress(OSError):  # an open file cannot go there: somebody looks
                self.path.unlink(missing_ok=True)

    @property
    def held(self) -> bool:
        """Tell whether we hold it."""
        return self._file is not None


def _lock(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
