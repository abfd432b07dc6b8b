"""The morning screen: the last day in a figure, what needs you, what runs out, what is owed.

Everything that needs a person comes with its money, its age and the one command that settles it.
Lines of one cause are one item: a product that is short is one thing to do, not twenty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kmtool.domain.ids import OrderId
from kmtool.domain.recon import EXCEPTIONS
from kmtool.domain.states import COUNTER, Gate, LineState, Mode
from kmtool.errors import Stored, marked, told
from kmtool.operations import doctor, refunds, waiting_elsewhere
from kmtool.operations.doctor import Check
from kmtool.operations.house import Pause, paused
from kmtool.operations.needs_you import NeedsYou as NeedsYou
from kmtool.operations.needs_you import quoted
from kmtool.shop import Shop
from kmtool.store import alerts, house
from kmtool.store import status as store
from kmtool.store.db import Row

DAY_MS = 86_400_000
COVER_DAYS = 14
SOON_DAYS = 7
FEW = 2
REFUSED = "refused"
REPLACEMENT = "replacement"
"""Causes beside states and gates: a refund that waits for its channel, a bad key for stock."""


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
    """A product that runs out soon; `days` of cover at the last 14 days' pace."""

    sku: str
    title: str
    free: int
    sold: int
    days: float


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
    lines = [row for row in store.waiting(shop.db) if not _others_send(shop, row)]
    needs = sorted(_needs(shop, lines), key=lambda item: (item.rank, item.since_ms or now))
    asking = {row["order_id"] for row in lines if _asks(row)}
    return Status(
        at_ms=now,
        day=_day(shop, len(asking)),
        needs_you=tuple(needs),
        runs_out=tuple(runs_out(shop)),
        owed=tuple(owed(shop)),
        paused=tuple(house.pauses(shop.db)),
        pauses=paused(shop),
        checks=(
            doctor.daemon_check(shop),
            doctor.backup_check(shop),
            doctor.jobs_check(shop),
            doctor.disk_check(shop),
            doctor.sessions_check(shop),
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


def _others_send(shop: Shop, row: Row) -> bool:
    """Tell whether a line is held only because its channel is on watch: somebody else delivers."""
    channel = shop.config.channels.get(row["channel"])
    is_watched = channel is not None and channel.mode is Mode.WATCH
    return is_watched and row["state"] == LineState.HELD


def _asks(row: Row) -> bool:
    """Tell whether a line waits for a person (not for its siblings, or for an answer)."""
    return bool(row["state"] != LineState.UNKNOWN and row["gate"] != Gate.ORDER_WAIT)


def _needs(shop: Shop, lines: Iterable[Row]) -> Iterator[NeedsYou]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in lines:
        if row["gate"] != Gate.ORDER_WAIT:
            groups.setdefault((*_cause(shop, row), row["currency"]), []).append(row)
    for (cause, name, currency), rows in groups.items():
        yield _item(cause, name, currency, rows)
    for row in store.unmarked(shop.db):
        yield NeedsYou(
            told("delivered, but not marked shipped there"), row["total_minor"], row["currency"],
            row["since_ms"], f"kmtool order show {quoted(row['number'])}", 1, 1,
        )  # fmt: skip
    for row in store.unanswered(shop.db):
        yield NeedsYou(
            told("the answer to a refund did not get through: {reason}",
                 reason=Stored(row["reason"])),
            row["total_minor"], row["currency"], row["since_ms"],
            f"kmtool order refund {quoted(row['number'])}", 1, 1,
        )  # fmt: skip
    yield from waiting_elsewhere.items(shop)
    for row in store.exceptions(shop.db):
        yield _exception(row)
    short = {name for cause, name, _ in groups if cause == Gate.STOCK}
    yield from _low_stock(shop, short)


def _cause(shop: Shop, row: Row) -> tuple[str, str]:
    """Return what lines have in common when one command settles them all."""
    is_refund = row["state"] == LineState.REFUND_CASE or row["gate"] == Gate.REFUND
    if is_refund and refunds.was_refused(shop, OrderId(row["order_id"])):
        return REFUSED, f"{row['channel']}:{row['number']}"
    match row["state"], row["gate"]:
        case LineState.HUMAN, Gate.STOCK:
            return REPLACEMENT, row["sku"] or ""
        case LineState.UNMAPPED, _:
            return LineState.UNMAPPED, row["title"]
        case LineState.HELD, Gate.STOCK | Gate.PRODUCT:
            return row["gate"], row["sku"] or ""
        case LineState.HELD, Gate.MODE:
            return Gate.MODE, row["channel"]
        case LineState.HELD, Gate.PAUSE:
            return Gate.PAUSE, row["reason"].removesuffix(" is paused")
        case LineState.HELD, gate:
            return gate, f"{row['channel']}:{row['number']}"
        case state, _:
            return state, f"{row['channel']}:{row['number']}"


_WORDS: dict[str, tuple[int, str, str]] = {
    LineState.HUMAN: (0, marked("needs you 要你处理: {reason}"), "kmtool order redeliver {number}"),
    LineState.REFUND_CASE: (
        1,
        marked("refund after delivery 退款"),
        "kmtool order refund {number}",
    ),
    REPLACEMENT: (
        2,
        marked("{sku} is short for a replacement: {orders}"),
        "kmtool import FILE --sku {sku}",
    ),
    REFUSED: (6, marked("refund refused, the channel decides 已拒绝退款"), "kmtool sync"),
    Gate.STOCK: (
        2,
        marked("{sku} is short: {keys} for {orders}"),
        "kmtool import FILE --sku {sku}",
    ),
    Gate.PRICE: (3, marked("below cost or floor 低价"), "kmtool order release {number}"),
    Gate.AMOUNT: (3, marked("other amount than agreed"), "kmtool order release {number}"),
    Gate.BURST: (3, marked("unusually many at once"), "kmtool order release {number}"),
    Gate.RISK: (3, marked("held: {reason}"), "kmtool order release {number}"),
    Gate.SHIPPED: (3, marked("shipped there, not by kmtool"), "kmtool order release {number}"),
    Gate.REFUND: (3, marked("refund before delivery 退款"), "kmtool order refund {number}"),
    Gate.ROUTE: (3, marked("cannot be reached: {reason}"), "kmtool order why {number}"),
    Gate.ADDRESS: (3, marked("cannot be reached: {reason}"), "kmtool order why {number}"),
    Gate.MODE: (3, marked("{orders} of {channel}: your word"), "kmtool order release {number}"),
    LineState.UNMAPPED: (3, marked("not mapped: {title}"), "kmtool product unmapped"),
    Gate.PRODUCT: (4, marked("{sku} is off: {orders}"), "kmtool product set {sku} --state on"),
    Gate.PAUSE: (4, marked("{name} is paused: {orders}"), "kmtool resume {name}"),
    LineState.UNKNOWN: (6, marked("outcome unclear 结果不明: asked again"), "kmtool deliver"),
}
_OTHER = (3, "{reason}", "kmtool order why {number}")


def _item(cause: str, name: str, currency: str, rows: list[Row]) -> NeedsYou:
    first = rows[0]
    rank, what, command = _WORDS.get(cause, _OTHER)
    orders = len({row["order_id"] for row in rows})
    keys = sum(row["needed"] for row in rows)
    facts = {
        "reason": Stored(first["reason"] or cause),
        "number": quoted(first["number"]),
        "sku": quoted(first["sku"] or ""),
        "title": first["title"],
        "channel": first["channel"],
        "name": name,
        "keys": told("{n} keys" if keys > 1 else "{n} key", n=keys),
        "orders": told("{n} orders" if orders > 1 else "{n} order", n=orders),
    }
    if cause == Gate.MODE and orders > 1:
        command = "kmtool order list --state held"
    return NeedsYou(
        told(what, **facts),
        sum(row["amount_minor"] for row in rows),
        currency,
        min(row["since_ms"] for row in rows),
        command.format(**facts),
        orders,
        rank,
    )


def _exception(row: Row) -> NeedsYou:
    kind = EXCEPTIONS.get(row["code"])
    group = kind.group if kind else "difference"
    command = f"kmtool recon list --code {row['code']}"
    what = told("{group} 对账: {n} × {code}", group=told(group), n=row["n"], code=row["code"])
    return NeedsYou(what, row["amount_minor"], row["currency"], row["since_ms"], command, 0, 5)


def _low_stock(shop: Shop, short: set[str]) -> Iterator[NeedsYou]:
    low = [
        row
        for row in alerts.low_stock(shop.db, shop.config.alerts.low_stock)
        if row["free"] < row["wanted"] and row["sku"] not in short
    ]
    for row in low if len(low) <= FEW else ():
        command = f"kmtool import FILE --sku {quoted(row['sku'])}"
        left = told("{sku}: {n} keys left", sku=row["sku"], n=row["free"])
        yield NeedsYou(left, None, "", None, command, 0, 5)
    if len(low) > FEW:
        many = told("{n} products are low on stock", n=len(low))
        yield NeedsYou(many, None, "", None, "kmtool key stock", 0, 5)
