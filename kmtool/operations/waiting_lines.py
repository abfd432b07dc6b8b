"""Order lines that wait for the owner: what lines have in common, and the command that settles it.

Lines of one cause are one item: a product that is short is one thing to do, not twenty. A command
that stands here settles its item, if need be with the next delivery; what the owner fills in stands
in capitals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kmtool.domain.gates import limit_command
from kmtool.domain.ids import OrderId
from kmtool.domain.states import Gate, LineKind, LineState, Mode, RefundState
from kmtool.errors import Stored, marked, told
from kmtool.operations import permit, refunds, topup
from kmtool.operations.by_hand import STOPPED
from kmtool.operations.by_hand_back import TAKEN_BACK
from kmtool.operations.deliver import by_hand_routes
from kmtool.operations.needs_you import NeedsYou, quoted
from kmtool.operations.order_records import ASSUMED
from kmtool.operations.rebind import LOST_KEY
from kmtool.shop import Shop
from kmtool.store import house
from kmtool.store import refunds as refund_rows
from kmtool.store import status as store
from kmtool.store.db import Row

REFUSED, REPLACEMENT, PARTIAL = "refused", "replacement", "partial"
PASTE, UNSURE, CHANGED, EMPTY, ASKED = "paste", "unsure", "changed", "empty", "asked"
TEXT, TERMS, OTHER_KEY, LOST, SPEND = "text", "terms", "other_key", "lost", "spend"
BOUGHT = "bought"
WATCHED = "watched"
OTHER_KEYS = "other_keys"
"""Causes beside states and gates."""

_RELEASE = "kmtool order release {number}"
_WORDS: dict[str, tuple[int, str, str]] = {
    LineState.HUMAN: (0, marked("needs you 要你处理: {reason}"), "kmtool order redeliver {number}"),
    CHANGED: (0, marked("needs you 要你处理: {reason}"), _RELEASE),
    OTHER_KEY: (
        0,
        marked("needs you 要你处理: {reason}"),
        "kmtool order replace {number} --line {line} --key TAIL --reason TEXT",
    ),
    OTHER_KEYS: (
        0,
        marked("needs you 要你处理: {reason}"),
        "kmtool order replace {number} --line {line} --all --reason TEXT",
    ),
    BOUGHT: (
        0,
        marked("needs you 要你处理: {reason}"),
        "kmtool order charged {number} --amount AMOUNT --reason TEXT --line {line}",
    ),
    LOST: (0, marked("needs you 要你处理: {reason}"), "kmtool import FILE --sku {lost}"),
    UNSURE: (
        1,
        marked("perhaps sent by hand: look at the chat"),
        "kmtool deliver --by-hand {number}",
    ),
    LineState.REFUND_CASE: (
        1, marked("refund after delivery 退款"), "kmtool order refund {number}",
    ),
    PASTE: (2, marked("{orders} to paste by hand 待粘贴"), "kmtool deliver --by-hand"),
    REPLACEMENT: (
        2,
        marked("{sku} is short for a replacement: {orders}"),
        "kmtool import FILE --sku {sku}",
    ),
    Gate.STOCK: (
        2, marked("{sku} is short: {keys} for {orders}"), "kmtool import FILE --sku {sku}",
    ),
    Gate.PRICE: (3, marked("below cost or floor 低价"), _RELEASE),
    SPEND: (3, marked("{sku}: {reason}"), "{name}"),
    Gate.AMOUNT: (3, marked("other amount than agreed"), _RELEASE),
    EMPTY: (3, "{reason}", "kmtool order close {number}"),
    Gate.BURST: (3, marked("unusually many at once"), _RELEASE),
    Gate.RISK: (3, marked("held: {reason}"), _RELEASE),
    Gate.SHIPPED: (3, marked("shipped there, not by kmtool"), "kmtool order close {number}"),
    Gate.REFUND: (3, marked("refund before delivery 退款"), "kmtool order refund {number}"),
    PARTIAL: (3, marked("part of it was refunded 部分退款"), _RELEASE + " --quantity N"),
    Gate.ROUTE: (3, marked("cannot be reached: {reason}"), "kmtool deliver {number}"),
    Gate.ADDRESS: (
        3, marked("its account: {reason}"), "kmtool order account {number} VALUE --line {line}",
    ),
    TEXT: (2, marked("{sku} has no text: {orders}"), "kmtool product set {sku} --text FILE"),
    TERMS: (
        3,
        marked("{sku}: {reason}"),
        "kmtool product set {sku} --supplier NAME --item ID --cap 9.80 --account RULE",
    ),
    Gate.MODE: (3, marked("{orders} of {channel}: your word"), _RELEASE),
    ASKED: (3, marked("{orders} of {channel}: your word"), "kmtool channel release {channel}"),
    WATCHED: (4, "{reason}", "kmtool channel set {channel} --mode ask"),
    LineState.UNMAPPED: (
        3, marked("not mapped: {title}"), "kmtool product map {channel} {item} SKU{variant}",
    ),
    Gate.PRODUCT: (4, marked("{sku} is off: {orders}"), "kmtool product set {sku} --state on"),
    Gate.PAUSE: (4, marked("{name} is paused: {orders}"), "kmtool resume {name}"),
    LineState.UNKNOWN: (6, marked("outcome unclear 结果不明: asked again"), "kmtool deliver"),
    REFUSED: (
        6, marked("refund refused, the channel decides 已拒绝退款"), "kmtool sync {channel}",
    ),
}  # fmt: skip
_OTHER = (3, "{reason}", "kmtool order why {number}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """All lines that wait; `asking` counts the orders that wait for a person."""

    items: tuple[NeedsYou, ...]
    asking: int
    short: frozenset[str]


def waiting(shop: Shop) -> Waiting:
    """Gather what waits. Watched channels are left out: somebody else delivers there."""
    stopped = list(_stopped(shop))
    still = {row["id"] for row, _ in stopped}
    routes = by_hand_routes(shop)
    by_hand = [row for row in store.by_hand(shop.db, routes) if row["id"] not in still]
    pasted = {row["id"] for row in by_hand}
    lines = [row for row in store.waiting(shop.db) if not _others_send(shop, row)]
    lines = [row for row in lines if row["id"] not in pasted and row["gate"] != Gate.ORDER_WAIT]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in by_hand:
        cause = (PASTE, "") if row["state"] == LineState.RESERVED else (UNSURE, _name(row))
        groups.setdefault((*cause, row["currency"]), []).append(row)
    for row in lines:
        groups.setdefault((*_cause(shop, row), row["currency"]), []).append(row)
    for row, name in stopped:
        cause = (Gate.RISK, _name(row)) if name == "hold" else (Gate.PAUSE, name)
        groups.setdefault((*cause, row["currency"]), []).append(row)
    found = [row for rows in groups.values() for row in rows]
    twice = store.twice(shop.db, [row["number"] for row in found])
    asking = {
        row["order_id"] for row in found if row["state"] != LineState.UNKNOWN or row["id"] in pasted
    }
    return Waiting(
        items=tuple(_items(groups, twice)),
        asking=len(asking),
        short=frozenset(name for cause, name, _ in groups if cause == Gate.STOCK),
    )


def _items(groups: dict[tuple[str, str, str], list[Row]], twice: set[str]) -> Iterator[NeedsYou]:
    for (cause, name, currency), rows in groups.items():
        yield _item(cause, name, currency, rows, twice)


def _stopped(shop: Shop) -> Iterable[tuple[Row, str]]:
    """Yield bound lines that a pause or a hold that still stands keeps from being sent."""
    scopes = house.pauses(shop.db)
    paused = {scope.partition(":")[2] or scope for scope in scopes}
    for row in store.stopped(shop.db):
        name = str(row["reason"]).removeprefix(STOPPED)
        if name == "hold" or name in paused:
            yield {**row, "reason": Stored(row["reason"])}, name


def _others_send(shop: Shop, row: Row) -> bool:
    """Tell whether a line is held only because its channel is on watch: somebody else delivers."""
    channel = shop.config.channels.get(row["channel"])
    is_watched = channel is not None and channel.mode is Mode.WATCH
    return is_watched and row["state"] == LineState.HELD


def _cause(shop: Shop, row: Row) -> tuple[str, str]:
    """Return what lines have in common when one command settles them all."""
    is_refund = row["state"] == LineState.REFUND_CASE or row["gate"] == Gate.REFUND
    if is_refund and refunds.was_refused(shop, OrderId(row["order_id"])):
        return REFUSED, _name(row)
    if row["state"] == LineState.HUMAN:
        return _human(shop, row)
    if row["state"] == LineState.UNMAPPED:
        place = (row["channel"], row["item_id"] or row["title"], row["variant_id"])
        return LineState.UNMAPPED, " ".join(place)
    if row["state"] == LineState.HELD:
        return _held(row)
    return row["state"], _name(row)


def _human(shop: Shop, row: Row) -> tuple[str, str]:
    if row["reason"].startswith(refunds.CHANGED) and refund_rows.wanted(shop.db, row["id"]):
        return CHANGED, _name(row)
    at_gate = {  # what a replacement waits for
        Gate.STOCK: (REPLACEMENT, row["sku"] or ""),
        Gate.PRODUCT: (Gate.PRODUCT, row["sku"] or ""),
        Gate.MODE: (WATCHED, row["channel"]),
        Gate.ROUTE: (Gate.ROUTE, _name(row)),
    }.get(row["gate"])
    return at_gate or _by_its_reason(shop, row) or _by_a_word(shop, row)


def _by_its_reason(shop: Shop, row: Row) -> tuple[str, str] | None:
    if row["reason"].startswith(TAKEN_BACK):
        return UNSURE, _name(row)
    if row["reason"].startswith((refunds.TWICE, refunds.NO_GOOD)):
        some = OTHER_KEY if refunds.all_delivered(shop, row) else OTHER_KEYS
        return some, _name(row)
    if row["reason"] == LOST_KEY:
        return LOST, row["sku"] or ""
    return None


def _by_a_word(shop: Shop, row: Row) -> tuple[str, str]:
    if topup.is_unclear(shop, row):
        return BOUGHT, _name(row)
    if permit.waits_for_the_watch(shop, row["channel"], row["reason"]):
        return WATCHED, row["channel"]
    if permit.waits_for_a_word(shop, row["channel"], row["reason"]):
        return CHANGED, _name(row)
    return (CHANGED if refunds.all_delivered(shop, row) else LineState.HUMAN), _name(row)


def _held(row: Row) -> tuple[str, str]:
    gate, is_topup = row["gate"], row["kind"] == LineKind.TOPUP
    if gate == Gate.STOCK:
        return (TEXT if row["kind"] == LineKind.TEXT else gate), row["sku"] or ""
    if gate == Gate.PRICE and limit_command(row["reason"]):
        return SPEND, limit_command(row["reason"])
    if gate == Gate.PRODUCT:
        return (TERMS if is_topup and row["on_sale"] else gate), row["sku"] or ""
    if gate == Gate.MODE:
        return gate, row["channel"]
    if gate == Gate.PAUSE:
        return gate, row["reason"].removesuffix(" is paused")
    if gate == Gate.REFUND and row["refund"] == RefundState.PARTIAL:
        return PARTIAL, _name(row)
    return (EMPTY if gate == Gate.AMOUNT and row["quantity"] < 1 else gate), _name(row)


def _name(row: Row) -> str:
    return f"{row['channel']}:{row['number']}"


def _item(cause: str, name: str, currency: str, rows: Sequence[Row], twice: set[str]) -> NeedsYou:
    first = rows[0]
    count = len({row["order_id"] for row in rows})
    if cause == Gate.MODE and count > 1:
        cause = ASKED
    rank, what, command = _WORDS.get(cause, _OTHER)
    keys = sum(row["needed"] for row in rows)
    number = _name(first) if first["number"] in twice else first["number"]
    variant = first["variant_id"]
    facts = {
        "reason": Stored(first["reason"] or cause),
        "number": quoted(number),
        "sku": quoted(first["sku"] or ""),
        "lost": quoted(first["sku"] or "SKU"),
        "line": quoted(first["line_no"]),
        "title": first["title"],
        "item": quoted(first["item_id"] or first["title"]),
        "variant": f" --variant {quoted(variant)}" if variant else "",
        "channel": first["channel"],
        "name": name,
        "keys": told("{n} keys" if keys > 1 else "{n} key", n=keys),
        "orders": told("{n} orders" if count > 1 else "{n} order", n=count),
    }
    return NeedsYou(
        told(what, **facts),
        sum(row["amount_minor"] for row in rows),
        currency,
        min(row["since_ms"] for row in rows),
        command.format(**facts),
        count,
        rank,
        assumed=all(row["note"] == ASSUMED for row in rows),
    )
