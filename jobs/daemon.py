"""`kmtool run`: APScheduler, jobs in memory; the truth lies in kmtool.toml and the database.

- The main thread holds the sender's session for its whole life; every job opens its own shop (a
  connection belongs to one thread) and works under that session.
- Four times a second the main thread looks into the database: somebody asks us to stop, `sync` or
  `deliver` nudges, another sender took over. No signal is needed, so it works the same on Windows.
- A job that is over its deadline is an alert; it is never killed in the middle of a send.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Any
from zoneinfo import ZoneInfo

from jobs import catalog, runner
from jobs.catalog import FOLLOWS, JOBS, Given, Job
from jobs.runner import Ran
from jobs.schedule import Every, Schedule
from kmtool.app import open_shop
from kmtool.clock import Clock
from kmtool.config import Config
from kmtool.domain.ids import SessionId
from kmtool.errors import Broken, DatabaseAway, Locked, NotSetUp, TakenOver
from kmtool.operations import alerts, recovery, sender
from kmtool.operations.deliver import NUDGE
from kmtool.operations.doctor import Check, Health
from kmtool.shop import Shop
from kmtool.store import house, sessions
from kmtool.store import jobs as store

log = logging.getLogger("kmtool.daemon")

LOOK_S = 0.25
PASSING_S = 60.0
"""How long a daemon waits for a command that is sending when it starts."""
BEAT_S = 10.0
JUMP_MS = 60_000
STOP_WAIT_S = 600.0
AGAIN_MAX_S = 60.0
"""A lost connection is tried again after 1, 2, 4 … seconds, at most this."""
THREADS = 4
CATCH_UP_MS = 86_400_000
DAILY_GRACE_S = 6 * 3600


Schedules = Mapping[str, Schedule | None]


@dataclass(frozen=True, slots=True)
class Started:
    """What the daemon says when it begins."""

    session: int
    jobs: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """How many daemons were asked to stop and have ended."""

    asked: int


class Daemon:
    """One running daemon: which jobs are at work, and whether to stop."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._stop = Event()
        self._ended = False
        self._lock = Lock()
        self._at_work: dict[str, tuple[float, int]] = {}
        self._session: SessionId | None = None
        self._broken: tuple[Check, ...] = ()
        self._nudge: str | None = None

    def serve(self, say: Callable[[Started], None]) -> None:
        """Recover, run the jobs until somebody asks to stop, end in an orderly way.

        Raises `Locked` when another daemon sends (a command that sends is waited for), `Broken`
        when a promise is broken at the start or another sender took over.
        """
        schedules = catalog.schedules(self._config)
        self._signals()
        began = False
        wait_s = 1.0
        patience = round(PASSING_S / LOOK_S)

        def started(found: Started) -> None:
            nonlocal began, wait_s
            if not began:
                say(found)
            began, wait_s = True, 1.0

        while True:
            try:
                self._serve(schedules, started)
                return
            except (DatabaseAway, NotSetUp) as error:
                if not began:
                    raise
                log.warning("%s; again in %s s", error, round(wait_s))
            except Locked:
                patience -= 1
                if began or not patience or self._is_served() or self._stop.wait(LOOK_S):
                    raise
                continue
            self._stop = Event()  # its jobs have ended; those of the next session begin anew
            if self._ended or self._stop.wait(wait_s):
                return
            wait_s = min(2 * wait_s, AGAIN_MAX_S)

    def _is_served(self) -> bool:
        """Tell whether a daemon sends: it will not end by itself, as a command does."""
        with open_shop(self._config, clock=self._clock) as shop:
            return any(
                row["kind"] == "run" and sender.is_alive(shop, row) for row in sender.senders(shop)
            )

    def _serve(self, schedules: Schedules, say: Callable[[Started], None]) -> None:
        """Serve under one session, until somebody asks to stop or the connection is lost."""
        with (
            open_shop(self._config, clock=self._clock) as shop,
            recovery.recovered(replace(shop, actor="daemon"), "run") as found,
        ):
            for told in found.notes:
                log.warning("start: %s", told)
            if found.broken:
                raise recovery.refusal(found.broken)
            self._session = found.shop.session
            self._nudge = house.meta(shop.db, NUDGE)
            runner.bury_dead(found.shop)
            scheduler = self._scheduler(found.shop, schedules)
            shown = tuple((job.name, str(schedules[job.name])) for job in JOBS if _own(job))
            log.info("started, session %s", self._session)
            say(Started(int(self._session or 0), shown, found.notes))
            try:
                self._watch(found.shop, scheduler)
            finally:
                self._stop.set()
                scheduler.shutdown(wait=True)
                log.info("stopped, session %s", self._session)

    def _scheduler(self, shop: Shop, schedules: Any) -> Any:
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        zone = ZoneInfo(self._config.shop.timezone)
        scheduler = BackgroundScheduler(
            timezone=zone,
            executors={"default": ThreadPoolExecutor(THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        last = {row["job"]: row["started_ms"] for row in store.latest(shop.db)}
        for job in JOBS:
            schedule = schedules[job.name]
            if _own(job) and schedule is not None:
                self._add(scheduler, job, schedule, last.get(job.name, 0))
        scheduler.start()
        return scheduler

    def _add(self, scheduler: Any, job: Job, schedule: Schedule, last_ms: int) -> None:
        """Schedule a job; a daily one whose time passed while nobody was here runs soon."""
        from apscheduler.triggers.cron import CronTrigger
        from apscheduler.triggers.interval import IntervalTrigger

        now = self._now()
        more: dict[str, Any] = {}
        if isinstance(schedule, Every):
            trigger = IntervalTrigger(seconds=schedule.ms / 1000)
            more["next_run_time"] = now
        else:
            trigger = CronTrigger(
                hour=schedule.hour,
                minute=schedule.minute,
                day_of_week=",".join(schedule.days) or None,
                timezone=ZoneInfo(self._config.shop.timezone),
            )
            more["misfire_grace_time"] = DAILY_GRACE_S
            if not schedule.days and self._clock.now_ms() - last_ms > CATCH_UP_MS:
                more["next_run_time"] = now
        scheduler.add_job(self._work, trigger, args=[job], id=job.name, **more)

    def _work(self, job: Job) -> None:
        """Run a job in a thread of the scheduler, on a shop of its own."""
        with self._lock:
            if job.name in self._at_work or self._stop.is_set():
                return
            self._at_work[job.name] = (self._clock.monotonic(), 0)
        try:
            runner.guarded(job.name, lambda: self._run(job))
        finally:
            with self._lock:
                self._at_work.pop(job.name, None)

    def _run(self, job: Job) -> Ran:
        with open_shop(self._config, clock=self._clock) as own:
            shop = replace(own, session=self._session, actor="daemon")
            if job.sends and self._broken:
                raise recovery.refusal(self._broken)
            given = Given(stopping=self._stop.is_set)
            given = replace(given, then=runner.following(shop, lambda _: None, given))

            def started(run_id: int) -> None:
                with self._lock:
                    self._at_work[job.name] = (self._at_work[job.name][0], run_id)

            ran = runner.run_job(shop, job, given, started)
            if isinstance(ran.result, Health):
                self._broken = ran.result.blocking
            return ran

    def _watch(self, shop: Shop, scheduler: Any) -> None:
        """Look four times a second, beat every ten seconds, until it is time to stop."""
        beaten = -BEAT_S
        drift = shop.now_ms() - shop.clock.monotonic() * 1000
        while not self._stop.wait(LOOK_S):
            try:
                if self._asked_to_stop(shop):
                    return
                self._follow_nudge(shop, scheduler)
                if shop.clock.monotonic() - beaten >= BEAT_S:
                    beaten = shop.clock.monotonic()
                    self._beat(shop)
                    drift = self._note_jump(shop, drift)
            except Locked as error:
                log.warning("the database is busy: %s", error)
            except Broken as error:
                if type(error) is not Broken:  # fenced off, or the file is damaged
                    raise
                log.warning("nothing can be written: %s", error)  # it waits for room

    def _asked_to_stop(self, shop: Shop) -> bool:
        assert self._session is not None
        row = sessions.get(shop.db, self._session)
        if row is None or row["state"] != "live":
            raise TakenOver
        return bool(row["stop_ms"] is not None)

    def _follow_nudge(self, shop: Shop, scheduler: Any) -> None:
        """Deliver at once when a command asks; one that asks during a run gets the next."""
        nudge = house.meta(shop.db, NUDGE)
        with self._lock:
            busy = "deliver" in self._at_work
        if nudge == self._nudge or busy:
            return
        self._nudge = nudge
        deliver = catalog.find("deliver")
        assert deliver is not None
        scheduler.add_job(self._work, args=[deliver], id="nudge", replace_existing=True)

    def _beat(self, shop: Shop) -> None:
        assert self._session is not None
        with self._lock:
            at_work = dict(self._at_work)
        with shop.db.tx():
            sessions.beat(shop.db, self._session, shop.now_ms())
            store.beat(shop.db, [run for _, run in at_work.values() if run], shop.now_ms())
        late = {}
        for name, (since, _run) in at_work.items():
            job = catalog.find(name)
            took_s = round(shop.clock.monotonic() - since)
            if job is not None and took_s * 1000 > job.deadline_ms:
                limit = job.deadline_ms // 1000
                late[name] = f"job {name} is at work for more than {limit} s"
        alerts.settle(shop, "job_late", late)

    def _note_jump(self, shop: Shop, drift: float) -> float:
        """Put a jump of the machine's clock on record; nothing about safety rests on it."""
        now = shop.now_ms() - shop.clock.monotonic() * 1000
        if abs(now - drift) > JUMP_MS:
            with shop.db.tx():
                shop.audit("clock_jump", "host", f"{round((now - drift) / 1000)} s")
            log.warning("the clock jumped by %s s", round((now - drift) / 1000))
        return now

    def _signals(self) -> None:
        for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        self._ended = True
        self._stop.set()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def stop(shop: Shop) -> Stopped:
    """Ask running daemons to stop and wait until they have; `Locked` when one does not end.

    One that starts meanwhile was not asked, and is not waited for.
    """
    shop.must_be_writable()
    alive = _alive(shop)
    with shop.db.tx():
        if alive:
            sessions.ask_to_stop(shop.db, shop.now_ms())
            shop.audit("stop_asked", "daemon")
    end = shop.clock.monotonic() + STOP_WAIT_S
    while not set(alive).isdisjoint(_alive(shop)):
        if shop.clock.monotonic() > end:
            raise Locked(
                detail="it is still finishing: {jobs}",
                jobs=", ".join(store.running(shop.db)) or "a job",
                mend="kmtool run log; it ends after that job",
            )
        shop.clock.sleep(0.2)
    return Stopped(len(alive))


def _alive(shop: Shop) -> list[int]:
    return [
        row["id"]
        for row in sessions.live(shop.db)
        if row["kind"] == "run" and sender.is_alive(shop, row)
    ]


def _own(job: Job) -> bool:
    """Tell whether a job has a time of its own."""
    return job.name not in FOLLOWS
