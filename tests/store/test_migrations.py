"""A new database is brought up to date on both kinds, and once only."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.errors import OldProgram
from kmtool.store.db import connect
from kmtool.store.migrations import migrate, pending
from kmtool.store.schema import MIGRATIONS

pytestmark = pytest.mark.empty


def test_every_migration_runs_once(database: str | Path, clock: ManualClock) -> None:
    db = connect(database, create=True)
    assert migrate(db, clock) == [name for name, _ in MIGRATIONS]
    assert migrate(db, clock) == []
    assert pending(db) == []
    db.close()


def test_a_newer_database_is_left_alone(database: str | Path, clock: ManualClock) -> None:
    db = connect(database, create=True)
    migrate(db, clock)
    db.run(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('kmtool', '9999_future', '1')"
    )
    with pytest.raises(OldProgram):
        pending(db)
    db.close()


def test_a_transaction_that_fails_leaves_nothing(database: str | Path, clock: ManualClock) -> None:
    db = connect(database, create=True)
    migrate(db, clock)
    with pytest.raises(ZeroDivisionError), db.tx():
        db.run("INSERT INTO meta (name, value) VALUES ('a', 'b')")
        raise ZeroDivisionError
    assert db.value("SELECT count(*) FROM meta") == 0
    db.close()


def test_a_rehearsal_is_undone(database: str | Path, clock: ManualClock) -> None:
    db = connect(database, create=True)
    migrate(db, clock)
    with db.rehearsal():
        with db.tx():
            db.run("INSERT INTO meta (name, value) VALUES ('a', 'b')")
        assert db.value("SELECT count(*) FROM meta") == 1
    assert db.value("SELECT count(*) FROM meta") == 0
    db.close()
