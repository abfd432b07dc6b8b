"""A channel on watch: what would have been sent, against what really happened there.

Every line gets a verdict once: `send`, or `hold` with the first gate that is shut; a held one is
looked at again until it would go. Nothing is bound. What would have left counts against stock and
brakes as if it had, so that the thousandth line is judged like one of a channel on auto.

Somebody else delivers on such a channel. A line whose order is shipped there is closed, so that a
later change to `ask` or `auto` sends nothing a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kmtool.domain.gates import Shut, Situation, first_shut
from kmtool.domain.ids import LineId, OrderId
from kmtool.domain.states import Gate, LineState, Mode, OrderStatus, RefundState
from kmtool.errors import NotFound, Stored, marked, told
from kmtool.operations import holds
from kmtool.operations.facts import HOUR_MS, Facts, gather
from kmtool.operations.refunds import WAITING
from kmtool.operations.reserve import situation
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store import watching as store
from kmtool.store.db import Row

CHUNK = 100
DAY_MS = 86_400_000
THERE = (OrderStatus.SHIPPED, OrderStatus.DONE)
ELSEWHERE = marked("shipped there by others while the channel was on watch")
ASK_LINES = 10
AUTO_LINES, AUTO_DAYS = 50, 3
SHARE = 20
"""`ask` bears one difference in so many lines; `auto` bears none."""


class Kind(StrEnum):
    """What a comparison found. All but the first two are differences."""

    SAME = "same"
    WAITING = "waiting"
    UNMAPPED = "unmapped"
    HELD = "held"
    UNSHIPPED = "unshipped"
    REFUNDED = "refunded"


DIFFERENT = (Kind.UNMAPPED, Kind.HELD, Kind.UNSHIPPED, Kind.REFUNDED)


@dataclass(frozen=True, slots=True)
class Compared:
    """One watched line: what we would have done, and what stands there. Money of the line."""

    kind: str
    order: str
    title: str
    sku: str
    keys: int
    amount_minor: int
    currency: str
    verdict: str
    gate: str
    reason: str
    there: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Figure:
    """How many lines and keys of a kind, and their money, per currency."""

    kind: str
    lines: int
    keys: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Report:
    """The comparison of a channel, differences first, and what it justifies."""

    channel: str
    mode: str
    since_ms: int
    at_ms: int
    lines: int
    orders: int
    figures: tuple[Figure, ...]
    differences: tuple[Compared, ...]
    justified: str
    sentence: str
    command: str


def observe(shop: Shop, names: Iterable[str] = ()) -> int:
    """Judge the waiting lines of channels on watch; return how many verdicts were written."""
    watched = [name for name, one in shop.config.channels.items() if one.mode is Mode.WATCH]
    count = 0
    for name in watched:
        if names and name not in names:
            continue
        after = 0
        while chunk := store.due(shop.db, name, after, CHUNK):
            with shop.db.tx():
                count += _judge(shop, name, chunk)
            after = chunk[-1]
    return count


def report(shop: Shop, name: str, days: int) -> Report:
    """Compare what would have been sent with what happened; raises `NotFound`."""
    channel = shop.config.channels.get(name)
    if channel is None:
        raise NotFound(kind="channel", name=name)
    now = shop.now_ms()
    since = now - days * DAY_MS
    rows = [row for row in store.seen(shop.db, name, since) if row["reserved_ms"] is None]
    compared = [_compared(row, now) for row in rows]
    different = [one for one in compared if one.kind in DIFFERENT]
    justified, sentence = _advice(compared, now)
    if channel.mode is not Mode.WATCH and not compared:
        justified = channel.mode
        sentence = told("{channel} is not on watch: nothing is compared.", channel=name)
    order = {kind: at for at, kind in enumerate(DIFFERENT)}
    return Report(
        channel=name,
        mode=channel.mode,
        since_ms=since,
        at_ms=now,
        lines=len(compared),
        orders=len({row["order_id"] for row in rows}),
        figures=tuple(_figures(compared)),
        differences=tuple(sorted(different, key=lambda one: (order[Kind(one.kind)], one.since_ms))),
        justified=justified,
        sentence=sentence,
        command=_command(name, justified, channel.mode, different),
    )


def _judge(shop: Shop, channel: str, order_ids: Sequence[int]) -> int:
    orders.lock(shop.db, order_ids)
    facts = gather(shop, order_ids)
    lines = [line for number in order_ids for line in facts.lines.get(number, ())]
    waiting = [line for line in lines if line["state"] in WAITING]
    verdicts = store.known(shop.db, [line["id"] for line in waiting])
    _as_if_sent(shop, channel, facts)
    rows = []
    for line in waiting:
        order = facts.orders[line["order_id"]]
        if verdicts.get(line["id"]) == "send":
            continue
        shut = first_shut(_as_if_trusted(shop, facts, order, line))
        if shut is None:
            facts.count(order, line)
        rows.append(_row(channel, line, shut, facts.now_ms))
    _close(shop, [x for x in waiting if facts.orders[x["order_id"]]["status"] in THERE])
    store.put(shop.db, rows)
    return len(rows)


def _close(shop: Shop, lines: Sequence[Row]) -> None:
    """End lines that somebody else delivered."""
    for line in lines:
        source, now = LineState(line["state"]), shop.now_ms()
        orders.move_line(
            shop.db, LineId(line["id"]), source, LineState.CLOSED, now, reason=ELSEWHERE
        )
    for order_id in sorted({line["order_id"] for line in lines}):
        holds.follow(shop, OrderId(order_id))


def _as_if_sent(shop: Shop, channel: str, facts: Facts) -> None:
    """Let earlier verdicts count as if their keys had left."""
    since = facts.now_ms - HOUR_MS
    for sku, n in store.taken(shop.db, sorted(facts.shelves)).items():
        facts.shelves[sku].free -= n
    for sku, (n, money) in store.hour_of_skus(shop.db, sorted(facts.products), since).items():
        pieces, worth = facts.sku_hour.get(sku, (0, 0))
        facts.sku_hour[sku] = (pieces + n, worth + money)
    for buyer, n in store.hour_of_buyers(shop.db, channel, since).items():
        facts.buyer_hour[channel, buyer] = facts.buyer_hour.get((channel, buyer), 0) + n


def _as_if_trusted(shop: Shop, facts: Facts, order: Row, line: Row) -> Situation:
    """Return the situation of a line as it were on auto, before anybody shipped it."""
    found = situation(shop, facts, order, line)
    status = OrderStatus.PAID if found.status in THERE else found.status
    return replace(found, mode=Mode.AUTO, status=status)


def _row(channel: str, line: Row, shut: Shut | None, now: int) -> Row:
    return {
        "line_id": line["id"],
        "order_id": line["order_id"],
        "channel": channel,
        "sku": line["sku"],
        "n": line["needed"],
        "amount_minor": line["amount_minor"],
        "verdict": "send" if shut is None else "hold",
        "gate": shut.gate if shut else "",
        "reason": shut.reason[:300] if shut else "",
        "now": now,
    }


def _compared(row: Row, now: int) -> Compared:
    return Compared(
        kind=_kind(row, now),
        order=row["number"],
        title=row["title"],
        sku=row["sku"] or "",
        keys=row["n"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        verdict=row["verdict"],
        gate=row["gate"],
        reason=Stored(row["reason"]),
        there=row["status"] if row["refund"] == RefundState.NONE else f"refund {row['refund']}",
        since_ms=row["first_ms"],
    )


def _kind(row: Row, now: int) -> Kind:
    is_there = row["status"] in THERE
    if row["verdict"] == "send":
        if row["refund"] != RefundState.NONE or row["status"] == OrderStatus.CLOSED:
            return Kind.REFUNDED
        if is_there:
            return Kind.SAME
        return Kind.UNSHIPPED if now - row["first_ms"] > DAY_MS else Kind.WAITING
    if row["gate"] == Gate.MAPPED:
        return Kind.UNMAPPED
    return Kind.HELD if is_there else Kind.SAME


def _figures(compared: Sequence[Compared]) -> Iterable[Figure]:
    for kind in (*DIFFERENT, Kind.WAITING, Kind.SAME):
        for currency in sorted({one.currency for one in compared}):
            found = [x for x in compared if x.kind == kind and x.currency == currency]
            if found:
                yield Figure(
                    kind,
                    len(found),
                    sum(one.keys for one in found),
                    sum(one.amount_minor for one in found),
                    currency,
                )


def _advice(compared: Sequence[Compared], now: int) -> tuple[str, str]:
    """Return (mode, sentence): what the figures justify. A refund is nobody's mistake."""
    judged = [one for one in compared if one.kind != Kind.WAITING]
    wrong = [one for one in judged if one.kind in {Kind.HELD, Kind.UNSHIPPED, Kind.UNMAPPED}]
    if len(judged) < ASK_LINES:
        need = told("{n} of {least} lines are seen to the end", n=len(judged), least=ASK_LINES)
        return Mode.WATCH, told("Keep watching: {need}.", need=need)
    if len(wrong) * SHARE > len(judged):
        return Mode.WATCH, told(
            "Not yet: {n} of {all} lines differ; settle these first.", n=len(wrong), all=len(judged)
        )
    days = (now - min(one.since_ms for one in judged)) // DAY_MS
    if wrong or len(judged) < AUTO_LINES or days < AUTO_DAYS:
        return Mode.ASK, told(
            "`ask` is justified: {n} of {all} lines differ over {days} days;"
            " `auto` wants {least} lines over {least_days} days without a difference.",
            n=len(wrong),
            all=len(judged),
            days=days,
            least=AUTO_LINES,
            least_days=AUTO_DAYS,
        )
    return Mode.AUTO, told(
        "`auto` is justified: {all} lines over {days} days, none differs.",
        all=len(judged),
        days=days,
    )


def _command(name: str, justified: str, mode: str, different: Sequence[Compared]) -> str:
    """Return the exact next command: the mode that is justified, else what mends a difference."""
    if justified != Mode.WATCH:
        return "" if justified == mode else f"kmtool channel set {name} --mode {justified}"
    if any(one.kind == Kind.UNMAPPED for one in different):
        return "kmtool product unmapped"
    held = next((one for one in different if one.kind == Kind.HELD), None)
    return f"kmtool order why {held.order}" if held else f"kmtool sync {name}"
