"""Records, in one order, what a shop writes: SQLite's files by a VFS, all others by their fsyncs.

An operation is a tuple; files are told by a number, as names may change:

    ("w", file, offset, bytes)   ("t", file, size)   ("s", file)        written, cut, synced
    ("+", name, file)  ("-", name)  (">", old, new)  ("d", folder)      names, and a synced folder
    ("m", {...})                                                        a mark: what is known by now

Folders count as durable when they are made. Shared memory (`-shm`) and lock files hold nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from bench import powercut_driver as driver

Op = tuple[Any, ...]
VFS = "tape"
LOG = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NAMES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
PAGE = 4096
TICK_NS = 20_000_000
STAY_DIRTY = 3


def image_hash(image: bytes | bytearray) -> str:
    """Return a hash of a database's pages, but for what only tells how often it was written."""
    head = bytearray(image[:100])
    for start, end in ((18, 20), (24, 28), (92, 100)):
        head[start:end] = bytes(end - start)
    found = hashlib.sha256(bytes(head))
    found.update(memoryview(image)[100:])
    return found.hexdigest()[:32]


@dataclass
class Recording:
    """A finished tape: the files at its beginning, the operations, the images after each commit."""

    files: dict[str, int]
    contents: dict[int, bytes]
    ops: list[Op]
    images: list[str]
    blocks: dict[str, list[bytes]] = field(default_factory=dict)
    """Each image in blocks; those that are equal are one object."""

    def image(self, found: str) -> bytes:
        """Return the pages of an image."""
        return b"".join(self.blocks[found])


class Tape:
    """What happens below one folder, from now on."""

    def __init__(self, root: Path, live: str) -> None:
        self.root = root
        self.live = live
        self.ops: list[Op] = []
        self.images: list[str] = []
        self.blocks: dict[str, list[bytes]] = {}
        self._known: dict[bytes, bytes] = {}
        self.sqlite: Counter[int] = Counter()
        self.names: dict[str, int] = {}
        self.contents: dict[int, bytearray] = {}
        self.skip_sync: tuple[str, ...] = ()
        self._looked: dict[int, tuple[int, int]] = {}
        self._dirty = STAY_DIRTY
        self._busy = False
        self._written = self._count = 0
        self._numbers: dict[int, int] = {}
        self.scan()
        self.first = dict(self.names)
        self.begun = {number: bytes(body) for number, body in self.contents.items()}
        self.ops.clear()

    def start(self) -> None:
        """Begin to listen: SQLite, opened files, fsyncs."""
        self._vfs = _Vfs(self)
        driver.Hooks.vfs = VFS
        driver.Hooks.on_rest = self._rest
        sys.addaudithook(self._heard)
        self._fsync = os.fsync
        os.fsync = self._synced  # type: ignore[assignment]

    def recording(self) -> Recording:
        """Return all of it."""
        self.scan()
        return Recording(self.first, self.begun, self.ops, self.images, self.blocks)

    def mark(self, kind: str, **what: Any) -> None:
        """Note something that is known outside from now on."""
        self.look()
        self.ops.append(("m", {"kind": kind, "at_image": len(self.images) - 1, **what}))

    def look(self) -> None:
        """Look for changes beside SQLite when something may have changed."""
        if self._dirty:
            found = self.scan()
            self._dirty = STAY_DIRTY if found else self._dirty - 1

    def scan(self) -> bool:
        """Compare names and contents with what is known; record the differences."""
        if self._busy:
            return False
        self._busy = True
        try:
            before = len(self.ops)
            self._scan_names()
            for name, number in self.names.items():
                if not self.sqlite[number]:
                    self._scan_file(name, number)
            return len(self.ops) != before
        finally:
            self._busy = False

    def write(self, number: int, data: bytes, offset: int) -> None:
        """Note what SQLite writes."""
        body = self.contents[number]
        if len(body) < offset + len(data):
            body.extend(bytes(offset + len(data) - len(body)))
        body[offset : offset + len(data)] = data
        self.ops.append(("w", number, offset, data))
        self._written += 1

    def cut(self, number: int, size: int) -> None:
        """Note what SQLite cuts off."""
        body = self.contents[number]
        if size < len(body):
            del body[size:]
        else:
            body.extend(bytes(size - len(body)))
        self.ops.append(("t", number, size))

    def inside(self, name: str) -> str | None:
        """Return the name of a file below the folder, None when it holds nothing to keep."""
        path = Path(name)
        if not path.is_relative_to(self.root) or name.endswith("-shm"):
            return None
        relative = path.relative_to(self.root).as_posix()
        return None if "/locks/" in f"/{relative}" else relative

    def _scan_names(self) -> None:
        found: dict[str, int] = {}
        inodes: dict[int, int] = {}
        for folder, folders, files in os.walk(self.root):
            folders[:] = [one for one in folders if one != "locks"]
            for one in files:
                path = os.path.join(folder, one)  # noqa: PTH118  (a thousand times a second)
                name = self.inside(path)
                if name is not None:
                    found[name] = inodes[self._inode(path)] = self.number(path)
        gone = {number: name for name, number in self.names.items() if found.get(name) != number}
        for name, number in found.items():
            if self.names.get(name) == number:
                continue
            if number in gone:
                self.ops.append((">", gone[number], name))
                self.names.pop(gone[number], None)
            else:
                self.ops.append(("+", name, number))
                self.contents[number] = bytearray()
            self.names[name] = number
        for name in [name for name in self.names if name not in found]:
            self.ops.append(("-", name))
            del self.names[name]
        self._numbers = inodes

    def _inode(self, path: str) -> int:
        return os.stat(path).st_ino  # noqa: PTH116

    def number(self, path: str) -> int:
        """Return our number of a file: the system uses its own again after a removal."""
        inode = self._inode(path)
        if inode not in self._numbers:
            self._count += 1
            self._numbers[inode] = self._count
        return self._numbers[inode]

    def _scan_file(self, name: str, number: int) -> None:
        path = self.root / name
        info = path.stat()
        signature = (info.st_size, info.st_mtime_ns)
        old = self.contents[number]
        if self._looked.get(number) == signature:
            return
        new = path.read_bytes()
        if old != new:
            same = _common(old, new)
            if len(new) < len(old):
                self.ops.append(("t", number, len(new)))
            if same < len(new):
                self.ops.append(("w", number, same, new[same:]))
            self.contents[number] = bytearray(new)
        if time.time_ns() - info.st_mtime_ns > TICK_NS:  # else it may change within the same tick
            self._looked[number] = signature

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy:
            return
        if event == "open":
            if not isinstance(args[2], int) or not args[2] & WRITES:
                return
        elif event not in NAMES:
            return
        if isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(str(self.root)):
            self.scan()
            self._dirty = STAY_DIRTY

    def _synced(self, handle: int) -> None:
        self.scan()
        info = os.fstat(handle)
        self._fsync(handle)
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        if path.endswith(self.skip_sync or ("\0",)):
            return
        if stat.S_ISDIR(info.st_mode):
            self.ops.append(("d", _folder(path, self.root)))
        elif info.st_ino in self._numbers:
            self.ops.append(("s", self._numbers[info.st_ino]))

    def note_image(self, connection: driver.Connection) -> None:
        """Take the database as it is for the first image."""
        self._written += 1
        self._rest(connection)

    def _rest(self, connection: driver.Connection) -> None:
        """A statement ended without an open transaction: what was written is acknowledged."""
        name = connection.raw.filename
        if not self._written or self.inside(name) != self.live:
            return
        self._written = 0
        image = connection.raw.serialize("main")
        found = image_hash(image)
        if not self.images or self.images[-1] != found:
            self.images.append(found)
            blocks = (image[at : at + PAGE] for at in range(0, len(image), PAGE))
            self.blocks[found] = [self._known.setdefault(block, block) for block in blocks]
            self.mark("commit")


class _Vfs(apsw.VFS):
    """The system's own VFS, but it tells what it does."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(VFS, "")
        self.tape = tape

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = name.filename() if hasattr(name, "filename") else name
        inside = self.tape.inside(path) if path else None
        if inside is None:
            return apsw.VFSFile("", name, flags)
        self.tape.scan()
        file = _File("", name, flags)
        file.tape, file.path = self.tape, path
        file.number = self.tape.number(path)
        file.new_log = bool(flags[0] & LOG and flags[0] & apsw.SQLITE_OPEN_CREATE)
        self.tape.sqlite[file.number] += 1
        self.tape.scan()
        return file

    def xDelete(self, name: str, syncdir: bool) -> None:
        self.tape.scan()
        super().xDelete(name, syncdir)
        if self.tape.inside(name):
            self.tape.scan()
            if syncdir:
                self.tape.ops.append(("d", _folder(str(Path(name).parent), self.tape.root)))


class _File(apsw.VFSFile):
    """A file of SQLite."""

    tape: Tape
    path: str
    number: int
    new_log: bool

    def xWrite(self, data: bytes, offset: int) -> None:
        self.tape.look()
        super().xWrite(data, offset)
        self.tape.write(self.number, bytes(data), offset)

    def xTruncate(self, size: int) -> None:
        self.tape.look()
        super().xTruncate(size)
        self.tape.cut(self.number, size)

    def xSync(self, flags: int) -> None:
        self.tape.look()
        super().xSync(flags)
        self.tape.ops.append(("s", self.number))
        if self.new_log:  # the first sync of a new journal or log keeps its name too
            self.new_log = False
            self.tape.ops.append(("d", _folder(str(Path(self.path).parent), self.tape.root)))

    def xClose(self) -> None:
        self.tape.sqlite[self.number] -= 1
        super().xClose()


def _folder(path: str, root: Path) -> str:
    found = Path(path)
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else ""


def _common(old: bytes | bytearray, new: bytes) -> int:
    if new.startswith(bytes(old)):
        return len(old)
    end = min(len(old), len(new))
    return next((n for n in range(end) if old[n] != new[n]), end)
