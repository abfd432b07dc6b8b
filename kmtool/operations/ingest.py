"""Takes in what a channel says of an order, and does what a refund means for its delivery.

A fact is applied when its time is equal or newer and its content differs (clocks of one second). It
never mixes with our progress: lines are taken over only while no key is bound to them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from kmtool.domain.ids import EffectId, KeyId, LineId, OrderId, code_text
from kmtool.domain.states import (
    EffectKind,
    EffectState,
    KeyState,
    LineKind,
    LineState,
    OrderStatus,
    RefundState,
)
from kmtool.ports import LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products
from kmtool.store.db import Row

WAITING = (LineState.NEW, LineState.READY, LineState.HELD, LineState.UNMAPPED)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one fact did."""

    order_id: OrderId
    new: bool = False
    changed: bool = False
    refunded: bool = False
    unmapped: int = 0


def ingest(
    shop: Shop, channel: str, fact: OrderFact, *, account: str = "", history: bool = False
) -> Ingested:
    """Apply one fact inside the open transaction (identity: channel and order number)."""
    db, now = shop.db, shop.now_ms()
    body = json.dumps(_plain(fact), ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    values = {
        **_values(fact),
        "channel": channel,
        "account": account,
        "history": int(history),
        "fact_hash": digest,
        "facts_ms": now,
        "seen_ms": now,
        "code": redemption_code(shop, channel, fact.number),
    }
    row = orders.find(db, channel, fact.number, lock=True)
    new = False
    if row is None:
        inserted = orders.insert(db, values)
        row = orders.find(db, channel, fact.number, lock=True)
        assert row is not None
        new = inserted is not None
    order_id = OrderId(row["id"])
    event = f"{fact.number}:{fact.revision_ms}:{digest[:16]}"
    orders.add_event(db, channel, event, fact.number, now)
    newer = fact.revision_ms >= row["revision_ms"] and digest != row["fact_hash"]
    kept = {"revision_ms": fact.revision_ms, "received_ms": now, "hash": digest, "body": body}
    orders.add_fact(db, order_id, {**kept, "applied": int(new or newer)})
    if not new and not newer:
        orders.touch(db, order_id, now)
        return Ingested(order_id)
    if newer:
        if (row["refund"], row["total_minor"]) != (fact.refund, fact.total_minor):
            orders.set_released(db, order_id, None)  # the answer was given to another question
        orders.update_facts(db, order_id, values)
    unmapped = _take_lines(shop, channel, order_id, fact, history)
    refunded = _take_refunds(shop, order_id, fact)
    if not history:
        apply_refund(shop, order_id)
        _note_shipped(shop, order_id, fact)
    if new:
        shop.audit("order_seen", f"order:{channel}:{fact.number}")
    return Ingested(order_id, new=new, changed=not new, refunded=refunded, unmapped=unmapped)


def refund_blocks(order: Row) -> bool:
    """Tell whether nothing more may leave: a refund (a partial one until released), or closed."""
    if order["status"] == OrderStatus.CLOSED:
        return True
    if order["refund"] == RefundState.PARTIAL:
        return order["released_ms"] is None
    return bool(order["refund"] != RefundState.NONE)


def apply_refund(shop: Shop, order_id: OrderId) -> None:
    """Do what a refund or a closed order means for every line (the table in delivery.md)."""
    db, now = shop.db, shop.now_ms()
    order = orders.get(db, order_id, lock=True)
    refund = RefundState(order["refund"])
    is_closed = order["status"] == OrderStatus.CLOSED
    if not refund_blocks(order):
        return
    final = refund is RefundState.FULL or is_closed
    why = "refunded" if refund is not RefundState.NONE else "closed by the channel"
    for line in orders.lines(db, order_id):
        state = LineState(line["state"])
        line_id = LineId(line["id"])
        if state in WAITING and final:
            orders.move_line(db, line_id, state, LineState.CANCELLED, now, reason=why)
        elif state is LineState.RESERVED and not _was_exposed(shop, line_id):
            _take_back(shop, order_id, line_id, final=final, why=why)
        elif state in {
            LineState.RESERVED,
            LineState.UNKNOWN,
            LineState.HUMAN,
            LineState.DELIVERED,
        }:
            orders.move_line(db, line_id, state, LineState.REFUND_CASE, now, reason=why)
            shop.audit("refund_case", f"order:{order['channel']}:{order['number']}", why)
        elif state is LineState.SENDING:
            orders.move_line(db, line_id, state, LineState.REFUND_CASE, now, reason=why)
            shop.audit(
                "refund_case", f"order:{order['channel']}:{order['number']}", "while sending"
            )
    _stop_effects(shop, order_id)


def _take_back(shop: Shop, order_id: OrderId, line_id: LineId, *, final: bool, why: str) -> None:
    """Reserved and never exposed: the keys go back to the shelf."""
    db, now = shop.db, shop.now_ms()
    for allocation in deliveries.allocations(db, [line_id]):
        if deliveries.withdraw(db, allocation["id"]):
            deliveries.put_back(db, KeyId(allocation["key_id"]), now)
    target = LineState.CANCELLED if final else LineState.READY
    orders.move_line(db, line_id, LineState.RESERVED, target, now, reason=why)
    for effect in effects.effects_of(db, order_id):
        if effect["kind"] == EffectKind.HAND_OVER and effect["tries"] == 0:
            effects.move_effect(
                db,
                EffectId(effect["id"]),
                [EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN],
                EffectState.CANCELLED,
                now,
                reason=why,
            )


def _stop_effects(shop: Shop, order_id: OrderId) -> None:
    """Nothing more is sent; an attempt whose outcome is unclear is still asked about."""
    for effect in effects.effects_of(shop.db, order_id):
        attempts = effects.attempts_of(shop.db, [effect["id"]])
        if attempts and attempts[-1]["state"] in {"unknown", "intent"}:
            continue
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            [EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN],
            EffectState.CANCELLED,
            shop.now_ms(),
            reason="a refund or a closed order",
        )


def _was_exposed(shop: Shop, line_id: LineId) -> bool:
    return any(
        row["key_state"] != KeyState.RESERVED for row in deliveries.allocations(shop.db, [line_id])
    )


def _note_shipped(shop: Shop, order_id: OrderId, fact: OrderFact) -> None:
    """The channel shows it shipped: our mark arrived, or (by hand) the export confirms it."""
    if fact.status not in {OrderStatus.SHIPPED, OrderStatus.DONE}:
        return
    if deliveries.open_lines_left(shop.db, order_id) == 0:
        orders.set_marked(shop.db, order_id, shop.now_ms())


def _take_lines(shop: Shop, channel: str, order_id: OrderId, fact: OrderFact, history: bool) -> int:
    known = {row["line_no"]: row for row in orders.lines(shop.db, order_id)}
    unmapped = 0
    for line in fact.lines:
        values = _line_values(shop, channel, line)
        if values["sku"] is None:
            unmapped += 1
        row = known.pop(line.line_no, None)
        if row is None:
            state = LineState.CLOSED if history else LineState.NEW
            orders.insert_line(
                shop.db,
                {**values, "order_id": order_id, "state": state, "since_ms": shop.now_ms()},
            )
        elif _differs(row, values):
            orders.change_line(shop.db, LineId(row["id"]), values)
    for row in known.values():
        if row["state"] in WAITING:
            orders.move_line(
                shop.db,
                LineId(row["id"]),
                LineState(row["state"]),
                LineState.CANCELLED,
                shop.now_ms(),
                reason="the line is gone from the order",
            )
    return unmapped


def _differs(row: Row, values: Row) -> bool:
    names = ("quantity", "amount_minor", "title", "item_id", "variant_id", "sku")
    return any(row[name] != values[name] for name in names)


def _line_values(shop: Shop, channel: str, line: LineFact) -> Row:
    listing = products.listing(shop.db, channel, line.item_id, line.variant_id)
    product = products.product(shop.db, listing["sku"]) if listing else None
    return {
        "line_no": line.line_no,
        "item_id": line.item_id,
        "variant_id": line.variant_id,
        "title": line.title,
        "quantity": line.quantity,
        "amount_minor": line.amount_minor,
        "account": line.account,
        "kind": product["kind"] if product else LineKind.KEY,
        "sku": listing["sku"] if listing else None,
        "needed": line.quantity * (listing["units"] if listing else 1),
    }


def _take_refunds(shop: Shop, order_id: OrderId, fact: OrderFact) -> bool:
    changed = False
    for refund in fact.refunds:
        changed |= orders.put_refund(
            shop.db,
            order_id,
            refund.number,
            refund.amount_minor,
            refund.state,
            refund.at_ms,
            shop.now_ms(),
        )
    return changed


def _values(fact: OrderFact) -> Row:
    refunded = sum(r.amount_minor for r in fact.refunds if r.state == "done")
    gross = fact.expected_gross_minor
    return {
        "number": fact.number,
        "status": fact.status,
        "refund": fact.refund,
        "refunded_minor": refunded,
        "revision_ms": fact.revision_ms,
        "created_ms": fact.created_ms,
        "paid_ms": fact.paid_ms,
        "currency": fact.currency,
        "total_minor": fact.total_minor,
        "expected_gross_minor": fact.total_minor if gross is None else gross,
        "ext_txn_id": fact.ext_txn_id,
        "risk": fact.risk,
        "note": clean(fact.note),
        "buyer_ref": fact.buyer.ref,
        "buyer_name": clean(fact.buyer.name),
        "buyer_email": fact.buyer.email,
        "buyer_phone": fact.buyer.phone,
    }


def redemption_code(shop: Shop, channel: str, number: str) -> str:
    """Return the code of an order: stable, and not to be guessed without the shop's master key."""
    digest = shop.vault.digest(f"code:{channel}:{number}".encode())
    return "KM" + code_text(int(digest[:16], 16), 10)


def clean(text: str) -> str:
    """Strip what the database or a terminal cannot bear from foreign text."""
    return "".join(c for c in text if c >= " " or c in "\n\t").replace("\x7f", "")


def _plain(fact: OrderFact) -> dict[str, Any]:
    found: dict[str, Any] = asdict(fact)
    return found
