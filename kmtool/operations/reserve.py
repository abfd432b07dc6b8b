"""Walks the gates for every waiting line and binds keys to those that may go (transaction 2).

One order is decided in one transaction: its lines that may go together become one parcel with the
rendered, sealed text and its hand-over on record. An order with a short line waits `order_wait`,
then sends what is there as a parcel of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kmtool.domain.gates import Limits, Shut, Situation, first_shut
from kmtool.domain.ids import KeyId, LineId, OrderId
from kmtool.domain.states import Gate, LineState, Mode, OrderStatus, RefundState
from kmtool.errors import KmError, Locked, NotSetUp, told
from kmtool.operations.pack import pack, route_refusal
from kmtool.operations.pack import parcel_label as parcel_label
from kmtool.operations.refunds import WAITING
from kmtool.shop import Shop
from kmtool.store import deliveries, house, orders, products
from kmtool.store.db import Row

HOUR_MS = 3_600_000
CHUNK = 100
DELIVER = "kmtool deliver"


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


def reserve_due(shop: Shop, only: Sequence[Row] | None = None) -> Reserved:
    """Decide all waiting orders (or only some), in chunks of one transaction each."""
    tally = Reserved()
    if only is not None:
        ids = sorted({int(row["id"]) for row in only})
        for start in range(0, len(ids), CHUNK):
            _decide_chunk(shop, ids[start : start + CHUNK], tally)
        return tally
    after = 0
    while chunk := orders.due(shop.db, after, CHUNK):
        _decide_chunk(shop, [int(row["id"]) for row in chunk], tally)
        after = chunk[-1]["id"]
    return tally


def _decide_chunk(shop: Shop, ids: Sequence[int], tally: Reserved) -> None:
    """Decide some orders at once; when one of them cannot be packed, one by one."""
    part = Reserved()
    try:
        with shop.db.tx():
            orders.lock(shop.db, ids)
            deliveries.lock_stock(shop.db, ids)
            paused = house.pauses(shop.db)
            for number in ids:
                decide(shop, OrderId(number), part, paused)
    except (Locked, NotSetUp):
        raise
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
        for line in orders.lines(shop.db, order_id):
            if line["state"] in WAITING:
                _hold(shop, line, shut, tally)


def decide(shop: Shop, order_id: OrderId, tally: Reserved, paused: dict[str, Row]) -> None:
    """Walk the gates for the waiting lines of one order and reserve those that may go."""
    order = orders.get(shop.db, order_id, lock=True)
    waiting = [line for line in orders.lines(shop.db, order_id) if line["state"] in WAITING]
    go: list[Row] = []
    taken: dict[str, int] = {}
    waits_for_stock = False
    for line in waiting:
        shut = first_shut(situation(shop, order, line, paused, taken))
        if shut is None:
            for sku, n in needs(shop, line):
                taken[sku] = taken.get(sku, 0) + n
            go.append(line)
            continue
        _hold(shop, line, shut, tally)
        waits_for_stock |= shut.gate in {Gate.STOCK, Gate.MAPPED, Gate.PRODUCT}
    if go and waits_for_stock and not _waited_enough(shop, order):
        for line in go:
            _hold(
                shop,
                line,
                Shut(Gate.ORDER_WAIT, told("it waits for the other lines"), DELIVER),
                tally,
            )
        return
    if go:
        _reserve(shop, order, go, tally)


def situation(
    shop: Shop, order: Row, line: Row, paused: dict[str, Row], taken: dict[str, int]
) -> Situation:
    """Gather what the gates look at for one line (`taken`: what earlier lines need)."""
    db, now = shop.db, shop.now_ms()
    channel = shop.config.channels.get(order["channel"])
    wanted = needs(shop, line)
    for sku, _ in wanted:
        deliveries.expire(db, sku, now)
    refused, broken = route_refusal(shop, order)
    counts = deliveries.free_counts(db, [sku for sku, _ in wanted])
    whole = min(
        ((counts.get(sku, 0) - taken.get(sku, 0)) * line["needed"] // n for sku, n in wanted if n),
        default=0,
    )
    pieces, money = deliveries.hour_figures(db, line["sku"] or "", now - HOUR_MS)
    buyer = order["buyer_ref"] or order["buyer_name"]
    product = products.product(db, line["sku"]) if line["sku"] else None
    listing = products.listing(db, order["channel"], line["item_id"], line["variant_id"])
    brakes = shop.config.brakes
    cost = sum(deliveries.dearest_next(db, sku, n, now) * n for sku, n in wanted if n > 0)
    return Situation(
        channel=order["channel"],
        number=order["number"],
        status=OrderStatus(order["status"]),
        refund=RefundState(order["refund"]),
        currency=order["currency"],
        shop_currency=(channel.currency if channel else "") or shop.config.shop.currency,
        history=bool(order["history"]),
        hold_reason=order["hold_reason"] or "",
        released=order["released_ms"] is not None,
        risk=order["risk"],
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
        cost_e5=-(-cost // max(1, line["needed"])),
        free=max(0, whole),
        sku_pieces_hour=pieces + taken.get(line["sku"] or "", 0),
        sku_value_hour_minor=money,
        buyer_pieces_hour=sum(taken.values())
        + (deliveries.buyer_pieces(db, order["channel"], buyer, now - HOUR_MS) if buyer else 0),
        paused=next(
            filter(
                None,
                (
                    pause_of(paused, order["channel"], sku)
                    for sku in (line["sku"], *(sku for sku, _ in wanted))
                ),
            ),
            "",
        ),
        route_refusal=refused,
        route_broken=broken,
        limits=Limits(
            below_cost=brakes.below_cost,
            sku_pieces=brakes.sku_pieces_per_hour,
            sku_value_minor=brakes.sku_value_per_hour_minor,
            buyer_pieces=brakes.buyer_pieces_per_hour,
        ),
    )


def needs(shop: Shop, line: Row) -> list[tuple[str, int]]:
    """Return (SKU, keys) that a line takes: itself, or the parts of a bundle."""
    if not line["sku"]:
        return []
    if line["kind"] != "bundle":
        return [(line["sku"], line["needed"])]
    parts = deliveries.bundle_parts(shop.db, line["sku"])
    return [(part["sku"], part["units"] * line["needed"]) for part in parts]


def pause_of(paused: dict[str, Row], channel: str, sku: str | None) -> str:
    """Return what is paused above this line, empty when nothing is."""
    for scope, name in (("all", "all"), (f"channel:{channel}", channel), (f"sku:{sku}", sku or "")):
        if scope in paused:
            return name
    return ""


def _waited_enough(shop: Shop, order: Row) -> bool:
    since = order["paid_ms"] or order["seen_ms"]
    return bool(shop.now_ms() - since >= shop.config.deliver.order_wait_ms)


def _hold(shop: Shop, line: Row, shut: Shut, tally: Reserved) -> None:
    state = LineState(line["state"])
    if shut.gate is Gate.MAPPED:
        target = LineState.UNMAPPED
        tally.unmapped += 1
    elif shut.gate is Gate.PAID:
        target = LineState.NEW
    else:
        target = LineState.HELD
        tally.hold(shut.gate)
    if (state, line["gate"], line["reason"]) != (target, shut.gate, shut.reason):
        orders.move_line(
            shop.db,
            LineId(line["id"]),
            state,
            target,
            shop.now_ms(),
            gate=shut.gate,
            reason=shut.reason,
        )


def _reserve(shop: Shop, order: Row, lines: list[Row], tally: Reserved) -> None:
    db, now = shop.db, shop.now_ms()
    bound: list[tuple[Row, list[Row]]] = []
    for line in lines:
        keys = _take(shop, line)
        if keys is None:
            _hold(shop, line, Shut(Gate.STOCK, told("its stock went just now"), DELIVER), tally)
            continue
        _bind(shop, line, keys)
        orders.move_line(db, LineId(line["id"]), LineState(line["state"]), LineState.READY, now)
        orders.move_line(db, LineId(line["id"]), LineState.READY, LineState.RESERVED, now)
        orders.stamp_line(db, LineId(line["id"]), "reserved_ms", now)
        bound.append((line, keys))
    if not bound:
        return
    pack(shop, order, bound)
    tally.reserved += len(bound)
    tally.order_ids.append(order["id"])


def _take(shop: Shop, line: Row) -> list[Row] | None:
    """Take all keys of a line, or none."""
    taken: list[Row] = []
    for sku, n in needs(shop, line):
        keys = deliveries.take_free(shop.db, sku, n, shop.now_ms())
        taken += [{**key, "sku": sku} for key in keys]
        if keys:
            continue
        for key in taken:
            deliveries.put_back(shop.db, KeyId(key["id"]), shop.now_ms())
        return None
    return taken


def _bind(shop: Shop, line: Row, keys: list[Row]) -> None:
    found = deliveries.batches(shop.db, [key["batch_id"] for key in keys])
    for key in keys:
        batch = found[key["batch_id"]]
        deliveries.add_allocation(
            shop.db,
            {
                "line_id": line["id"],
                "key_id": key["id"],
                "batch_id": key["batch_id"],
                "sku": key["sku"],
                "mode": batch["mode"],
                "cost_e5": batch["cost_e5"],
                "currency": batch["currency"],
                "reserved_ms": shop.now_ms(),
            },
        )


def preview(shop: Shop, order: Row) -> list[tuple[Row, Shut | None]]:
    """Return each waiting line with the first gate that is shut (watch mode, `order why`)."""
    paused = house.pauses(shop.db)
    return [
        (line, first_shut(situation(shop, order, line, paused, {})))
        for line in orders.lines(shop.db, OrderId(order["id"]))
    ]
