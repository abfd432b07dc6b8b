"""Runs one job: its lock, its row in job_runs, its result; an error becomes an alert.

The lock of a job dies with its process, so a job of one name never runs twice at once, and an older
`running` row whose lock is free is a dead one. What sends runs once per worker on PostgreSQL, side
by side with the others; there a row is dead with its session. Whatever a job throws ends here.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from jobs import catalog
from jobs.catalog import FOLLOWS, JOBS, Given, Job
from kmtool.durable import trouble
from kmtool.errors import EXIT_BROKEN, EXIT_PARTLY, KmError, NotFound, OutsideError
from kmtool.locks import FileLock
from kmtool.operations import alerts, audit_tail, recovery, sender
from kmtool.operations.alerts import Watched
from kmtool.operations.doctor import Health
from kmtool.operations.stock_push import PushResult
from kmtool.operations.sync import ChannelResult, SyncResult
from kmtool.shop import Shop
from kmtool.store import jobs as store
from kmtool.store import sessions

log = logging.getLogger("kmtool.jobs")

KEEP_RUNS = 1_000
NOTE_MS = 600_000
"""How often the daemon notes outside how far the audit is."""
PATIENCE = 3
"""An error of the other side is an alert when so many runs in a row had one."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: ok, failed, or skipped (it was running). `outside`: not our fault."""

    job: str
    state: str
    error: str = ""
    mend: str = ""
    outside: bool = False
    partly: bool = False
    result: object = None


@dataclass(frozen=True, slots=True)
class Once:
    """All jobs, run once."""

    jobs: tuple[Ran, ...]
    notes: tuple[str, ...] = ()
    broken: bool = False

    @property
    def exit_code(self) -> int:
        """Return 0, 1 for a broken promise, 7 when only the other side failed wholly, else 3."""
        failed = [ran for ran in self.jobs if ran.state == "failed"]
        if self.broken:
            return EXIT_BROKEN
        if not failed:
            return 0
        if all(ran.outside and not ran.partly for ran in failed):
            return OutsideError.exit_code
        return EXIT_PARTLY


def once(shop: Shop, only: str = "") -> Once:
    """Run all jobs once, or one of them, in the order of the catalog.

    Raises `Locked` when another process is the sender. With a broken promise everything runs but
    what sends.
    """
    shop.must_be_writable()
    catalog.schedules(shop.config)
    if only and catalog.find(only) is None:
        names = ", ".join(job.name for job in JOBS)
        raise NotFound(kind="job", name=only, mend="one of: {names}", names=names)
    wanted = FOLLOWS.get(only, only)
    chosen = [
        job
        for job in JOBS
        if job.name not in FOLLOWS
        and (job.name == wanted if only else not catalog.is_off(shop.config, job.name))
    ]
    if not any(job.sends for job in chosen):
        return Once(tuple(_all(shop, chosen, ())))
    with recovery.recovered(shop, "once") as found:
        ran = tuple(_all(found.shop, chosen, found.broken))
        return Once(ran, found.notes, bool(found.broken))


def _all(shop: Shop, chosen: list[Job], broken: tuple[Any, ...]) -> Iterator[Ran]:
    for job in chosen:
        if job.sends and broken:
            error = recovery.refusal(broken)
            yield Ran(job.name, "failed", str(error), error.next_step())
            continue
        inner: list[Ran] = []
        yield run_job(shop, job, Given(then=following(shop, inner.append)))
        yield from inner


def following(
    shop: Shop, tell: Callable[[Ran], object], given: Given | None = None
) -> Callable[[str, ChannelResult], None]:
    """Return what runs a job from within another, for one channel that was just pulled."""

    def then(name: str, synced: ChannelResult) -> None:
        job = catalog.find(name)
        if job is not None and not catalog.is_off(shop.config, name):
            tell(run_job(shop, job, replace(given or Given(), synced=synced)))

    return then


def run_job(
    shop: Shop, job: Job, given: Given | None = None, started: Callable[[int], object] = lambda _: 0
) -> Ran:
    """Run a job under its lock and write down how it went; `started` gets the number of the run."""
    with _locked(shop, _lock_name(shop, job)) as mine:
        if not mine:
            return Ran(job.name, "skipped", "it is running already")
        with shop.db.tx():
            store.bury(shop.db, job.name, shop.now_ms(), _side_by_side(shop, job))
            run_id = store.start(shop.db, job.name, shop.session, shop.now_ms())
        started(run_id)
        ran = Ran(job.name, "failed", "it was interrupted")
        try:
            ran = _tried(shop, job, given or Given())
        finally:
            with shop.db.tx():
                shown = json.dumps(_plain(ran.result), ensure_ascii=False, default=str)
                store.finish(shop.db, run_id, ran.state, shown, ran.error, shop.now_ms())
                store.prune(shop.db, job.name, KEEP_RUNS)
        audit_tail.note(shop, every_ms=NOTE_MS)
        _tell(shop, ran)
        return ran


def bury_dead(shop: Shop) -> int:
    """Mark running rows whose process is gone; return how many."""
    found = 0
    for name in store.running(shop.db):
        job = catalog.find(name)
        side = job is not None and _side_by_side(shop, job)
        with _locked(shop, _lock_name(shop, job) if job else name) as mine:
            if mine:
                with shop.db.tx():
                    found += store.bury(shop.db, name, shop.now_ms(), side)
    return found


def guarded(name: str, work: Callable[[], Ran]) -> None:
    """Run what a thread of the daemon does; what goes wrong around a job is logged, never lost."""
    try:
        work()
    except KmError as error:
        log.error("%s could not run: %s; to do: %s", name, error, error.next_step())
    except Exception as error:  # noqa: BLE001  (the edge: a thread must not die silently)
        log.error("%s could not run:\n%s", name, trace(error))


def trace(problem: Exception) -> str:
    """Return a traceback whose quoted parts are left out: they may hold what somebody typed."""
    shown = traceback.TracebackException.from_exception(problem)
    lines = [line if line.startswith("  ") else _QUOTED.sub("'…'", line) for line in shown.format()]
    return "".join(lines)


def _tried(shop: Shop, job: Job, given: Given) -> Ran:
    try:
        result = job.work(shop, given)
    except KmError as error:
        outside = isinstance(error, OutsideError)
        return Ran(job.name, "failed", str(error), error.next_step(), outside)
    except Exception as error:  # noqa: BLE001  (the edge: a job's bug must not end the daemon)
        known = trouble(error)
        if known is not None:
            return Ran(job.name, "failed", str(known), known.next_step())
        log.error("%s failed:\n%s", job.name, trace(error))
        told = f"a mistake in kmtool itself ({type(error).__name__})"
        return Ran(job.name, "failed", told, "kmtool doctor; see logs/kmtool.log")
    return replace(_judged(job.name, result), result=result)


def _judged(name: str, result: object) -> Ran:
    """Return how a result counts."""
    match result:
        case SyncResult(channels) if result.failed:
            bad = [c for c in channels if c.error]
            told = "; ".join(f"{c.channel}: {c.error}" for c in bad)
            return Ran(name, "failed", told, bad[0].next_step, True, len(bad) < len(channels))
        case PushResult(error=error) if error:
            return Ran(name, "failed", error, "it is pushed again after the next sync", True)
        case Watched(notes=notes) if notes:
            return Ran(name, "failed", "; ".join(notes), "it is told again by itself", True)
        case Health() if result.broken:
            check = result.broken[0]
            return Ran(name, "failed", f"{check.name}: {check.figure}", check.mend)
    return Ran(name, "ok")


def _tell(shop: Shop, ran: Ran) -> None:
    if ran.state == "ok":
        _note(ran)
        alerts.clear(shop, "job_failed", ran.job)
        return
    log.warning("%s failed: %s", ran.job, ran.error)
    last = [row["state"] for row in store.runs(shop.db, PATIENCE, ran.job)]
    if not ran.outside or (len(last) == PATIENCE and set(last) == {"failed"}):
        text = f"job {ran.job} failed: {ran.error}; to do: {ran.mend}"
        alerts.raise_alert(shop, "job_failed", ran.job, text)


def _note(ran: Ran) -> None:
    """Log a run that did something; the many idle ones would drown it."""
    facts = _plain(ran.result)
    figures = facts if isinstance(facts, dict) else {}
    busy = any(type(value) is int and value > 0 for value in _leaves(figures))
    level = logging.INFO if busy else logging.DEBUG
    log.log(level, "%s ok %s", ran.job, json.dumps(figures, ensure_ascii=False, default=str)[:500])


def _plain(result: object) -> object:
    return asdict(result) if is_dataclass(result) and not isinstance(result, type) else result


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for name, part in value.items():
            if not str(name).endswith("_ms"):
                yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _side_by_side(shop: Shop, job: Job) -> bool:
    """Tell whether several workers do this job at once: PostgreSQL's row locks keep them apart."""
    return job.sends and shop.db.dialect == "postgresql" and shop.session is not None


def _lock_name(shop: Shop, job: Job) -> str:
    return f"{job.name}:{shop.session}" if _side_by_side(shop, job) else job.name


@contextmanager
def _locked(shop: Shop, name: str) -> Iterator[bool]:
    """Yield whether the lock of a job is ours; it is given back at the end.

    After a take-over the locks have other names: a stopped process may still hold the old ones.
    """
    name = sender.with_epoch(shop.db, name)
    if shop.db.dialect == "postgresql":
        number = store.lock_number(name)
        mine = sessions.try_advisory(shop.db, number)
        try:
            yield mine
        finally:
            if mine:
                sessions.free_advisory(shop.db, number)
        return
    database = shop.config.database
    folder = database.parent if isinstance(database, Path) else shop.config.root
    lock = FileLock(folder / "locks" / f"job-{name}")
    try:
        yield lock.acquire()
    finally:
        lock.release()
