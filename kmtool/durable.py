"""Keeps names on the disk: a synced file may lose its new name in a power cut until its folder is
synced too. What has to be found again afterwards (master key, send journal, backups) calls this.

Small files are written whole or not at all: nothing cut ever lies under a file's own name."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kmtool.errors import Broken

_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_FAILS = frozenset({errno.EIO, errno.EROFS})
_OURS = re.compile(r"\.(?:[0-9a-f]{8}|[0-9]+)\.part$")
KILLED_S = 600
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


def trouble(problem: Exception, where: str = "") -> Broken | None:
    """Return what to say of a disk that is full, cannot be written or fails; None: it is no such.

    `where` stands for the file where the system does not name one.
    """
    if not isinstance(problem, OSError) or problem.errno not in _NO_ROOM | _FAILS:
        return None
    name = str(problem.filename2 or problem.filename or where)
    if problem.errno in _FAILS:
        return Broken(
            detail="the disk cannot be written ({reason})",
            reason=problem.strerror or problem,
            where=name,
            mend="look after the disk, then repeat the command; after that: kmtool doctor",
        )
    return Broken(
        detail="the disk is full; nothing was half-written",
        where=name,
        mend="make room on the disk, then repeat the command",
    )


def write_whole(path: Path, data: bytes, *, private: bool = False) -> Path:
    """Write a file beside its place, force it to the disk and give it its name; or leave nothing.

    `private`: only its owner reads it. A file of that name is replaced.
    """
    return _whole(path, lambda partial: _fill(partial, data), private=private)


def copy_whole(source: Path, path: Path, *, private: bool = False) -> Path:
    """Copy a file in the same way: whole under its name, or not at all."""
    return _whole(path, lambda partial: _copied(source, partial), private=private)


def _whole(path: Path, fill: Callable[[Path], None], *, private: bool) -> Path:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        mode = 0o600 if private else 0o666
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        sweep(partial)
        fill(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    keep_name(path)
    return path


def partial_of(path: Path) -> Path:
    """Return under which name this process writes a file; a killed one's is swept later."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def sweep(partial: Path) -> None:
    """Remove what killed processes left in this folder, long before this partial file began."""
    now = partial.stat().st_mtime
    for left in partial.parent.glob(".*.part"):
        with suppress(OSError):
            if _OURS.search(left.name) and left.stat().st_mtime < now - KILLED_S:
                left.unlink()


def _fill(partial: Path, data: bytes) -> None:
    partial.write_bytes(data)


def _copied(source: Path, partial: Path) -> None:
    shutil.copyfile(source, partial)
