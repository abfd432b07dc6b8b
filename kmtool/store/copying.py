"""Copies of the database: SQLite's online backup, test-opened. Never opens the live file twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kmtool.durable import keep_name, partial_of, sweep
from kmtool.errors import Broken
from kmtool.store.db import Db, translate
from kmtool.store.sqlite import sqlite3


def copy_sqlite(db: Db, target: Path) -> None:
    """Write a consistent copy beside busy writers (online backup), forced to the disk."""
    assert db.dialect == "sqlite"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(target)
    partial.unlink(missing_ok=True)
    try:
        _copy(db, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        sweep(partial)
        partial.replace(target)
        keep_name(target)
    except sqlite3.Error as error:
        known = translate(error, db.name)
        raise known or Broken(detail="the copy was not made: {problem}", problem=error) from error
    finally:
        partial.unlink(missing_ok=True)


def _copy(db: Db, partial: Path) -> None:
    copy = sqlite3.connect(str(partial))
    try:
        db.raw.backup(copy, pages=4096)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()


def test_open(path: Path) -> str:
    """Open a copy read-only and check it; return `ok` or what is wrong."""
    raw = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        result = raw.execute("PRAGMA quick_check").fetchone()[0]
        raw.execute("SELECT count(*) FROM meta").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        raw.close()
    return str(result)


def put_back(copy: Path, live: Path) -> None:
    """Make a copy the database, whole or not at all, though others may be reading it.

    The pages go through SQLite's own backup as one transaction. Where the present file is no
    database any more it is laid aside and the copy takes its name.
    """
    source = sqlite3.connect(str(copy))
    try:
        try:
            target = sqlite3.connect(str(live), timeout=10, isolation_level=None)
            try:
                target.execute("PRAGMA synchronous = FULL")
                source.backup(target)
                target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                target.close()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                known = translate(error, live.name)
                raise known or Broken(detail="it was not put back: {e}", e=error) from error
            _change_places(copy, live)
    finally:
        source.close()


def _change_places(copy: Path, live: Path) -> None:
    for suffix in ("-wal", "-shm"):
        live.with_name(live.name + suffix).unlink(missing_ok=True)
    if live.exists():
        live.replace(live.with_name(live.name + ".damaged"))
    with copy.open("rb+") as file:
        os.fsync(file.fileno())
    shutil.copyfile(copy, live.with_name(live.name + ".part"))
    with live.with_name(live.name + ".part").open("rb+") as file:
        os.fsync(file.fileno())
    live.with_name(live.name + ".part").replace(live)
    keep_name(live)
