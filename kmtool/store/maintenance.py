"""SQL that looks after the database itself: integrity, structure, sizes, questions.

The structure is compared with a database made new from the same migrations: what is missing or
different is named. Tables and views that somebody added beside ours are theirs and left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from kmtool.errors import InputRefused, NotSetUp
from kmtool.store.db import Db, connect, translate
from kmtool.store.schema import MIGRATIONS
from kmtool.store.sqlite import sqlite3

_PROBE = "kmtool_probe"
_BOOKKEEPING = "_sqlite_migrations"
SEALED = frozenset({"sealed", "wrapped"})
"""Columns that hold ciphertext: a read-only question never gets them."""

Structure = dict[str, str]
_Errors = type[Exception] | tuple[type[Exception], ...]


def size_of(db: Db) -> int:
    """Return the size of the database in bytes; PostgreSQL's is not asked for."""
    if db.dialect == "postgresql":
        return 0
    return int(db.value("PRAGMA page_count")) * int(db.value("PRAGMA page_size"))


def integrity(db: Db, *, quick: bool = False) -> list[str]:
    """Return what is wrong inside the database file; PostgreSQL answers for its own pages."""
    if db.dialect == "postgresql":
        return []
    rows = db.all(f"PRAGMA {'quick_check' if quick else 'integrity_check'}(20)")
    found = [str(next(iter(row.values()))) for row in rows]
    return [] if found == ["ok"] else found


def foreign_keys(db: Db) -> list[str]:
    """Return rows that point at nothing; on PostgreSQL constraints that were never validated."""
    if db.dialect == "postgresql":
        rows = db.all("SELECT conname AS name FROM pg_constraint WHERE NOT convalidated")
        return [f"the constraint {row['name']} is not validated" for row in rows]
    found = db.all("PRAGMA foreign_key_check")[:20]
    return [f"{row['table']} row {row['rowid']} points at no {row['parent']}" for row in found]


def structure_differences(wanted: Structure, found: Structure) -> list[str]:
    """Return how the tables, indexes, triggers and views differ from what the migrations make."""
    missing = [f"{name} is missing" for name in wanted if name not in found]
    changed = [
        f"{name} is different" for name in wanted if found.get(name, "") not in ("", wanted[name])
    ]
    strangers = [
        f"{name} does not belong there"
        for name in found
        if name.startswith("trigger ") and name not in wanted
    ]
    return missing + changed + strangers


def structure_hash(found: Structure) -> str:
    """Return a short hash of a structure."""
    text = "\n".join(f"{name}\t{found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def structure(db: Db) -> Structure:
    """Return every object of the database with its definition."""
    found = _structure_sqlite(db) if db.dialect == "sqlite" else _structure_postgresql(db)
    return {
        name: " ".join(text.split()) for name, text in found.items() if _BOOKKEEPING not in name
    }


def wanted_structure(db: Db) -> Structure:
    """Return the structure that all migrations make on a new database of the same kind."""
    if db.dialect == "sqlite":
        with closing(fresh()) as made:
            return structure(made)
    with db.rehearsal():
        db.run(f"CREATE SCHEMA {_PROBE}")
        db.run(f"SET LOCAL search_path TO {_PROBE}")
        _make(db)
        return structure(db)


def fresh() -> Db:
    """Return an empty database with our tables, in memory; close it."""
    made = Db(sqlite3.connect(":memory:", isolation_level=None), "sqlite", "memory")
    _make(made)
    return made


def table_sizes(db: Db, found: Structure) -> list[tuple[str, int]]:
    """Return the rows of every table in a structure, largest first."""
    tables = (name.removeprefix("table ") for name in found if name.startswith("table "))
    names = sorted({name.partition(".")[0] for name in tables})
    sizes = [(name, int(db.value(f'SELECT count(*) FROM "{name}"'))) for name in names]
    return sorted(sizes, key=lambda size: (-size[1], size[0]))


def bytes_used(db: Db) -> int:
    """Return how large the database is."""
    if db.dialect == "postgresql":
        return int(db.value("SELECT pg_database_size(current_database())"))
    return int(db.value("PRAGMA page_count")) * int(db.value("PRAGMA page_size"))


def ask(target: str | Path, sql: str, limit: int | None) -> tuple[list[str], list[list[Any]]]:
    """Answer a read-only question on a connection of its own; raises `InputRefused`.

    SQLite: the file is opened read-only and an authorizer lets nothing but reading through; sealed
    columns read as NULL. PostgreSQL: a read-only transaction, one statement, and a question that
    names a sealed column is refused.
    """
    if isinstance(target, Path):
        return _ask_sqlite(target, sql, limit)
    return _ask_postgresql(target, sql, limit)


def _make(db: Db) -> None:
    for _name, statements in MIGRATIONS:
        for statement in statements:
            db.run(statement if isinstance(statement, str) else statement[db.dialect])


def _structure_sqlite(db: Db) -> Structure:
    rows = db.all(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return {f"{row['type']} {row['name']}": str(row["sql"]) for row in rows}


def _structure_postgresql(db: Db) -> Structure:
    schema = str(db.value("SELECT current_schema()"))
    found: Structure = {}
    for kind, sql in _CATALOGUE.items():
        for row in db.all(sql):
            text = str(row["text"]).replace(f"{schema}.", "")
            found[f"{kind} {row['name']}"] = text
    return found


_CATALOGUE = {
    "table": """SELECT c.table_name || '.' || c.column_name AS name,
            concat_ws(' ', c.data_type, c.is_nullable, c.collation_name, c.is_identity,
                      c.column_default) AS text
        FROM information_schema.columns c
        JOIN pg_tables t ON t.tablename = c.table_name AND t.schemaname = c.table_schema
        WHERE c.table_schema = current_schema()""",
    "constraint": """SELECT conrelid::regclass::text || '.' || conname AS name,
            pg_get_constraintdef(oid) AS text FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'""",
    "index": """SELECT indexname AS name, indexdef AS text FROM pg_indexes
        WHERE schemaname = current_schema()""",
    "view": """SELECT viewname AS name, definition AS text FROM pg_views
        WHERE schemaname = current_schema()""",
    "trigger": """SELECT tgname AS name, pg_get_triggerdef(t.oid) AS text FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace""",
}


def _ask_sqlite(path: Path, sql: str, limit: int | None) -> tuple[list[str], list[list[Any]]]:
    if not path.is_file():
        raise NotSetUp(detail="no database at {path}", path=path)
    raw = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        raw.execute("PRAGMA query_only = ON")
        raw.execute("PRAGMA trusted_schema = OFF")
        raw.set_authorizer(_only_reading)
        return _answer(raw.execute, sql, limit, (sqlite3.Error, sqlite3.Warning))
    finally:
        raw.close()


def _only_reading(action: int, first: str | None, second: str | None, *_rest: object) -> int:
    if action == sqlite3.SQLITE_READ:
        hidden = second is not None and second.lower() in SEALED
        return int(sqlite3.SQLITE_IGNORE if hidden else sqlite3.SQLITE_OK)
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() == "load_extension":
        return int(sqlite3.SQLITE_DENY)
    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    return int(sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY)


def _ask_postgresql(target: str, sql: str, limit: int | None) -> tuple[list[str], list[list[Any]]]:
    for name in SEALED:
        if re.search(rf"\b{name}\b", sql, re.IGNORECASE):
            raise InputRefused(detail="the column {name} is sealed", name=name, mend="leave it out")
    if not re.match(r"\s*(select|with|values|table|explain)\b", sql, re.IGNORECASE):
        raise InputRefused(detail="only questions are answered here", mend="begin with SELECT")
    db = connect(target)
    try:
        with db.raw.transaction(force_rollback=True):
            db.raw.execute("SET TRANSACTION READ ONLY")
            # Prepared, the server takes one statement only: nothing can end the transaction first.
            return _answer(
                lambda text: db.raw.execute(text, prepare=True),
                sql,
                limit,
                _driver_error(db.raw),
            )
    finally:
        db.close()


def _driver_error(raw: Any) -> type[Exception]:
    error: type[Exception] = raw.Error
    return error


def _answer(
    execute: Callable[[str], Any], sql: str, limit: int | None, errors: _Errors
) -> tuple[list[str], list[list[Any]]]:
    try:
        cursor = execute(sql)
        if cursor.description is None:
            raise InputRefused(detail="this asks nothing", mend="begin with SELECT")
        rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
        names = [str(column[0]) for column in cursor.description]
    except errors as problem:
        known = translate(problem, "of this shop")
        if known is not None:
            raise known from None
        reason = " ".join(str(problem).split("\n")[0].split())
        raise InputRefused(
            detail="the question was not answered: {reason}",
            reason=reason,
            mend="mend the SQL; it only reads",
        ) from None
    return names, [[_shown(value) for value in row] for row in rows]


def _shown(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return f"<{len(bytes(value))} bytes>"
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
