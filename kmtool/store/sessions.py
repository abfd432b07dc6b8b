"""SQL of sessions: who may send, who is dead, whose attempts were left open.

Every sender has a session; intent and outcome require it to be `live` (fencing). A session holds a
lock under its token for as long as its process lives: an OS file lock beside a SQLite database, an
advisory lock on PostgreSQL. Who can take that lock has the proof that the session is dead, without
any clock.
"""

from __future__ import annotations

from kmtool.domain.ids import SessionId
from kmtool.store.db import Db, Row


def start(db: Db, kind: str, token: int, host: str, pid: int, now_ms: int) -> SessionId:
    """Insert a live session; its lock must be held already."""
    return SessionId(
        int(
            db.value(
                "INSERT INTO sessions (kind, token, host, pid, state, started_ms, heartbeat_ms)"
                " VALUES (:kind, :token, :host, :pid, 'live', :now, :now) RETURNING id",
                kind=kind,
                token=token,
                host=host,
                pid=pid,
                now=now_ms,
            )
        )
    )


def is_live(db: Db, session: SessionId, *, lock: bool = False) -> bool:
    """Tell whether a session may still write outcomes; `lock` keeps it so for the transaction."""
    sql = "SELECT state FROM sessions WHERE id = :id" + (" {lock}" if lock else "")
    return bool(db.value(sql, id=session) == "live")


def live(db: Db) -> list[Row]:
    """Return all sessions that are thought alive."""
    return db.all("SELECT * FROM sessions WHERE state = 'live' ORDER BY id")


def get(db: Db, session: SessionId) -> Row | None:
    """Return one session."""
    return db.one("SELECT * FROM sessions WHERE id = :id", id=session)


def finish(db: Db, session: SessionId, state: str, now_ms: int) -> bool:
    """Set a live session to `ended` or `dead`; False when it was not live any more."""
    return (
        db.run(
            "UPDATE sessions SET state = :state, ended_ms = :now WHERE id = :id AND state = 'live'",
            state=state,
            now=now_ms,
            id=session,
        )
        == 1
    )


def beat(db: Db, session: SessionId, now_ms: int) -> None:
    """Show that a session is at work (for people; nothing about safety rests on it)."""
    db.run("UPDATE sessions SET heartbeat_ms = :now WHERE id = :id", now=now_ms, id=session)


def ask_to_stop(db: Db, now_ms: int) -> int:
    """Ask running daemons to stop; return how many were asked."""
    return db.run(
        "UPDATE sessions SET stop_ms = :now WHERE kind = 'run' AND state = 'live'"
        " AND stop_ms IS NULL",
        now=now_ms,
    )


def stop_asked(db: Db, session: SessionId) -> bool:
    """Tell whether somebody asked this session to stop."""
    return db.value("SELECT stop_ms FROM sessions WHERE id = :id", id=session) is not None


def last_ended(db: Db, kind: str) -> Row | None:
    """Return the last session of a kind that is over."""
    return db.one(
        "SELECT * FROM sessions WHERE kind = :k AND state <> 'live' ORDER BY id DESC LIMIT 1",
        k=kind,
    )


def try_advisory(db: Db, token: int) -> bool:
    """Take a PostgreSQL advisory lock for the life of this connection; False when it is held."""
    assert db.dialect == "postgresql"
    return bool(db.value("SELECT pg_try_advisory_lock(:t)", t=token))


def look_advisory(db: Db, token: int) -> bool:
    """Tell whether nobody holds an advisory lock alone; those who look do not meet each other."""
    assert db.dialect == "postgresql"
    if not db.value("SELECT pg_try_advisory_lock_shared(:t)", t=token):
        return False
    db.value("SELECT pg_advisory_unlock_shared(:t)", t=token)
    return True


def free_advisory(db: Db, token: int) -> None:
    """Give a PostgreSQL advisory lock back."""
    db.value("SELECT pg_advisory_unlock(:t)", t=token)
