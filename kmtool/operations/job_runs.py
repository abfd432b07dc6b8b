"""What ran by itself: the last runs, for people."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.shop import Shop
from kmtool.store import jobs as store


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job: running, ok, failed or dead (its process ended in the middle)."""

    id: int
    job: str
    state: str
    started_ms: int
    ended_ms: int | None
    error: str
    result: str


@dataclass(frozen=True, slots=True)
class JobRuns:
    """Runs, newest first, and how many are kept."""

    runs: tuple[JobRun, ...]
    total: int


def runs(shop: Shop, limit: int | None, job: str = "") -> JobRuns:
    """Return the last runs, of one job or of all."""
    rows = store.runs(shop.db, 1_000_000 if limit is None else limit, job)
    return JobRuns(tuple(JobRun(**row) for row in rows), store.count(shop.db, job))


def latest(shop: Shop) -> dict[str, JobRun]:
    """Return job → its newest finished run."""
    return {row["job"]: JobRun(**row, result="") for row in store.latest(shop.db)}
