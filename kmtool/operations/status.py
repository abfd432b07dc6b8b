"""The morning screen: the last day in a figure, what needs you, what runs out, what is owed.

Everything that needs a person comes with its money, its age and the one command that settles it.
The items are gathered in waiting_lines.py and waiting_elsewhere.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kmtool.domain.states import COUNTER
from kmtool.operations import doctor, waiting_elsewhere
from kmtool.operations.doctor import Check
from kmtool.operations.house import Pause, paused
from kmtool.operations.needs_you import NeedsYou as NeedsYou
from kmtool.operations.needs_you import quoted as quoted
from kmtool.operations.waiting_lines import Waiting, waiting
from kmtool.shop import Shop
from kmtool.store import alerts, house
from kmtool.store import status as store

DAY_MS = 86_400_000
COVER_DAYS = 14
SOON_DAYS = 7


@dataclass(frozen=True, slots=True)
class Money:
    """An amount with its currency."""

    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours: orders paid, delivered whole, waiting for you (of any age), net money.

    Net is what was paid less what was refunded, before the channels' fees.
    """

    orders: int
    delivered: int
    waiting: int
    net: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class RunsOut:
    """A product that runs out soon; `days` of cover at the last 14 days' pace, None if it is only
    below its limit."""

    sku: str
    title: str
    free: int
    sold: int
    days: float | None


@dataclass(frozen=True, slots=True)
class Owed:
    """Money that an account still owes the shop (its clearing balance in the ledger)."""

    account: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Status:
    """The morning screen's facts. `needs_you` is complete; a screen shows the first ones."""

    at_ms: int
    day: Day
    needs_you: tuple[NeedsYou, ...]
    runs_out: tuple[RunsOut, ...]
    owed: tuple[Owed, ...]
    paused: tuple[str, ...]
    checks: tuple[Check, ...]
    pauses: tuple[Pause, ...] = ()


def status(shop: Shop) -> Status:
    """Gather the morning screen; nothing is changed."""
    now = shop.now_ms()
    lines = waiting(shop)
    needs = sorted(_needs(shop, lines), key=lambda item: (item.rank, item.since_ms))
    return Status(
        at_ms=now,
        day=_day(shop, lines.asking),
        needs_you=tuple(needs),
        runs_out=tuple(running_out(shop, lines.short)),
        owed=tuple(owed(shop)),
        paused=tuple(house.pauses(shop.db)),
        pauses=paused(shop),
        checks=(
            doctor.daemon_check(shop),
            doctor.backup_check(shop),
            doctor.jobs_check(shop),
            doctor.disk_check(shop),
            doctor.sessions_check(shop),
            doctor.host_check(shop),
        ),
    )


def runs_out(shop: Shop) -> Iterator[RunsOut]:
    """Yield products whose stock lasts less than a week, the shortest first."""
    found = []
    for row in store.sold(shop.db, shop.now_ms() - COVER_DAYS * DAY_MS):
        days = round(row["free"] * COVER_DAYS / row["sold"], 1)
        if days < SOON_DAYS:
            found.append(RunsOut(row["sku"], row["title"], row["free"], row["sold"], days))
    yield from sorted(found, key=lambda one: (one.days, -one.sold, one.sku))


def running_out(shop: Shop, short: Iterable[str] = ()) -> Iterator[RunsOut]:
    """Yield what runs out within a week, then what is below its limit though it hardly sells."""
    soon = list(runs_out(shop))
    yield from soon
    named = {one.sku for one in soon}
    yield from (one for one in _low(shop, short) if one.sku not in named)


def owed(shop: Shop) -> Iterator[Owed]:
    """Yield what accounts owe, from the ledger."""
    for row in store.clearing(shop.db):
        name = row["account"].removeprefix("clearing:")
        if name == COUNTER:
            continue  # a sale by hand: its money is in your hand
        yield Owed(name, row["amount_minor"], row["currency"])


def _day(shop: Shop, waiting: int) -> Day:
    rows = store.day(shop.db, shop.now_ms() - DAY_MS)
    return Day(
        orders=sum(row["orders"] for row in rows),
        delivered=sum(row["delivered"] for row in rows),
        waiting=waiting,
        net=tuple(Money(row["net_minor"], row["currency"]) for row in rows),
    )


def _needs(shop: Shop, lines: Waiting) -> Iterator[NeedsYou]:
    yield from lines.items
    yield from waiting_elsewhere.items(shop)


def _low(shop: Shop, short: Iterable[str]) -> Iterator[RunsOut]:
    """Yield products below their limit; those that orders wait for are an item of their own."""
    for row in alerts.low_stock(shop.db, shop.config.alerts.low_stock):
        if row["free"] < row["wanted"] and row["sku"] not in short:
            yield RunsOut(row["sku"], row["title"], row["free"], 0, None)
