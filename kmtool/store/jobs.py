"""SQL of job runs: one row per run, for people and for alerts.

A job of one name runs once at a time (what sends: once per worker). What proves it is a lock that
dies with its process (an OS file lock beside SQLite, an advisory lock on PostgreSQL), never a row:
whoever holds the lock of a job knows that an older `running` row of it is dead.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from kmtool.store.db import Db, Row, in_clause


def start(db: Db, job: str, session: int | None, now_ms: int) -> int:
    """Insert a running row and return its id; the lock of the job must be held."""
    return int(
        db.value(
            "INSERT INTO job_runs (job, session_id, state, started_ms, heartbeat_ms, result, error)"
            " VALUES (:job, :session, 'running', :now, :now, '', '') RETURNING id",
            job=job,
            session=session,
            now=now_ms,
        )
    )


def finish(db: Db, run_id: int, state: str, result: str, error: str, now_ms: int) -> bool:
    """Set a running row to `ok` or `failed`; False when it was not running any more."""
    return (
        db.run(
            "UPDATE job_runs SET state = :state, result = :result, error = :error,"
            " ended_ms = :now, heartbeat_ms = :now WHERE id = :id AND state = 'running'",
            state=state,
            result=result,
            error=error[:500],
            now=now_ms,
            id=run_id,
        )
        == 1
    )


def bury(db: Db, job: str, now_ms: int, side_by_side: bool = False) -> int:
    """Set rows of a job that nobody can be running to `dead`; the caller holds the job's lock.

    Of a job that workers do side by side only those are dead whose session is.
    """
    dead = " AND session_id NOT IN (SELECT id FROM sessions WHERE state = 'live')"
    return db.run(
        "UPDATE job_runs SET state = 'dead', ended_ms = :now, error = 'the process ended in the"
        f" middle' WHERE job = :job AND state = 'running'{dead if side_by_side else ''}",
        job=job,
        now=now_ms,
    )


def beat(db: Db, run_ids: Sequence[int], now_ms: int) -> None:
    """Show that runs are still at work."""
    if run_ids:
        marks, params = in_clause(run_ids)
        db.run(
            f"UPDATE job_runs SET heartbeat_ms = :now WHERE state = 'running' AND id IN {marks}",
            now=now_ms,
            **params,
        )


def prune(db: Db, job: str, keep: int) -> int:
    """Delete all but the newest runs of a job."""
    last = db.value(
        "SELECT id FROM job_runs WHERE job = :job ORDER BY id DESC LIMIT 1 OFFSET :keep",
        job=job,
        keep=keep,
    )
    if last is None:
        return 0
    return db.run(
        "DELETE FROM job_runs WHERE job = :job AND id <= :last AND state <> 'running'",
        job=job,
        last=last,
    )


def running(db: Db) -> list[str]:
    """Return the jobs that have a running row."""
    return [
        row["job"] for row in db.all("SELECT DISTINCT job FROM job_runs WHERE state = 'running'")
    ]


def runs(db: Db, limit: int, job: str = "") -> list[Row]:
    """Return runs, newest first."""
    return db.all(
        "SELECT id, job, state, started_ms, ended_ms, result, error FROM job_runs"
        " WHERE :job = '' OR job = :job ORDER BY id DESC LIMIT :n",
        job=job,
        n=limit,
    )


def count(db: Db, job: str = "") -> int:
    """Return how many runs are kept."""
    return int(db.value("SELECT count(*) FROM job_runs WHERE :job = '' OR job = :job", job=job))


def latest(db: Db) -> list[Row]:
    """Return the newest run of every job, running ones left out."""
    return db.all(
        "SELECT id, job, state, started_ms, ended_ms, error FROM job_runs WHERE id IN"
        " (SELECT max(id) FROM job_runs WHERE state <> 'running' GROUP BY job) ORDER BY job"
    )


def lock_number(job: str) -> int:
    """Return the advisory lock of a job: below zero, where no session's token lies."""
    return -1 - zlib.crc32(job.encode())
