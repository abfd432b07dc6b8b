"""How long deliveries take, per step, channel and hour of the day; the alert when one is slow.

Nearest-rank percentiles (see `store.latency`). What waited for a person, for stock or for the other
lines of its order is told apart and raises no alert: it has one of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kmtool.errors import UsageError
from kmtool.operations import alerts
from kmtool.shop import Shop
from kmtool.store import latency as store
from kmtool.store.db import Row
from kmtool.store.latency import STEPS

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FEW = 3
"""Fewer lines than this say nothing about a step; one that hangs is told as waiting."""
CODE = "latency"


@dataclass(frozen=True, slots=True)
class Latency:
    """One step of one channel (and hour of the day): seconds at p50, p95 and the most."""

    step: str
    channel: str
    hour: int | None
    waited: bool
    count: int
    p50_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """All steps since a moment; rows with `waited` are those that waited for something."""

    since_ms: int
    by: str
    rows: tuple[Latency, ...]


def report(shop: Shop, *, days: int, by: str) -> LatencyReport:
    """Return p50, p95, most and count per step and channel, with `by` hour also per hour."""
    if by not in {"channel", "hour"}:
        raise UsageError(detail="by {by}?", by=by, mend="--by channel or --by hour")
    if not 1 <= days <= 3660:
        raise UsageError(detail="{days} days?", days=days, mend="--days 7")
    since = shop.now_ms() - days * DAY_MS
    groups = _Groups(_offset_ms(shop) if by == "hour" else None)
    for row in store.order_stamps(shop.db, since):
        groups.add("paid_seen", row["channel"], 0, row["at"], row["seen_ms"])
        done, marked = row["acknowledged_ms"], row["marked_ms"]
        groups.add("acknowledged_marked", row["channel"], row["waited"], done, marked)
    count = store.count_lines(shop.db, since)
    lines: Iterable[Row] = shop.progress(store.line_stamps(shop.db, since), "lines", count)
    for row in lines:
        channel, waited, paid, seen = row["channel"], row["waited"], row["paid_ms"], row["seen_ms"]
        sent, done = row["sent_ms"], row["acknowledged_ms"]
        groups.add("seen_reserved", channel, waited, seen, row["at"])
        groups.add("reserved_sent", channel, waited, row["at"], sent)
        groups.add("sent_acknowledged", channel, waited, sent, done)
        groups.add("seen_sent", channel, waited, seen, sent)
        groups.add("paid_sent", channel, waited, paid, sent)
        groups.add("paid_acknowledged", channel, waited, paid, done)
    return LatencyReport(since, by, tuple(groups.rows()))


class _Groups:
    """Durations by step, channel, waited and hour; eight bytes each, so a million lines fit."""

    def __init__(self, offset_ms: int | None) -> None:
        self._offset_ms = offset_ms
        self._taken: dict[tuple[str, str, int, int], array[int]] = {}

    def add(self, step: str, channel: str, waited: int, start: int | None, end: int | None) -> None:
        """Count one duration; without both stamps there is none, and none is below 0."""
        if start is None or end is None:
            return
        hour = -1 if self._offset_ms is None else (start + self._offset_ms) // HOUR_MS % 24
        key = (step, channel, waited, hour)
        found = self._taken.get(key)
        if found is None:
            found = self._taken[key] = array("q")
        found.append(end - start if end > start else 0)

    def rows(self) -> Iterator[Latency]:
        """Yield the figures by step, as a delivery goes, then channel."""
        places = {step.name: place for place, step in enumerate(STEPS)}
        for key in sorted(self._taken, key=lambda key: (places[key[0]], *key[1:])):
            ordered = sorted(self._taken[key])
            step, channel, waited, hour = key
            yield Latency(
                step=step,
                channel=channel,
                hour=None if hour < 0 else hour,
                waited=bool(waited),
                count=len(ordered),
                p50_s=percentile(ordered, 50) / 1000,
                p95_s=percentile(ordered, 95) / 1000,
                max_s=ordered[-1] / 1000,
            )


def check(shop: Shop) -> None:
    """Open and clear the alerts of slow steps, one per channel and step."""
    shop.must_be_writable()
    alerts.settle(shop, CODE, slow(shop))


def slow(shop: Shop) -> dict[str, str]:
    """Return the steps whose p95 of the last hour is past its limit in `[alerts]`, in words."""
    now = shop.now_ms()
    found: dict[str, str] = {}
    limits = _limits(shop)
    for step in STEPS:
        limit = limits.get(step.name, 0)
        if not limit:
            continue
        taken = store.by_itself(shop.db, step, now - DAY_MS, now - HOUR_MS)
        late = store.overdue(shop.db, step, now, limit)
        for channel in sorted({*taken, *late}):
            every = sorted([*taken.get(channel, []), *late.get(channel, [])])
            p95 = percentile(every, 95)
            if len(every) >= FEW and p95 > limit:
                found[f"{channel}:{step.name}"] = _told(channel, step.name, p95, limit, len(every))
    return found


def _limits(shop: Shop) -> Mapping[str, int]:
    given = shop.config.alerts
    return {
        "paid_seen": given.latency_paid_to_seen_ms,
        "seen_sent": given.latency_seen_to_sent_ms,
        "paid_sent": given.latency_paid_to_sent_ms,
        "sent_acknowledged": given.latency_sent_to_acknowledged_ms,
        "acknowledged_marked": given.latency_acknowledged_to_marked_ms,
    }


def _told(channel: str, step: str, p95: int, limit: int, n: int) -> str:
    return (
        f"{channel}: {arrow(step)} takes {spoken(p95 / 1000)} (p95 of {n} in the last hour),"
        f" the limit is {spoken(limit / 1000)}: kmtool report latency"
    )


def _offset_ms(shop: Shop) -> int:
    """Return how far the shop's zone is from UTC now; hours of the day are counted with it."""
    moment = datetime.fromtimestamp(shop.now_ms() / 1000, ZoneInfo(shop.config.shop.timezone))
    offset = moment.utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


def arrow(step: str) -> str:
    """Return a step as people read it: paid → seen."""
    return step.replace("_", " → ")


def percentile(ordered: list[int], p: int) -> int:
    """Return the nearest-rank percentile of sorted numbers: the one at place ceil(p · n / 100)."""
    return ordered[max(1, -(-p * len(ordered) // 100)) - 1]


def spoken(seconds: float) -> str:
    """Return a duration as people write it: 0.4s, 12s, 3m20s, 2h05m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
