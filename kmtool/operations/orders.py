"""What a person sees of orders: the list, and all that is known of one."""

from __future__ import annotations

from kmtool.domain.ids import OrderId
from kmtool.errors import Stored
from kmtool.operations import purchase_records
from kmtool.operations.find_order import named
from kmtool.operations.order_records import (
    ASSUMED,
    AttemptShown,
    Happening,
    LineShown,
    NoteShown,
    OrderPage,
    OrderRow,
    OrderShown,
    ReplacedShown,
)
from kmtool.operations.refund_case import decisions
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, order_lists, orders
from kmtool.store import refunds as store
from kmtool.store.db import Row


def page(
    shop: Shop, *, limit: int | None, channel: str = "", state: str = "", text: str = ""
) -> OrderPage:
    """Return the newest orders, or those of a channel, a state, a buyer."""
    rows = order_lists.listing(
        shop.db,
        channel=channel or None,
        state=state or None,
        text=text or None,
        limit=limit or 1_000_000,
    )
    total = len(rows)
    if limit is not None and len(rows) == limit:
        total = order_lists.count(
            shop.db, channel=channel or None, state=state or None, text=text or None
        )
    return OrderPage(tuple(_row(row) for row in rows), total)


def _row(row: Row) -> OrderRow:
    low, high = row["state_low"] or "closed", row["state_high"] or "closed"
    state = low if low == high else "part"
    title = row["title"] or ""
    return OrderRow(
        channel=row["channel"],
        number=row["number"],
        title=title if row["lines"] == 1 else f"{title} +{row['lines'] - 1}",
        quantity=int(row["quantity"] or 0),
        total_minor=row["total_minor"],
        currency=row["currency"],
        buyer=row["buyer_name"],
        paid_ms=row["paid_ms"],
        state=state,
        gate=row["gate"] or "",
        refund=row["refund"],
        assumed=row["note"] == ASSUMED,
    )


def show(shop: Shop, number: str) -> OrderShown:
    """Return all that is known of an order (by number, `channel:number` or redemption code)."""
    order = named(shop, number)
    order_id = OrderId(order["id"])
    subject = f"order:{order['channel']}:{order['number']}"
    contact = order["buyer_email"] or order["buyer_phone"]
    return OrderShown(
        channel=order["channel"],
        number=order["number"],
        code=order["code"],
        status=order["status"],
        refund=order["refund"],
        refunded_minor=order["refunded_minor"],
        total_minor=order["total_minor"],
        currency=order["currency"],
        assumed=order["note"] == ASSUMED,
        buyer=order["buyer_name"],
        contact=contact,
        created_ms=order["created_ms"],
        paid_ms=order["paid_ms"],
        seen_ms=order["seen_ms"],
        marked_ms=order["marked_ms"],
        hold=order["hold_reason"] or "",
        released_ms=order["released_ms"],
        lines=_lines(shop, order_id),
        attempts=_attempts(shop, order_id),
        story=tuple(
            Happening(row["at_ms"], row["actor"], row["action"], row["detail"])
            for row in house.audit_of(shop.db, subject)
        ),
        purchases=purchase_records.shown(shop, order_id),
        notes=tuple(
            NoteShown(row["at_ms"], row["actor"], row["body"])
            for row in store.notes(shop.db, order_id)
        ),
        decisions=decisions(shop, order_id),
        replaced=tuple(
            ReplacedShown(
                line=row["line_no"],
                bad_key=f"…{row['old_tail']}",
                new_key=f"…{row['new_tail']}" if row["new_tail"] else "",
                at_ms=row["at_ms"],
                reason=row["reason"],
            )
            for row in store.replacements(shop.db, order_id)
        ),
    )


def _lines(shop: Shop, order_id: OrderId) -> tuple[LineShown, ...]:
    rows = orders.lines(shop.db, order_id)
    bound: dict[int, list[str]] = {}
    for key in deliveries.allocations(shop.db, [row["id"] for row in rows]):
        bound.setdefault(key["line_id"], []).append(f"…{key['tail']}")
    return tuple(
        LineShown(
            line=row["line_no"],
            title=row["title"],
            sku=row["sku"],
            quantity=row["quantity"],
            needed=row["needed"],
            amount_minor=row["amount_minor"],
            state=row["state"],
            gate=row["gate"],
            reason=Stored(row["reason"]),
            keys=tuple(bound.get(row["id"], [])),
        )
        for row in rows
    )


def _attempts(shop: Shop, order_id: OrderId) -> tuple[AttemptShown, ...]:
    found = {row["id"]: row for row in effects.effects_of(shop.db, order_id)}
    return tuple(
        AttemptShown(
            effect=found[row["effect_id"]]["kind"],
            route=row["route"] or found[row["effect_id"]]["route"],
            state=found[row["effect_id"]]["state"],
            n=row["n"],
            outcome=row["state"],
            at_ms=row["started_ms"],
            detail=Stored(row["detail"]),
        )
        for row in effects.attempts_of(shop.db, sorted(found))
    )
