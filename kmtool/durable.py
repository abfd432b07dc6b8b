"""Keeps names on the disk: a synced file may lose its new name in a power cut until its folder is
synced too. What has to be found again afterwards (master key, send journal, backups) calls this."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_CANNOT = frozenset({errno.EINVAL, errno.ENOTSUP})


def keep_name(path: Path) -> None:
    """Force the folder of a new or renamed file to the disk; file systems that cannot are left."""
    if os.name != "posix":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(folder)
