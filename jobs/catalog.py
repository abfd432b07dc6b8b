"""The list of jobs: name → operation, default schedule, deadline. The only one.

A job is an operation that the daemon starts by itself; `[jobs]` in kmtool.toml gives another time
or `off`. `stock` and `shelf` have no time of their own: they follow the sync of a channel; figures
pushed at any other moment would overwrite what the channel sold meanwhile.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jobs.schedule import Daily, Every, Schedule, parse
from kmtool.app import open_shop
from kmtool.config import Config
from kmtool.errors import UnknownSetting
from kmtool.operations import alerts, audit, backup, doctor, inbox, latency, restore, shelf
from kmtool.operations.deliver import deliver_all, nudge
from kmtool.operations.stock_push import PushResult, push_stock
from kmtool.operations.sync import ChannelResult, SyncResult, sync_channel
from kmtool.shop import Shop

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def never() -> bool:
    """Tell that nobody asked to stop."""
    return False


@dataclass(frozen=True, slots=True)
class Given:
    """What a job gets beside the shop: is it to stop, and the channel that was just pulled.

    `then` runs another job from within (stock push and shelf after each channel).
    """

    stopping: Callable[[], bool] = never
    synced: ChannelResult | None = None
    then: Callable[[str, ChannelResult], None] = field(default=lambda _name, _synced: None)


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `sends` marks the one that needs the sender's session."""

    name: str
    line: str
    work: Callable[[Shop, Given], object]
    default: Callable[[Config], Schedule | None]
    deadline_ms: int
    sends: bool = False


def _sync(shop: Shop, given: Given) -> SyncResult:
    """Pull channel after channel; each is told its stock right after it was read.

    What was found new is delivered at once, not at the next time of `deliver`.
    """
    results = []
    for name in shop.config.channels:
        if given.stopping():
            break
        result = sync_channel(shop, name)
        results.append(result)
        if (result.orders_new or result.orders_changed) and not is_off(shop.config, "deliver"):
            nudge(shop)
        alerts.note_sync(shop, [result])
        if not result.error:
            given.then("stock", result)
            given.then("shelf", result)
    return SyncResult(tuple(results))


def _stock(shop: Shop, given: Given) -> PushResult:
    assert given.synced is not None, "stock is pushed only after a sync"
    return push_stock(shop, given.synced)


def _shelf(shop: Shop, given: Given) -> shelf.ShelfResult:
    assert given.synced is not None, "a shelf is kept only after a sync"
    result = shelf.guard(shop, given.synced)
    alerts.settle(shop, "off_shelf", shelf.off_now(shop))
    return result


def _deliver(shop: Shop, given: Given) -> object:
    return deliver_all(shop, stopping=given.stopping)


def _inbox(shop: Shop, _given: Given) -> inbox.InboxResult:
    result = inbox.take_in(shop)
    alerts.settle(shop, "inbox", inbox.failed(shop))
    return result


def _doctor(shop: Shop, _given: Given) -> doctor.Health:
    health = doctor.doctor(shop)
    found = {check.name: f"{check.name}: {check.figure}" for check in health.problems}
    # What has an alert of its own is not told twice.
    own = {"backup", "jobs", "daemon"}
    alerts.settle(shop, "doctor", {k: v for k, v in found.items() if k not in own})
    return health


def _drill(shop: Shop, _given: Given) -> object:
    """Restore the newest backup on trial; a shop without one has nothing to try."""
    if backup.newest(shop.config) is None:
        return None
    clock = shop.clock
    done = restore.drill(shop, lambda config: open_shop(config, clock=clock))
    wrong = "; ".join(f"{check.name}: {check.figure}" for check in done.settled.broken)
    alerts.settle(shop, "drill", {"backup": wrong} if wrong else {})
    return done


JOBS: tuple[Job, ...] = (
    Job(
        "sync", "pull orders and refunds", _sync, lambda c: Every(c.sync.every_ms), 10 * MINUTE_MS
    ),
    Job("stock", "tell each channel its stock, right after its sync", _stock, lambda _: None,
        5 * MINUTE_MS),
    Job("shelf", "hide what ran out, show what is there again", _shelf, lambda _: None,
        5 * MINUTE_MS),
    Job("deliver", "hand over all that is due", _deliver, lambda c: Every(c.deliver.every_ms),
        10 * MINUTE_MS, sends=True),
    Job("inbox", "take in statements dropped into inbox/statements",
        _inbox, lambda _: Every(5 * MINUTE_MS), 10 * MINUTE_MS),
    Job("doctor", "all checks", _doctor, lambda _: Daily(4, 0), HOUR_MS),
    Job("backup", "a copy of the database and the send journal",
        lambda shop, _: backup.backup(shop), lambda _: Daily(4, 30), HOUR_MS),
    Job("drill", "restore the newest backup on trial",
        _drill, lambda _: Daily(5, 0, ("sun",)), HOUR_MS),
    Job("anchor", "note the heads of the audit outside the shop folder",
        lambda shop, _: audit.anchor(shop), lambda _: Daily(4, 15), 10 * MINUTE_MS),
    Job("latency", "look whether deliveries are slow",
        lambda shop, _: latency.check(shop), lambda _: Every(5 * MINUTE_MS), 5 * MINUTE_MS),
    Job("low_stock", "look for what the owner must hear of, and tell",
        lambda shop, _: alerts.watch(shop), lambda _: Every(MINUTE_MS), 5 * MINUTE_MS),
)  # fmt: skip
FOLLOWS = {"stock": "sync", "shelf": "sync"}


def find(name: str) -> Job | None:
    """Return the job of a name."""
    return next((job for job in JOBS if job.name == name), None)


def schedules(config: Config) -> Mapping[str, Schedule | None]:
    """Return when each job runs: its default, or what `[jobs]` says; None is off.

    `stock` can only be switched off. Raises `UnknownSetting` or `ConfigError`.
    """
    found: dict[str, Schedule | None] = {job.name: job.default(config) for job in JOBS}
    for name, text in config.jobs.items():
        if name not in found:
            near = difflib.get_close_matches(name, list(found), 1, 0.1) or ["sync"]
            raise UnknownSetting(name=f"jobs.{name}", nearest=f"jobs.{near[0]}", where="[jobs]")
        found[name] = parse(text, f"jobs.{name}")
    return found


def is_off(config: Config, name: str) -> bool:
    """Tell whether `[jobs]` switches a job off."""
    return name in config.jobs and parse(config.jobs[name], f"jobs.{name}") is None
