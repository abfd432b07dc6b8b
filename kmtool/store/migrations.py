"""Brings a database up to date: the same list of single statements on both databases.

A migration is a tuple of statements; once a version with it is in the changelog it is never edited,
only followed by another. On SQLite they run through sqlite-utils' `Migrations`, inside our own
BEGIN IMMEDIATE (two processes that start at once would otherwise collide) and after a backup; on
PostgreSQL under an advisory lock. A probe with plain SQL decides whether anything is pending, so
that sqlite-utils stays off everyday commands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmtool.clock import Clock
from kmtool.errors import DatabaseDamaged, OldProgram, verbatim
from kmtool.store.db import Db, render
from kmtool.store.schema import MIGRATIONS
from kmtool.store.troubles import is_unfit_structure, translate

_SET = "kmtool"
_ADVISORY_LOCK = 7_265_100


def pending(db: Db) -> list[str]:
    """Return the names of migrations still to run; a database from the future is `OldProgram`."""
    if not _has_table(db):
        return [name for name, _ in MIGRATIONS]
    rows = db.all("SELECT name FROM _sqlite_migrations WHERE migration_set = :s", s=_SET)
    done = {row["name"] for row in rows}
    known = [name for name, _ in MIGRATIONS]
    unknown = sorted(done - set(known))
    if unknown:
        raise OldProgram(detail=verbatim(unknown[-1]))
    return [name for name in known if name not in done]


def migrate(db: Db, clock: Clock, before: Callable[[], object] | None = None) -> list[str]:
    """Run what is pending and return its names; `before` (a backup) is called first if any is."""
    names = pending(db)
    if not names:
        return []
    if before is not None:
        before()
    try:
        if db.dialect == "sqlite":
            return _migrate_sqlite(db)
        return _migrate_postgresql(db, clock)
    except Exception as error:
        known = translate(error, db.name)
        if known is None and is_unfit_structure(error):
            known = DatabaseDamaged(name=db.name, detail=verbatim(str(error).splitlines()[0]))
        if known is None:
            raise
        raise known from error


def _has_table(db: Db) -> bool:
    if db.dialect == "sqlite":
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlite_migrations'"
    else:
        sql = "SELECT 1 FROM pg_tables WHERE tablename = '_sqlite_migrations' LIMIT 1"
    return db.value(sql) is not None


def _migrate_sqlite(db: Db) -> list[str]:
    import sqlite_utils
    from sqlite_utils.migrations import Migrations

    with db.tx():
        names = pending(db)
        runner = Migrations(_SET)
        for name, statements in MIGRATIONS:
            runner(name=name, transactional=False)(_step(statements))
        runner.apply(sqlite_utils.Database(db.raw))
        assert db.raw.in_transaction, "a migration must not commit the transaction around it"
    return names


def _step(statements: tuple[str | dict[str, str], ...]) -> Callable[[Any], None]:
    def apply(database: Any) -> None:
        for statement in statements:
            database.conn.execute(render(_text(statement, "sqlite"), "sqlite"))

    return apply


def _text(statement: str | dict[str, str], dialect: str) -> str:
    """Triggers and views may have two texts."""
    return statement if isinstance(statement, str) else statement[dialect]


def _migrate_postgresql(db: Db, clock: Clock) -> list[str]:
    with db.tx():
        db.run(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        db.run(
            "CREATE TABLE IF NOT EXISTS _sqlite_migrations"
            " (id {id}, migration_set {text} NOT NULL, name {text} NOT NULL,"
            " applied_at {text} NOT NULL, UNIQUE (migration_set, name))"
        )
        names = pending(db)
        for name, statements in MIGRATIONS:
            if name not in names:
                continue
            for statement in statements:
                db.run(_text(statement, db.dialect))
            db.run(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
                " VALUES (:s, :name, :at)",
                s=_SET,
                name=name,
                at=str(clock.now_ms()),
            )
    return names
