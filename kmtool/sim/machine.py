"""A process of the simulated shop: its connection, its journal, its workers.

When it dies nothing of it is written any more, whatever its code still tries: every touch raises
`Crash` again. A process that stands still while others act is simply one whose call has not
returned yet.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kmtool.app import Means
from kmtool.journal import Journal, JournalEntry
from kmtool.sim.edges import Crash
from kmtool.store.db import Db, connect

if TYPE_CHECKING:
    from kmtool.ports import OrderFact
    from kmtool.sim.stage import Stage
    from kmtool.sim.world import Placed

BUSY_MS = 20
"""One thread plays all processes: whoever waits for a lock would wait for ever."""
WRITES = ("INSERT", "UPDATE", "DELETE")


class Process:
    """One process; `last_commit` is the sequence number of the last fact it put on the disk."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name
        self.is_alive = True
        self.last_commit = 0
        self.acted = False
        """It was troubled by a fault: what it says afterwards may be unusual."""
        self.sends = False
        """It is the sender, or was: its session stands."""
        self.taken_over = 0
        """Sequence of the commit by which another sender took over from it; 0: nobody did."""
        self.intended: dict[tuple[str, str, int], int] = {}
        """(channel, order, parcel) → the commit of its newest intent."""
        self.told: list[tuple[Placed, OrderFact]] = []
        """Orders it was told of and has not put on the disk yet."""
        self._connections: list[SimDb] = []

    def means(self) -> Means:
        """Return what a shop of this process is opened with."""
        return Means(
            self.connect,
            lambda path, number, digest: SimJournal(self, path, number, digest),
            lambda most: Workers(self, most),
        )

    def connect(self, target: str | Path) -> Db:
        """Open the database on a connection of this process."""
        self.check()
        plain = self.stage.connections.take(target) or connect(target, busy_ms=BUSY_MS)
        db = SimDb(self, plain, target)
        self._connections.append(db)
        return db

    def check(self) -> None:
        """Raise `Crash` when this process is dead."""
        if not self.is_alive:
            raise Crash

    def die(self) -> None:
        """End here: open transactions are gone, locks fall when the stack unwinds."""
        self.is_alive = False
        for db in self._connections:
            db.die()


class Connections:
    """Connections that ended are used again: a new one prepares all its statements anew.

    For the files it is the same whether a dead process's connection is closed or only rolled back:
    what it began is gone, its locks fall. They are closed before anybody touches the files of a
    database (`Stage.stop_daemon`).
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[Db]] = {}

    def take(self, target: str | Path) -> Db | None:
        """Return a connection to a database, None when there is none to this very file."""
        kept = self._kept.get(_file(target))
        return kept.pop() if kept else None

    def keep(self, target: str | Path, plain: Db) -> None:
        """Keep a connection for whoever opens that database next."""
        if plain.raw.in_transaction:
            plain.close()
            return
        self._kept.setdefault(_file(target), []).append(plain)

    def close(self) -> None:
        """Close them all."""
        for kept in self._kept.values():
            for plain in kept:
                plain.close()
        self._kept.clear()


def _file(target: str | Path) -> tuple[str, int]:
    path = Path(target)
    return str(path), path.stat().st_ino if path.exists() else 0


class _Gone:
    """What a dead process has of its connection."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Crash


class SimDb(Db):
    """A connection that may die at every transaction and find the disk full at every write."""

    def __init__(self, process: Process, plain: Db, target: str | Path) -> None:
        super().__init__(plain.raw, plain.dialect, plain.name)
        self.process = process
        self._plain_db = plain
        self._target = target
        self._changes = plain.raw.total_changes
        self._full_in = 0

    def _execute(self, sql: str, params: dict[str, object] | Sequence[object]) -> Any:
        if not self.process.is_alive:
            raise Crash
        if self._full_in and sql.lstrip().startswith(WRITES):
            self._one_more()
        return super()._execute(sql, params)

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> int:
        """Execute a statement for every row and return how many rows it touched in all."""
        self.process.check()
        if self._full_in:
            self._one_more()
        return super().many(sql, rows)

    @property
    def has_written(self) -> bool:
        """Tell whether this connection may have changed anything; the dead write nothing more."""
        self.process.check()
        return super().has_written and self.raw.total_changes > self._changes

    def close(self) -> None:
        """Close the connection, unless death closed it."""
        if self.process.is_alive and not self._closed:
            self._closed = True
            self.process.stage.connections.keep(self._target, self._plain_db)

    def die(self) -> None:
        """Let go of the file; whoever still holds this connection gets nothing from it any more."""
        if self._closed:
            return
        self._closed, self.raw = True, _Gone()
        plain = self._plain_db
        try:
            plain.raw.rollback()
        except Exception:  # noqa: BLE001  (it stands in the middle of something: it is closed)
            plain.close()
            return
        self.process.stage.connections.keep(self._target, plain)

    def _begin(self) -> None:
        stage = self.process.stage
        what = stage.edge("begin", self.process)
        super()._begin()
        self._full_in = 1 + stage.edges.random.randrange(8) if what == "full" else 0

    def _commit(self) -> None:
        stage, process = self.process.stage, self.process
        self._full_in = 0
        if stage.edge("commit before", process, may_act=False) == "full":
            raise self._full()
        super()._commit()
        process.last_commit = stage.committed(process)
        stage.edge("commit after", process)

    def _plain(self, sql: str) -> None:
        self.process.check()
        super()._plain(sql)

    def _rollback(self) -> None:
        self._full_in = 0
        self.process.told.clear()
        if self.process.is_alive:
            super()._rollback()

    def _one_more(self) -> None:
        self._full_in -= 1
        if not self._full_in:
            raise self._full()

    def _full(self) -> Exception:
        from kmtool.store.sqlite import sqlite3
        from kmtool.store.troubles import translate

        error = translate(sqlite3.OperationalError("database or disk is full"), self.name)
        assert error is not None
        return error


class SimJournal(Journal):
    """The send journal on a disk whose cache is lost when the power goes."""

    def __init__(
        self, process: Process, path: Path, number: str, digest: Callable[[bytes], str]
    ) -> None:
        super().__init__(path, number, digest)
        self._process = process
        self._written = b""

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Write entries; before, in the middle and after it something may happen."""
        self._process.check()
        if not entries:
            return
        stage = self._process.stage
        for entry in entries:
            if entry.kind == "SEND":  # its intent is committed, whatever becomes of this record
                message = (entry.channel, entry.order, entry.parcel)
                stage.begun.setdefault(message, self._process.last_commit)
        stage.edge("journal before", self._process)
        super().append(entries)
        stage.edge("journal after", self._process)

    def _parse(self, raw: bytes, number: int, part: Path) -> JournalEntry | None:
        """Read a line as the program does; the same line is not read twice in one life."""
        known = self._process.stage.lines
        if raw not in known:
            known[raw] = super()._parse(raw, number, part)
        return known[raw]

    def _put(self, file: RawIOBase, data: bytes) -> None:
        stage = self._process.stage
        what = stage.draw("journal write", self._process)
        if what:
            data = data[: stage.edges.random.randrange(len(data) + 1)]
        super()._put(file, data)
        self._written = data
        stage.disk.written(self.path, file.tell() if what else None)
        if what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        stage.strike(what, "journal write", self._process)

    def _force(self, file: RawIOBase) -> None:
        stage = self._process.stage
        if stage.edge("journal force", self._process) == "full":
            raise OSError(errno.EIO, "Input/output error")
        super()._force(file)
        stage.disk.forced(self.path)
        stage.journals[self.path] = self
        stage.journalled(self._process, _records(self._written))


def _records(data: bytes) -> list[JournalEntry]:
    """Return the records as they were written: only what was forced to the disk is on record."""
    found = []
    for line in data.splitlines():
        if line:
            row = json.loads(line)
            names = ("kind", "channel", "order", "line", "fingerprint", "session", "n", "parcel")
            found.append(JournalEntry(**{name: row[name] for name in names}))
    return found


class Disk:
    """What of the journals is really on the disk: all but what was written and not forced."""

    def __init__(self) -> None:
        self._forced: dict[Path, int] = {}

    def written(self, path: Path, _size: int | None = None) -> None:
        """A file grew; what was there before counts as forced."""

    def forced(self, path: Path) -> None:
        """Everything of a file is on the disk."""
        self._forced[path] = path.stat().st_size

    def known(self, path: Path) -> None:
        """Take a file as it lies there as forced (it was put there by a copy)."""
        if path.exists():
            self._forced[path] = path.stat().st_size

    def lose(self, choose: Callable[[int], int]) -> None:
        """The power goes: of what was not forced only a part is left, up to `choose(size)`."""
        for path, forced in sorted(self._forced.items()):
            if not path.exists():
                continue
            size = path.stat().st_size
            if size > forced:
                with path.open("rb+") as file:
                    file.truncate(forced + choose(size - forced))
            elif size < forced:
                self._forced[path] = size


class Workers(Executor):
    """Threads, played by one: what was handed in is done in an order drawn from the seed."""

    def __init__(self, process: Process, most: int) -> None:
        self._process = process
        self._most = most
        self._queue: list[tuple[_Later, Callable[[], Any]]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Take work in; some of what waits may be done right now."""
        later = _Later(self)
        self._queue.append((later, lambda: fn(*args, **kwargs)))
        while self._queue and self._process.stage.edges.random.random() < 0.3:
            self.turn()
        return later

    def turn(self) -> None:
        """Do one piece of work: any of those that could be under way."""
        window = min(self._most, len(self._queue))
        at = self._process.stage.edges.random.randrange(window) if window > 1 else 0
        later, work = self._queue.pop(at)
        if not later.set_running_or_notify_cancel():
            return
        try:
            later.set_result(work())
        except Exception as error:  # noqa: BLE001  (as a thread hands it to whoever asks)
            later.set_exception(error)
        except BaseException as error:
            later.set_exception(error)
            raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do what waits, or let it be."""
        if cancel_futures or not self._process.is_alive:
            for later, _ in self._queue:
                later.cancel()
            self._queue.clear()
        while wait and self._queue:
            self.turn()


class _Later(Future[Any]):
    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self._workers = workers

    def result(self, timeout: float | None = None) -> Any:
        self._finish()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._finish()
        return super().exception(timeout)

    def _finish(self) -> None:
        """Nobody else does the work while this one waits for it."""
        while not self.done():
            self._workers.turn()
