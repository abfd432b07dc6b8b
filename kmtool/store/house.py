"""SQL of the house itself: meta values, data keys, secrets, pauses."""

from __future__ import annotations

from kmtool.errors import Broken
from kmtool.store.db import Db, Row


def exists(db: Db) -> bool:
    """Tell whether this SQLite file held a shop before (a fresh one needs no backup)."""
    return bool(db.value("SELECT count(*) FROM sqlite_master WHERE name = 'meta'"))


def meta(db: Db, name: str) -> str | None:
    """Return a stored value of the house (database id, host …)."""
    value = db.value("SELECT value FROM meta WHERE name = :name", name=name)
    return None if value is None else str(value)


def number(db: Db, name: str) -> int | None:
    """Return a stored number of the house; raises `Broken` when somebody made it none."""
    found = meta(db, name)
    try:
        return None if found is None else int(found)
    except ValueError:
        raise changed(db, name) from None


def changed(db: Db, name: str) -> Broken:
    """Return the error for a stored value that somebody changed."""
    return Broken(
        detail="the value {name} in the database was changed", name=name, where=db.name,
        mend="kmtool db restore FILE; kmtool db backups lists them",
    )  # fmt: skip


def set_meta(db: Db, name: str, value: str) -> None:
    """Store a value of the house."""
    db.run(
        "INSERT INTO meta (name, value) VALUES (:name, :value)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=name,
        value=value,
    )


def data_keys(db: Db) -> list[Row]:
    """Return all wrapped data keys, oldest first."""
    return db.all("SELECT id, wrapped, records FROM data_keys ORDER BY id")


def add_data_key(db: Db, wrapped: bytes, now_ms: int) -> int:
    """Store a wrapped data key and return its number."""
    return int(
        db.value(
            "INSERT INTO data_keys (wrapped, records, created_ms) VALUES (:w, 0, :now)"
            " RETURNING id",
            w=wrapped,
            now=now_ms,
        )
    )


def count_sealed(db: Db, number: int, records: int) -> None:
    """Add to the count of records sealed under a data key."""
    db.run("UPDATE data_keys SET records = records + :r WHERE id = :id", r=records, id=number)


def secret(db: Db, name: str) -> Row | None:
    """Return a sealed credential."""
    return db.one("SELECT sealed, data_key_id FROM secrets WHERE name = :name", name=name)


def secret_names(db: Db) -> list[Row]:
    """Return names and ages of stored credentials, never their values."""
    return db.all("SELECT name, updated_ms FROM secrets ORDER BY name")


def set_secret(db: Db, name: str, sealed: bytes, data_key_id: int, now_ms: int) -> None:
    """Store a sealed credential, replacing one of that name."""
    db.run(
        "INSERT INTO secrets (name, sealed, data_key_id, updated_ms)"
        " VALUES (:name, :sealed, :key, :now)"
        " ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed,"
        " data_key_id = excluded.data_key_id, updated_ms = excluded.updated_ms",
        name=name,
        sealed=sealed,
        key=data_key_id,
        now=now_ms,
    )


def remove_secret(db: Db, name: str) -> bool:
    """Delete a credential; tell whether there was one."""
    return db.run("DELETE FROM secrets WHERE name = :name", name=name) == 1


def audit_of(db: Db, subject: str, limit: int = 200) -> list[Row]:
    """Return the audit rows of one object, oldest first."""
    return db.all(
        "SELECT at_ms, actor, action, detail FROM audit WHERE object = :o ORDER BY seq LIMIT :n",
        o=subject,
        n=limit,
    )


def pauses(db: Db) -> dict[str, Row]:
    """Return what is paused: scope (`all`, `channel:x`, `sku:x`) → row."""
    return {row["scope"]: row for row in db.all("SELECT * FROM pauses ORDER BY scope")}


def pause(db: Db, scope: str, reason: str, now_ms: int) -> bool:
    """Pause a scope; tell whether it was not paused before."""
    return (
        db.run(
            "INSERT INTO pauses (scope, reason, since_ms) VALUES (:s, :r, :now)"
            " ON CONFLICT (scope) DO NOTHING",
            s=scope,
            r=reason,
            now=now_ms,
        )
        == 1
    )


def resume(db: Db, scope: str) -> bool:
    """End a pause; tell whether there was one."""
    return db.run("DELETE FROM pauses WHERE scope = :s", s=scope) == 1
