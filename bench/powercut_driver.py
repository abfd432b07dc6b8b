"""The few things of the `sqlite3` module that kmtool uses, over apsw: its writes can be recorded.

Whoever records puts this module in the place of `pysqlite3` before kmtool is imported; the product
then runs unchanged. `Hooks.on_rest` is called after statements that leave no transaction open.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import apsw

FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
LEGACY_TRANSACTION_CONTROL = -1
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))
Binary = memoryview


class Hooks:
    """What whoever records sets: the VFS, who is told that no transaction is open, and who may
    spoil a statement on purpose, to prove that a looser setting is noticed."""

    vfs = ""
    on_rest: Callable[[Connection], None] | None = None
    rewrite: Callable[[str], str] | None = None


class Warning(Exception):
    """A warning of the DB-API."""


class Error(Exception):
    """The root of the errors of the DB-API."""


class InterfaceError(Error):
    """The driver was used wrongly."""


class DatabaseError(Error):
    """The database answered with an error."""


class OperationalError(DatabaseError):
    """It is locked, full, away, or the statement is wrong."""


class IntegrityError(DatabaseError):
    """A constraint was broken."""


class ProgrammingError(DatabaseError):
    """The statement was used wrongly."""


class NotSupportedError(DatabaseError):
    """SQLite cannot do this."""


KINDS: tuple[tuple[type[Exception], type[Error]], ...] = (
    (apsw.ConstraintError, IntegrityError),
    (apsw.CorruptError, DatabaseError),
    (apsw.NotADBError, DatabaseError),
    (apsw.BindingsError, ProgrammingError),
    (apsw.Error, OperationalError),
)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = next(ours for theirs, ours in KINDS if isinstance(error, theirs))
        raise kind(str(error).partition(": ")[2] or str(error)) from error


class Cursor:
    """Rows of one statement, read at once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: Any = ()
        self.rowcount = -1
        self.lastrowid = 0
        self._rows: list[tuple[Any, ...]] = []
        self._at = 0

    def execute(self, sql: str, params: Any = ()) -> Cursor:
        raw, before = self.connection.raw, self.connection.raw.total_changes()
        cursor = raw.cursor()
        cursor.exec_trace = self._describe
        if Hooks.rewrite is not None:
            sql = Hooks.rewrite(sql)
        with _errors():
            self._rows = list(cursor.execute(sql, params or None))
        self._at = 0
        if _changes(sql):
            self.rowcount = raw.changes() if raw.total_changes() != before else 0
        self.lastrowid = raw.last_insert_rowid()
        self.connection.rest()
        return self

    def executemany(self, sql: str, rows: Iterable[Any]) -> Cursor:
        raw, count = self.connection.raw, 0
        cursor = raw.cursor()
        with _errors():
            for row in rows:
                before = raw.total_changes()
                list(cursor.execute(sql, row))
                count += raw.changes() if raw.total_changes() != before else 0
        self.rowcount = count
        self.connection.rest()
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._at = self._rows[self._at :], len(self._rows)
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        if self._at >= len(self._rows):
            return None
        self._at += 1
        return self._rows[self._at - 1]

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        rows = self._rows[self._at : self._at + size]
        self._at += len(rows)
        return rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def close(self) -> None:
        self._rows = []

    def _describe(self, cursor: Any, _sql: str, _bindings: Any) -> bool:
        self.description = tuple((name, *[None] * 6) for name, *_ in cursor.get_description())
        return True


class Connection:
    """A connection whose files are opened through the recording VFS."""

    def __init__(self, database: str, timeout: float = 5.0, **_more: Any) -> None:
        with _errors():
            self.raw = apsw.Connection(str(database), flags=FLAGS, vfs=Hooks.vfs or None)
        self.raw.set_busy_timeout(int(timeout * 1000))
        self.row_factory = None
        self.isolation_level = None

    @property
    def in_transaction(self) -> bool:
        return bool(self.raw.in_transaction)

    @property
    def total_changes(self) -> int:
        return int(self.raw.total_changes())

    def execute(self, sql: str, params: Any = ()) -> Cursor:
        return Cursor(self).execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Any]) -> Cursor:
        return Cursor(self).executemany(sql, rows)

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def backup(self, target: Connection, *, pages: int = -1, **_more: Any) -> None:
        with _errors(), target.raw.backup("main", self.raw, "main") as copying:
            while not copying.done:
                copying.step(pages)
        target.rest()

    def set_authorizer(self, ask: Any) -> None:
        self.raw.set_authorizer(ask)

    def create_function(self, name: str, narg: int, func: Any, **_more: Any) -> None:
        self.raw.create_scalar_function(name, func, narg)

    def rest(self) -> None:
        if Hooks.on_rest is not None and not self.raw.in_transaction:
            Hooks.on_rest(self)

    def close(self) -> None:
        with _errors():
            self.raw.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: object, *_more: object) -> None:
        self.rollback() if kind else self.commit()


def connect(database: str, *args: Any, **options: Any) -> Connection:
    """Open a connection as `sqlite3.connect` does."""
    return Connection(database, *args, **options)


def complete_statement(sql: str) -> bool:
    """Tell whether a text ends a statement."""
    return bool(apsw.complete(sql))


def take_the_place() -> ModuleType:
    """Let this module be `pysqlite3` for all that is imported from now on."""
    me = sys.modules[__name__]
    assert "kmtool.store.sqlite" not in sys.modules, "kmtool has chosen its SQLite already"
    me.dbapi2 = me  # type: ignore[attr-defined]
    sys.modules["pysqlite3"] = sys.modules["pysqlite3.dbapi2"] = me
    return me


def _changes(sql: str) -> bool:
    return sql.lstrip()[:7].upper().rstrip() in CHANGES or sql.lstrip()[:6].upper() in CHANGES
