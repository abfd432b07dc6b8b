"""Walks the gates for every waiting line and binds keys to those that may go (transaction 2).

Orders are decided in chunks of one transaction: what the gates look at is asked once for the chunk
(`facts`), decided in memory in the order of the orders, and written in bulk. The lines of an order
that may go together become one parcel with the rendered, sealed text and its hand-over on record.
An order with a short line waits `order_wait`, then sends what is there as a parcel of its own.

When one order of a chunk fails (its text, its route, a line that moved meanwhile), the chunk is
undone and its orders are decided one by one, so that the others go on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kmtool.domain.gates import Shut, Situation, first_shut
from kmtool.domain.ids import OrderId
from kmtool.domain.states import Gate, LineKind, LineState, Mode, OrderStatus, RefundState
from kmtool.errors import KmError, Locked, NotSetUp, told
from kmtool.operations import bought_before, topup
from kmtool.operations.facts import HOUR_MS, Facts, buyer_of, gather, parts_of, pause_of
from kmtool.operations.holds import sweep
from kmtool.operations.pack import pack, route_refusal
from kmtool.operations.pack import parcel_label as parcel_label
from kmtool.operations.refunds import WAITING
from kmtool.operations.take import bind, take
from kmtool.shop import Shop
from kmtool.store import deliveries, holds, line_moves, orders, rollups
from kmtool.store.db import Moved, Row, all_moved
from kmtool.store.unswept import unswept

CHUNK = 500
"""Orders decided by one transaction at most: enough to pay for its flush to the disk."""
LINES = 2_500
"""About how many lines they have together: a command beside the daemon never waits long."""
DELIVER = "kmtool deliver"
NOTHING = topup.Refusals()
_STATUS = {status.value: status for status in OrderStatus}
_REFUND = {state.value: state for state in RefundState}
"""By value: a third of a microsecond a line is saved by not calling the class."""


@dataclass
class Reserved:
    """Counts of lines: reserved now, held by gate, not mapped."""

    reserved: int = 0
    unmapped: int = 0
    held: dict[str, int] = field(default_factory=dict)
    order_ids: list[int] = field(default_factory=list)

    def hold(self, gate: str, n: int = 1) -> None:
        """Count a line that a gate holds."""
        self.held[gate] = self.held.get(gate, 0) + n

    def add(self, other: Reserved) -> None:
        """Add what a part of the work did."""
        self.reserved += other.reserved
        self.unmapped += other.unmapped
        self.order_ids += other.order_ids
        for gate, n in other.held.items():
            self.hold(gate, n)


@dataclass
class _Decided:
    """What the gates said of a chunk: lines that go, by order, and lines that wait."""

    go: list[tuple[Row, list[Row]]] = field(default_factory=list)
    shut: list[tuple[Row, Shut]] = field(default_factory=list)


def reserve_due(shop: Shop, only: Sequence[Row] | None = None) -> Reserved:
    """Decide all waiting orders (or only some), in chunks of one transaction each."""
    tally = Reserved()
    with shop.db.tx():
        rollups.prune(shop.db, shop.now_ms())
    sweep(shop)
    ids = orders.due(shop.db) if only is None else sorted({int(row["id"]) for row in only})
    start = 0
    while start < len(ids):
        some = _chunk(shop, ids[start : start + CHUNK])
        _decide_chunk(shop, some, tally)
        start += len(some)
    return tally


def _chunk(shop: Shop, ids: Sequence[int]) -> Sequence[int]:
    """Return the first of some orders, fewer when they have many lines, but one at least."""
    lines = sum(deliveries.count_lines(shop.db, ids).values())
    return ids if lines <= LINES else ids[: max(1, len(ids) * LINES // lines)]


def _decide_chunk(shop: Shop, ids: Sequence[int], tally: Reserved, again: int = 3) -> None:
    """Decide some orders at once; when that fails, one by one.

    On PostgreSQL a lost quarrel with another session is repeated: all of it was undone.
    """
    part = Reserved()
    try:
        with unswept(), shop.db.tx():
            decide(shop, ids, part)
    except Locked:
        if not again or shop.db.dialect != "postgresql" or shop.db.rehearsing:
            raise
        _decide_chunk(shop, ids, tally, again - 1)
        return
    except NotSetUp:
        raise
    except Moved:
        if len(ids) == 1:
            return  # somebody is at work on it right now: the next run looks again
        for number in ids:
            _decide_chunk(shop, [number], tally)
        return
    except KmError as error:
        if len(ids) == 1:
            _hold_all(shop, OrderId(ids[0]), error, tally)
            return
        for number in ids:
            _decide_chunk(shop, [number], tally)
        return
    tally.add(part)


def _hold_all(shop: Shop, order_id: OrderId, error: KmError, tally: Reserved) -> None:
    """Hold an order whose text or keys cannot be made ready; the others go on without it."""
    with shop.db.tx():
        order = orders.get(shop.db, order_id, lock=True)
        shut = Shut(
            Gate.ROUTE,
            told("{problem}. {next_step}", problem=error, next_step=error.next_step()),
            f"kmtool deliver {order['number']}",
        )
        waiting = [line for line in orders.lines(shop.db, order_id) if line["state"] in WAITING]
        _hold(shop, [(line, shut) for line in waiting], tally)


def decide(shop: Shop, order_ids: Sequence[int], tally: Reserved) -> None:
    """Walk the gates for the waiting lines of some orders and reserve those that may go.

    Call it in a transaction. Raises `KmError` when a text cannot be made ready, `Moved` when a line
    or a key was no longer where it had been read; both mean that the transaction must be undone.
    """
    orders.lock(shop.db, order_ids)
    deliveries.lock_stock(shop.db, order_ids)
    facts = gather(shop, order_ids)
    decided = _Decided()
    for number in order_ids:
        _decide_one(shop, facts, facts.orders[number], decided)
    if decided.go:
        _reserve(shop, facts, decided, tally)
    _hold(shop, decided.shut, tally)


def _decide_one(shop: Shop, facts: Facts, order: Row, decided: _Decided) -> None:
    go: list[Row] = []
    waits_for_stock = False
    for line in facts.lines.get(order["id"], ()):
        if line["state"] not in WAITING:
            continue
        shut = first_shut(situation(shop, facts, order, line))
        if shut is None:
            facts.count(order, line)
            go.append(line)
            continue
        decided.shut.append((line, shut))
        waits_for_stock |= shut.gate in {Gate.STOCK, Gate.MAPPED, Gate.PRODUCT}
    if go and waits_for_stock and not _waited_enough(shop, order):
        wait = Shut(Gate.ORDER_WAIT, told("it waits for the other lines"), DELIVER)
        for line in go:
            facts.count(order, line, -1)
            decided.shut.append((line, wait))
    elif go:
        decided.go.append((order, go))


def _is_blocked(block: Sequence[str], order: Row) -> bool:
    """Tell whether the owner does not want to sell to this buyer without a look."""
    if not block:
        return False
    names = {order[f"buyer_{part}"].casefold() for part in ("ref", "name", "email", "phone")}
    return any(name.casefold() in names for name in block if name)


def situation(shop: Shop, facts: Facts, order: Row, line: Row) -> Situation:
    """Lay out what the gates look at for one line."""
    channel = shop.config.channels.get(order["channel"])
    if order["id"] not in facts.refusals:
        facts.refusals[order["id"]] = route_refusal(shop, order, facts.rooms)
    refused, broken = facts.refusals[order["id"]]
    _, money = facts.hour_of_sku(line)
    burst_sku, burst_keys, pieces = facts.busiest(line)
    product = facts.products.get(line["sku"] or "")
    listing = facts.listing(order, line)
    against = NOTHING
    if line["kind"] == "topup" and product is not None:
        against = topup.refusals(shop, product, line)
    return Situation(
        channel=order["channel"],
        number=order["number"],
        status=_STATUS[order["status"]],
        refund=_REFUND[order["refund"]],
        currency=order["currency"],
        shop_currency=(channel.currency if channel else "") or shop.config.shop.currency,
        history=bool(order["history"]),
        hold_reason=order["hold_reason"] or "",
        released=order["released_ms"] is not None,
        risk=order["risk"],
        blocked=_is_blocked(shop.config.brakes.block, order),
        mode=channel.mode if channel else Mode.AUTO,
        title=line["title"],
        kind=line["kind"],
        sku=line["sku"],
        product_on=product is not None and product["state"] == "on",
        listing_on=listing is None or listing["state"] == "on",
        quantity=line["quantity"],
        needed=line["needed"],
        amount_minor=line["amount_minor"],
        listing_price_minor=listing["price_minor"] if listing else None,
        floor_minor=product["floor_minor"] if product else None,
        cost_e5=facts.cost_e5(line),
        free=facts.pieces_possible(line),
        sku_pieces_hour=pieces,
        sku_value_hour_minor=money,
        buyer_pieces_hour=facts.hour_of_buyer(order),
        paused=_paused(facts, order, line),
        route_refusal=refused,
        route_broken=broken,
        burst_sku=burst_sku,
        burst_keys=burst_keys,
        limits=facts.limits,
        line_no=line["line_no"],
        terms_refusal=against.terms,
        account_refusal=against.account,
        spend_refusal=against.spend,
    )


def _paused(facts: Facts, order: Row, line: Row) -> str:
    """Return what is paused above a line or above a part of it."""
    if not facts.paused:
        return ""
    skus = (line["sku"], *(sku for sku, _ in facts.needs(line)))
    found = (pause_of(facts.paused, order["channel"], sku) for sku in skus)
    return next(filter(None, found), "")


def _waited_enough(shop: Shop, order: Row) -> bool:
    since = order["paid_ms"] or order["seen_ms"]
    return bool(shop.now_ms() - since >= shop.config.deliver.order_wait_ms)


def _hold(shop: Shop, shut_lines: Sequence[tuple[Row, Shut]], tally: Reserved) -> None:
    """Leave lines at the gate that is shut; what stands there already is not written again."""
    moved: list[Row] = []
    for line, shut in shut_lines:
        if shut.gate is Gate.MAPPED:
            target = LineState.UNMAPPED
            tally.unmapped += 1
        elif shut.gate is Gate.PAID:
            target = LineState.NEW
        else:
            target = LineState.HELD
            tally.hold(shut.gate)
        source = LineState(line["state"])
        if (source, line["gate"], line["reason"]) != (target, shut.gate, shut.reason):
            moved.append(
                {
                    "id": line["id"],
                    "source": source,
                    "target": target,
                    "gate": shut.gate,
                    "reason": shut.reason,
                }
            )
    if moved:
        all_moved(line_moves.hold_lines(shop.db, moved, shop.now_ms()), len(moved))


def _reserve(shop: Shop, facts: Facts, decided: _Decided, tally: Reserved) -> None:
    """Take and bind the keys of all lines that go, write their parcels and hand-overs."""
    db, now = shop.db, facts.now_ms
    go = decided.go
    taken = take(shop, [line for _, lines in go for line in lines], facts.parts)
    if taken is None:
        if len(facts.orders) > 1:
            raise Moved("stock")
        go, taken = _take_what_is_there(shop, facts, decided)
    if facts.held:
        holds.claim(db, sorted(taken), now)
    _to_reserved(shop, [line for _, lines in go for line in lines], now)
    _fill(shop, facts, go, taken)
    _count(shop, facts, go)
    tally.reserved += sum(len(lines) for _, lines in go)
    tally.order_ids += [order["id"] for order, _ in go]


def _to_reserved(shop: Shop, lines: Sequence[Row], now_ms: int) -> None:
    by_state: dict[str, list[int]] = {}
    for line in lines:
        by_state.setdefault(line["state"], []).append(line["id"])
    for source, ids in by_state.items():
        moved = line_moves.move_lines(
            shop.db,
            ids,
            LineState(source),
            LineState.RESERVED,
            now_ms,
            stamp="reserved_ms",
            through=LineState.READY,
        )
        all_moved(moved, len(ids))


def _fill(
    shop: Shop,
    facts: Facts,
    go: Sequence[tuple[Row, list[Row]]],
    taken: Mapping[int, list[Row]],
) -> None:
    """Pack what has keys, plan a purchase for each top-up."""
    packed = []
    for order, lines in go:
        keyed = [(line, taken[line["id"]]) for line in lines if line["kind"] != LineKind.TOPUP]
        if keyed:
            packed.append((order, keyed))
        for line in lines:
            if line["kind"] == LineKind.TOPUP:
                topup.plan(shop, order, line)
                bought_before.planned_now(shop, order, line)
    if packed:
        bind(shop, pack(shop, facts, packed))


def _take_what_is_there(
    shop: Shop, facts: Facts, decided: _Decided
) -> tuple[list[tuple[Row, list[Row]]], dict[int, list[Row]]]:
    """Take line by line for one order whose stock was counted but could not be had."""
    taken: dict[int, list[Row]] = {}
    go = []
    gone = Shut(Gate.STOCK, told("its stock went just now"), DELIVER)
    for order, lines in decided.go:
        kept = []
        for line in lines:
            had = [key["id"] for keys in taken.values() for key in keys]
            keys = take(shop, [line], facts.parts, had)
            if keys is None:
                decided.shut.append((line, gone))
                continue
            taken.update(keys)
            kept.append(line)
        if kept:
            go.append((order, kept))
    return go, taken


def _count(shop: Shop, facts: Facts, go: Sequence[tuple[Row, list[Row]]]) -> None:
    """Count what leaves in this minute, for the burst brakes: a line once within an hour."""
    skus: dict[str, tuple[int, int]] = {}
    buyers: dict[tuple[str, str], int] = {}
    recent = facts.now_ms - HOUR_MS
    for order, lines in go:
        for line in lines:
            if (line["reserved_ms"] or 0) > recent:
                continue
            pieces, money = skus.get(line["sku"], (0, 0))
            skus[line["sku"]] = (pieces + line["needed"], money + line["amount_minor"])
            for sku, n in parts_of(line, facts.parts):
                pieces, money = skus.get(sku, (0, 0))
                skus[sku] = (pieces + n, money)
            buyer = buyer_of(order)
            if buyer[1]:
                buyers[buyer] = buyers.get(buyer, 0) + line["needed"]
    rollups.count(shop.db, facts.now_ms, skus, buyers)


def preview(shop: Shop, order: Row) -> list[tuple[Row, Shut | None]]:
    """Return each line with the first gate that is shut (watch mode, `order why`)."""
    facts = gather(shop, [order["id"]])
    return [
        (line, first_shut(situation(shop, facts, order, line)))
        for line in facts.lines.get(order["id"], ())
    ]
