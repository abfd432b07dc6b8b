"""One small database class with two drivers: SQLite (embedded) and PostgreSQL (shared).

SQL is written once, in the subset both share, with named `:params`. Tokens stand for the few
differences: `{lock}` and `{skip_locked}` (row locks, empty on SQLite), and in DDL `{id}`, `{int}`,
`{blob}`, `{text}`, `{strict}`. Operations open transactions; store functions never do.

- One business fact = one `with db.tx():`. On SQLite that is BEGIN IMMEDIATE with synchronous=FULL:
  when it returns, the fact is on the disk.
- Inside `with db.rehearsal():` every transaction becomes a savepoint and all is undone at the end.
- Rows are dicts. A busy database is `Locked`; the first error ends the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn, Protocol

from kmtool.errors import (
    Broken,
    DatabaseAway,
    DatabaseDamaged,
    ExtraMissing,
    NotSetUp,
    verbatim,
)
from kmtool.store.sqlite import checkpoints_freely, sqlite3
from kmtool.store.sqltext import TOKENS as TOKENS
from kmtool.store.sqltext import Dialect as Dialect
from kmtool.store.sqltext import Row as Row
from kmtool.store.sqltext import filled, inserting, listing, prepared
from kmtool.store.sqltext import in_clause as in_clause
from kmtool.store.sqltext import render as render
from kmtool.store.sqltext import values_clause as values_clause
from kmtool.store.troubles import translate as translate
from kmtool.store.troubles import unfit

STATEMENTS = 512
"""How many prepared statements a connection keeps: a list of another length is another one."""
PART = 500
"""How many values `all_in` and `run_in` name in one statement."""
ROWS = 100
"""How many rows `Db.insert` puts into one statement."""
_FIRST = itemgetter(0)
KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


class Moved(Exception):
    """A compare-and-set of several rows met some that were no longer where they had been read."""


def all_moved(count: int, wanted: int) -> None:
    """Raise `Moved` unless a compare-and-set touched all the rows it was meant for."""
    if count != wanted:
        raise Moved(f"{count} of {wanted}")


class _Cursor(Protocol):
    description: Any
    rowcount: int

    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...


class Db:
    """A connection of one thread. Use `connect()`; close it when done."""

    def __init__(self, raw: Any, dialect: Dialect, name: str) -> None:
        self.raw = raw
        self.dialect: Dialect = dialect
        self.name = name
        self._depth = 0
        self._rehearsing = False
        self._closed = False
        self._lost = False
        """Whether SQLite took back the open transaction by itself (a full disk, a read error)."""

    def all(self, sql: str, **params: object) -> list[Row]:
        """Return all rows."""
        return self._rows(self._execute(sql, params))

    def one(self, sql: str, **params: object) -> Row | None:
        """Return the first row, or None."""
        cursor = self._execute(sql, params)
        try:
            row = cursor.fetchone()
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)
        if row is None:
            return None
        return dict(zip(map(_FIRST, cursor.description), row, strict=True))

    def value(self, sql: str, **params: object) -> Any:
        """Return the first column of the first row, or None."""
        cursor = self._execute(sql, params)
        try:
            row = cursor.fetchone()
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)
        return None if row is None else row[0]

    def insert(
        self, head: str, row: str, rows: Sequence[Mapping[str, object]], tail: str = ""
    ) -> int:
        """Insert rows, many by one statement: `head` … VALUES `row`, `row`, … `tail`; return how
        many. `row` is such as `(:line_id, 'reserved', :at)`, with two parameters at least."""
        return sum(cursor.rowcount for cursor in self._inserted(head, row, rows, tail))

    def insert_all(
        self, head: str, row: str, rows: Sequence[Mapping[str, object]], tail: str
    ) -> list[Row]:
        """Insert rows as `insert` does and return what the `tail` says (RETURNING …)."""
        found: list[Row] = []
        for cursor in self._inserted(head, row, rows, tail):
            found += self._rows(cursor)
        return found

    def run(self, sql: str, **params: object) -> int:
        """Execute a statement and return how many rows it touched."""
        return self._execute(sql, params).rowcount

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> int:
        """Execute a statement for every row and return how many rows it touched in all."""
        text, names = prepared(sql, self.dialect)
        with self._errors():
            if self._lost:
                raise self._taken_back()
            if self.dialect == "sqlite":
                pick = itemgetter(*names) if len(names) > 1 else _single(names[0])
                return int(self.raw.executemany(text, map(pick, rows)).rowcount)
            with self.raw.cursor() as cursor:
                cursor.executemany(text, list(rows))
                return int(cursor.rowcount)

    @property
    def in_tx(self) -> bool:
        """Tell whether a transaction is open (an outside call is forbidden then)."""
        return self._depth > 0

    @property
    def rehearsing(self) -> bool:
        """Tell whether all that happens now will be undone (`--dry-run`)."""
        return self._rehearsing

    def tx(self) -> AbstractContextManager[None]:
        """Open a transaction; commit at the end, roll back on any exception. Never nested."""
        assert self._depth == 0 or self._rehearsing, "transactions do not nest"
        return self._savepoint() if self._rehearsing else _Transaction(self)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undo at the end what the transactions inside do; the caller skips outside effects."""
        self._plain("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False
            self._rollback()

    @property
    def has_written(self) -> bool:
        """Tell whether this connection may have changed anything (PostgreSQL does not count)."""
        if self._closed:
            return False
        return self.dialect == "postgresql" or self.raw.total_changes > 0

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self.raw.close()

    def _execute(self, sql: str, params: dict[str, object] | Sequence[object]) -> _Cursor:
        """Execute; `params` by name, or by place for a text that is the driver's own already."""
        text, given = sql, params
        if type(params) is dict:
            text, names = prepared(sql, self.dialect)
            given = params if self.dialect == "postgresql" else [params[name] for name in names]
        if self._lost:
            raise self._taken_back()
        try:
            cursor: _Cursor = self.raw.execute(text, given)
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)
        return cursor

    def _inserted(
        self, head: str, row: str, rows: Sequence[Mapping[str, object]], tail: str
    ) -> Iterator[_Cursor]:
        """Values go by place: naming thousands of them costs as much as inserting them."""
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            text, names = inserting(head, row, len(some), tail, self.dialect)
            yield self._execute(text, list(chain.from_iterable(map(itemgetter(*names), some))))

    def _rows(self, cursor: _Cursor) -> list[Row]:
        try:
            rows = cursor.fetchall()
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)
        if not rows:
            return []
        names = [column[0] for column in cursor.description]
        return list(map(dict, map(zip, repeat(names), rows)))

    def _begin(self) -> None:
        self._plain("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")

    def _commit(self) -> None:
        """When this returns, the fact is on the disk."""
        self._plain("COMMIT")

    def _end(self) -> None:
        """Keep what the transaction did, or nothing of it."""
        try:
            if self._lost:
                raise self._taken_back()
            self._commit()
        except BaseException:
            self._rollback()
            raise

    def _plain(self, sql: str) -> None:
        try:
            self.raw.execute(sql)
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)

    def _taken_back(self) -> Broken:
        """What follows would be kept statement by statement: half of a business fact."""
        return Broken(
            detail="the database took back what was begun; nothing of it was kept",
            where=self.name,
            mend="make room on the disk, then repeat the command",
        )

    def _rollback(self) -> None:
        self._lost = False
        if self.dialect == "sqlite" and not self.raw.in_transaction:
            return
        self._plain("ROLLBACK")

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._depth += 1
        self._plain("SAVEPOINT rehearsal")
        try:
            yield
            self._plain("RELEASE SAVEPOINT rehearsal")
        except BaseException:
            if not self._lost:
                self._plain("ROLLBACK TO SAVEPOINT rehearsal")
                self._plain("RELEASE SAVEPOINT rehearsal")
            raise
        finally:
            self._depth -= 1

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (raised again, by our name)
            self._raise(error)

    def _raise(self, error: Exception) -> NoReturn:
        """Raise our error for a driver's where there is one, else the driver's."""
        if self.dialect == "sqlite" and (self._depth or self._rehearsing):
            self._lost = not self.raw.in_transaction
        known = translate(error, self.name) or unfit(error)
        if known is None and self.dialect == "postgresql" and self.raw.closed:
            reason = str(error).strip().partition("\n")[0]
            known = DatabaseAway(who=self.name, detail=verbatim(reason))
        if known is None:
            raise error
        raise known from error


class _Transaction:
    """What `with db.tx():` enters: as a class, for it is entered all the time."""

    __slots__ = ("_db",)

    def __init__(self, db: Db) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db._begin()
        self._db._depth += 1

    def __exit__(self, kind: type[BaseException] | None, *_more: object) -> None:
        self._db._depth -= 1
        if kind is None:
            self._db._end()
        else:
            self._db._rollback()


def is_duplicate(error: Exception) -> bool:
    """Tell whether an error is a broken UNIQUE constraint."""
    if isinstance(error, sqlite3.IntegrityError):
        return "UNIQUE" in str(error)
    return type(error).__name__ == "UniqueViolation"


def connect(target: str | Path, *, create: bool = False, busy_ms: int = 10_000) -> Db:
    """Open a database: a path is SQLite, a `postgresql://` address is PostgreSQL."""
    if isinstance(target, str) and target.startswith(("postgresql://", "postgres://")):
        return _connect_postgresql(target)
    return _connect_sqlite(Path(target), create=create, busy_ms=busy_ms)


def _connect_sqlite(path: Path, *, create: bool, busy_ms: int) -> Db:
    if not create and not path.exists():
        raise NotSetUp(detail="no database at {path}", path=path)
    if not create and path.is_file() and not path.stat().st_size:
        raise DatabaseDamaged(name=path.name, detail="the file is empty")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        raw = sqlite3.connect(
            str(path),
            isolation_level=None,
            timeout=busy_ms / 1000,
            cached_statements=STATEMENTS,
        )
    except sqlite3.OperationalError as error:
        mend = "look at its path and permissions"
        raise DatabaseDamaged(name=path, detail=verbatim(error), mend=mend) from None
    db = Db(raw, "sqlite", path.name)
    with db._errors():
        for pragma in (
            f"busy_timeout = {busy_ms}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            "cache_size = -65536",
            "temp_store = MEMORY",
        ):
            raw.execute(f"PRAGMA {pragma}")
        if not checkpoints_freely():
            raw.execute("PRAGMA wal_autocheckpoint = 0")
    return db


def _connect_postgresql(address: str) -> Db:
    try:
        import psycopg
    except ImportError:
        raise ExtraMissing(what="PostgreSQL", package="psycopg[binary]") from None
    try:
        raw = psycopg.connect(address, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise NotSetUp(detail="PostgreSQL does not answer: {reason}", reason=reason) from None
    raw.execute("SET TIME ZONE 'UTC'")
    raw.execute("SET lock_timeout = '10s'")
    for name, seconds in KEEPALIVE.items():  # locks of a machine without power fall soon
        raw.execute(f"SET {name} = {seconds}")
    raw.prepare_threshold = 3
    return Db(raw, "postgresql", "the PostgreSQL database")


def all_in(db: Db, sql: str, values: Sequence[object], **params: object) -> list[Row]:
    """Return the rows of a query whose `{in}` stands for a list of any length (part by part)."""
    found: list[Row] = []
    for text, given in _listed(db, sql, values, params):
        found += db._rows(db._execute(text, given))
    return found


def run_in(db: Db, sql: str, values: Sequence[object], **params: object) -> int:
    """Execute a statement whose `{in}` stands for a list of any length; return the rows touched."""
    return sum(db._execute(*one).rowcount for one in _listed(db, sql, values, params))


def _listed(
    db: Db, sql: str, values: Sequence[object], params: Mapping[str, object]
) -> Iterator[tuple[str, list[object]]]:
    """Yield a statement for each part of a list, with its values by place."""
    for start in range(0, len(values), PART):
        some = values[start : start + PART]
        size = filled(len(some))
        text, before, after = listing(sql, size, db.dialect)
        more = [some[-1]] * (size - len(some))
        yield (
            text,
            [*map(params.__getitem__, before), *some, *more, *map(params.__getitem__, after)],
        )


def _single(name: str) -> Callable[[Mapping[str, object]], tuple[object]]:
    return lambda row: (row[name],)
