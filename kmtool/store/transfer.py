"""Carries all rows of a shop from one database to another, of either kind, and compares them.

Tables go in the order of their references, in chunks, inside one transaction of the target: it has
all or nothing. Numbers that were given out once are never given out again there (identity
sequences). Triggers rest meanwhile: what they would do was done at the source. Tables that somebody
added beside ours stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from kmtool.store import maintenance
from kmtool.store.db import Db, Row

CHUNK = 2_000
_PRIME = 1_000_003
_BOOKKEEPING = "_sqlite_migrations"
Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it holds: `int`, `text` or `blob`."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared of a table: rows, and one sum (two for numbers) per column."""

    table: str
    rows: int
    sums: tuple[int, ...]


@cache
def tables() -> tuple[str, ...]:
    """Return our tables, each after those that it points at."""
    with closing(maintenance.fresh()) as made:
        names = {
            name.removeprefix("table ")
            for name in maintenance.structure(made)
            if name.startswith("table ")
        }
        parents = {
            name: {row["table"] for row in made.all(f'PRAGMA foreign_key_list("{name}")')} - {name}
            for name in sorted(names)
        }
    ordered: list[str] = []
    while parents:
        ready = [name for name, above in parents.items() if not above - set(ordered)]
        assert ready, f"tables point at each other in a ring: {sorted(parents)}"
        for name in ready:
            ordered.append(name)
            del parents[name]
    return tuple(ordered)


@contextmanager
def snapshot(db: Db) -> Iterator[None]:
    """Let all reads see one moment; nothing can be written meanwhile."""
    read_only = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    db.run(read_only if db.dialect == "postgresql" else "BEGIN")
    try:
        yield
    finally:
        db.run("ROLLBACK")


def is_empty(db: Db) -> bool:
    """Tell whether nobody set up a shop in a database that has our tables."""
    return not any(
        db.value(f'SELECT 1 FROM "{name}" LIMIT 1') for name in ("meta", "keys", "orders", "audit")
    )


def figures(db: Db, table: str) -> Figures:
    """Count and sum a table in a way that both databases agree on."""
    terms = ["count(*)"]
    for column in columns(db, table):
        name = f'"{column.name}"'
        if column.kind == "int":
            terms += [f"sum({name} % {_PRIME})", f"sum(({name} / {_PRIME}) % {_PRIME})"]
        else:
            terms.append(f"sum(length({name}))")
    asked = ", ".join(f"CAST(coalesce({t}, 0) AS BIGINT) AS f{n}" for n, t in enumerate(terms))
    row = db.one(f'SELECT {asked} FROM "{table}"')
    assert row is not None
    found = [int(value) for value in row.values()]
    return Figures(table, found[0], tuple(found[1:]))


def carry(source: Db, target: Db, progress: Progress) -> Iterator[str]:
    """Copy every table inside the open transactions of both; yield the names as they are done.

    Rows of the target go first. Call `sequences` afterwards.
    """
    names = list(tables())
    resting = _rest_triggers(target, names)
    for name in reversed(names):
        target.run(f'DELETE FROM "{name}"')
    for name in names:
        _carry(source, target, name, progress)
        yield name
    _wake_triggers(target, names, resting)
    if target.dialect == "sqlite":
        assert not maintenance.foreign_keys(target), "a row points at nothing"


def sequences(source: Db, target: Db) -> int:
    """Go on counting where the source stopped; return how many tables count."""
    given = _given_out(source)
    for table, value in given.items():
        if target.dialect == "sqlite":
            target.run("DELETE FROM sqlite_sequence WHERE name = :t", t=table)
            target.run("INSERT INTO sqlite_sequence (name, seq) VALUES (:t, :v)", t=table, v=value)
            continue
        column = _identity(target, table)
        target.value(
            "SELECT setval(pg_get_serial_sequence(:t, :c), CAST(:v AS BIGINT), :called)",
            t=table, c=column, v=max(1, value), called=value > 0,
        )  # fmt: skip
    return len(given)


def columns(db: Db, table: str) -> list[Column]:
    """Return the columns of a table, in their order by name."""
    if db.dialect == "sqlite":
        kinds = {"INTEGER": "int", "TEXT": "text", "BLOB": "blob"}
        found = [Column(row["name"], kinds[row["type"].upper()])
                 for row in db.all(f'PRAGMA table_info("{table}")')]  # fmt: skip
    else:
        kinds = {"bigint": "int", "integer": "int", "text": "text", "bytea": "blob"}
        rows = db.all(
            "SELECT column_name AS name, data_type AS type FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = :t",
            t=table,
        )
        found = [Column(row["name"], kinds[row["type"]]) for row in rows]
    return sorted(found, key=lambda column: column.name)


def _carry(source: Db, target: Db, table: str, progress: Progress) -> None:
    names = [column.name for column in columns(target, table)]
    listed = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join(f":{name}" for name in names)
    key = ", ".join(f'"{name}"' for name in _primary_key(target, table))
    total = int(source.value(f'SELECT count(*) FROM "{table}"'))
    insert = f'INSERT INTO "{table}" ({listed}) VALUES ({marks})'
    sql = f'SELECT {listed} FROM "{table}" ORDER BY {key}'
    with closing(_chunks(source, sql, names)) as chunks:  # its cursor goes before the connection
        for chunk in progress(chunks, table, -(-total // CHUNK)) if total > CHUNK else chunks:
            target.many(insert, chunk)


def _chunks(db: Db, sql: str, names: list[str]) -> Generator[list[Row], None, None]:
    """Yield rows in chunks without holding them all; on PostgreSQL through a server's cursor."""
    cursor = db.raw.cursor(name="carry") if db.dialect == "postgresql" else db.raw.cursor()
    try:
        cursor.execute(sql)
        while rows := cursor.fetchmany(CHUNK):
            yield [dict(zip(names, row, strict=True)) for row in rows]
    finally:
        cursor.close()


def _primary_key(db: Db, table: str) -> list[str]:
    if db.dialect == "sqlite":
        rows = [row for row in db.all(f'PRAGMA table_info("{table}")') if row["pk"]]
        return [row["name"] for row in sorted(rows, key=lambda row: int(row["pk"]))]
    rows = db.all(
        "SELECT a.attname AS name FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indisprimary AND t.relname = :t"
        " AND t.relnamespace = current_schema()::regnamespace"
        " ORDER BY array_position(i.indkey::int2[], a.attnum)",
        t=table,
    )
    return [row["name"] for row in rows]


def _rest_triggers(db: Db, names: list[str]) -> list[Row]:
    """Let triggers rest; on SQLite they are dropped and made again from their own text."""
    if db.dialect == "postgresql":
        for name in names:
            db.run(f'ALTER TABLE "{name}" DISABLE TRIGGER USER')
        return []
    found = db.all("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    for row in found:
        db.run(f'DROP TRIGGER "{row["name"]}"')
    return found


def _wake_triggers(db: Db, names: list[str], resting: list[Row]) -> None:
    if db.dialect == "postgresql":
        for name in names:
            db.run(f'ALTER TABLE "{name}" ENABLE TRIGGER USER')
    for row in resting:
        db.raw.execute(row["sql"])


def _given_out(db: Db) -> dict[str, int]:
    """Return table → the highest number that was ever given out."""
    if db.dialect == "sqlite":
        rows = db.all("SELECT name, seq FROM sqlite_sequence")
        found = {str(row["name"]): int(row["seq"]) for row in rows}
        counting = db.all(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
        )
        ours = {str(row["name"]): found.get(str(row["name"]), 0) for row in counting}
        ours.pop(_BOOKKEEPING, None)
        return {name: ours[name] for name in sorted(ours)}
    found = {}
    for table in tables():
        column = _identity(db, table)
        if column:
            sequence = db.value("SELECT pg_get_serial_sequence(:t, :c)", t=table, c=column)
            row = db.one(f"SELECT last_value, is_called FROM {sequence}")
            assert row is not None
            found[table] = int(row["last_value"]) if row["is_called"] else 0
    return found


def _identity(db: Db, table: str) -> str:
    """Return the column of a PostgreSQL table whose numbers are given out, empty for none."""
    return str(
        db.value(
            "SELECT column_name FROM information_schema.columns WHERE is_identity = 'YES'"
            " AND table_schema = current_schema() AND table_name = :t",
            t=table,
        )
        or ""
    )
