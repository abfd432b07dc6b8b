"""A disk that fails at the n-th write, whatever is written: the database, a file, its name.

    with Disk(folder, at=3, kind=FULL) as disk:   # from the third write on there is no room
        ...
    disk.writes                                    # how many there were

A write is: a statement that changes rows, a COMMIT, a backup of pages; a file opened for writing,
bytes written to it, an fsync, a rename, a new folder. Files outside of `folder` are left alone.

- FULL: from the n-th write on nothing can be written; of bytes the first half still arrives. The
  transaction stays open, as SQLite leaves it where the statement alone failed.
- ERROR: the n-th write alone fails with EIO, and the database has rolled back by itself.
- KILL: this process is killed at the n-th write, of which half may have arrived (bench.crash_rest).
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import io
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from kmtool.store.sqlite import sqlite3

FULL = "full"
ERROR = "error"
KILL = "kill"
_CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|REPLACE|VACUUM)\b", re.I)
_CREATES = os.O_WRONLY | os.O_RDWR


class Disk:
    """Counts the writes below a folder; from the n-th on (`at`) they fail as `kind` says."""

    def __init__(self, folder: Path, at: int = 0, kind: str = FULL) -> None:
        self.folder = str(folder.resolve())
        self.at = at
        self.kind = kind
        self.writes = 0
        self.failed: list[str] = []
        self._handles: set[int] = set()
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> Disk:
        connection = functools.partial(sqlite3.connect, factory=_connection(self))
        self._replace(sqlite3, "connect", connection)
        opened = functools.partial(self._open, io.open)
        self._replace(io, "open", opened)
        self._replace(builtins, "open", opened)
        self._replace(os, "open", functools.partial(self._os_open, os.open))
        self._replace(os, "close", functools.partial(self._os_close, os.close))
        for name in ("write", "fsync", "sendfile", "ftruncate"):
            if hasattr(os, name):
                self._replace(os, name, functools.partial(self._on_handle, name, getattr(os, name)))
        for name in ("replace", "rename", "mkdir", "link"):
            self._replace(os, name, functools.partial(self._on_name, name, getattr(os, name)))
        return self

    def __exit__(self, *_problem: object) -> None:
        self._patches.close()

    def due(self, what: str, *, needs_room: bool = True) -> bool:
        """Count a write; tell whether it fails. A rename needs no room."""
        self.writes += 1
        if self.kind == KILL and self.writes == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == FULL and not needs_room:
            return False
        hit = bool(self.at) and (
            self.writes == self.at or (self.kind == FULL and self.writes > self.at)
        )
        if hit:
            self.failed.append(what)
        return hit

    def dies_now(self) -> bool:
        """Tell whether the next write is the one that kills."""
        return self.kind == KILL and self.writes + 1 == self.at

    def problem(self, name: object = None) -> OSError:
        number = errno.ENOSPC if self.kind == FULL else errno.EIO
        return OSError(number, os.strerror(number), None if name is None else str(name))

    def _replace(self, owner: Any, name: str, new: object) -> None:
        self._patches.enter_context(mock.patch.object(owner, name, new))

    def _is_ours(self, file: object) -> bool:
        if isinstance(file, bool):
            return False
        if isinstance(file, int):
            return file in self._handles
        try:
            return str(Path(os.fsdecode(file)).absolute()).startswith(self.folder)  # type: ignore[arg-type]
        except TypeError:
            return False

    def _open(
        self, real: Any, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None,
        errors: Any = None, newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or not self._is_ours(file):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int) and set(mode) & set("wax") and self.due(f"open {file}"):
            raise self.problem(file)
        raw = _File(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        self._handles.add(raw.fileno())
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

    def _os_open(self, real: Any, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        ours = bool(flags & _CREATES) and self._is_ours(path)
        if ours and flags & os.O_CREAT and self.due(f"open {path}"):
            raise self.problem(path)
        handle: int = real(path, flags, *rest, **more)
        if ours:
            self._handles.add(handle)
        return handle

    def _os_close(self, real: Any, handle: int) -> None:
        self._handles.discard(handle)
        real(handle)

    def _on_handle(self, name: str, real: Any, handle: int, *rest: Any, **more: Any) -> Any:
        if handle in self._handles and self.due(name):
            if name == "write":
                real(handle, rest[0][: len(rest[0]) // 2])
            raise self.problem()
        return real(handle, *rest, **more)

    def _on_name(self, name: str, real: Any, path: Any, *rest: Any, **more: Any) -> Any:
        is_new = not (name == "mkdir" and Path(os.fsdecode(path)).is_dir())
        room = name in {"mkdir", "link"}
        if self._is_ours(path) and is_new and self.due(f"{name} {path}", needs_room=room):
            raise self.problem(path)
        return real(path, *rest, **more)


class _File(io.FileIO):
    """A file on that disk: half of what meets the end of the room still arrives."""

    def __init__(self, disk: Disk, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self.disk = disk
        self.told = file
        super().__init__(file, mode, closefd, opener)

    def write(self, data: Any) -> int:
        if self.disk.dies_now():
            super().write(bytes(data)[: len(data) // 2])
        if self.disk.due(f"write {self.told}"):
            super().write(bytes(data)[: len(data) // 2])
            raise self.disk.problem(self.told)
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            self.disk._handles.discard(self.fileno())
        super().close()


def _connection(disk: Disk) -> type:
    """Return a connection of SQLite whose file lies on that disk."""

    class Connection(sqlite3.Connection):  # type: ignore[misc]
        def __init__(self, database: Any, *rest: Any, **more: Any) -> None:
            super().__init__(database, *rest, **more)
            self.on_disk = database != ":memory:" and disk._is_ours(database)

        def execute(self, sql: str, *rest: Any) -> Any:
            if sql == "COMMIT" or _CHANGES.search(_bare(sql)):
                self._may_fail(sql)
            return super().execute(sql, *rest)

        def executemany(self, sql: str, *rest: Any) -> Any:
            self._may_fail(sql)
            return super().executemany(sql, *rest)

        def backup(self, *rest: Any, **more: Any) -> None:
            self._may_fail("backup")
            super().backup(*rest, **more)

        def _may_fail(self, sql: str) -> None:
            if not self.on_disk or not disk.due(" ".join(sql.split())[:60]):
                return
            if self.in_transaction and (disk.kind == ERROR or sql == "COMMIT"):
                super().execute("ROLLBACK")
            told = "database or disk is full" if disk.kind == FULL else "disk I/O error"
            raise sqlite3.OperationalError(told)

    return Connection


@functools.lru_cache(maxsize=4096)
def _bare(sql: str) -> str:
    """Return a statement without what stands in quotes; PRAGMA and locks change no rows."""
    words = sql.split(None, 1)
    if words and words[0].upper() in {"PRAGMA", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK"}:
        return ""
    bare = re.sub(r"'[^']*'|\bFOR UPDATE\b|\bDO UPDATE\b", "", sql)
    return "" if words and words[0].upper() == "SELECT" else bare


def left_over(folder: Path) -> Iterator[Path]:
    """Yield files that only exist while something is written."""
    for path in folder.rglob("*"):
        if path.is_file() and re.search(r"\.(part|new|tmp|trial)$|^\.~|\.part\.", path.name):
            yield path
