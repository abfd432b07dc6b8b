"""Takes in what a channel says of an order, and does what a refund means for its delivery.

A fact is applied when its time is equal or newer and its content differs (clocks of one second). It
never mixes with our progress: lines are taken over only while no key is bound to them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, TypeVar

from kmtool.domain.ids import LineId, OrderId, code_text
from kmtool.domain.states import COUNTER, LineKind, LineState, OrderStatus, RefundState
from kmtool.errors import marked
from kmtool.operations import bought_before, holds, ship_files
from kmtool.operations.rebind import rebind_new
from kmtool.operations.refunds import (
    CHANGED,
    WAITING,
    apply_refund,
    changed_after,
    refund_blocks,
    refund_gone,
)
from kmtool.operations.shipped import mark_after_decision, mark_when_done
from kmtool.ports import Buyer, LineFact, OrderFact, RefundFact
from kmtool.shop import Shop
from kmtool.store import deliveries, orders, products
from kmtool.store.db import Db, Row

T = TypeVar("T", OrderFact, LineFact, RefundFact, Buyer)
SAME_PULL_MS = 600_000
_NAMES = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (OrderFact, LineFact, RefundFact, Buyer)
}
_VALUES = {kind: attrgetter(*names) for kind, names in _NAMES.items()}
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
BOUND = (
    LineState.RESERVED,
    LineState.SENDING,
    LineState.UNKNOWN,
    LineState.HUMAN,
    LineState.DELIVERED,
)
_ASKED = {
    "quantity": "pieces",
    "amount_minor": "amount",
    "item_id": "item",
    "variant_id": "variant",
    "account": "account",
}
_TAKEN = (*_ASKED, "title", "sku")


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one fact did."""

    order_id: OrderId
    new: bool = False
    changed: bool = False
    refunded: bool = False
    unmapped: int = 0


def ingest(
    shop: Shop,
    channel: str,
    fact: OrderFact,
    *,
    account: str = "",
    history: bool = False,
    read_ms: int | None = None,
) -> Ingested:
    """Apply one fact inside the open transaction (identity: channel and order number).

    `read_ms` is when asking the channel began: of two answers with the same revision the one that
    was asked for later counts. An order that is not paid yet is no history.
    """
    db, now = shop.db, shop.now_ms()
    fact = clean_fact(fact)
    read = now if read_ms is None else read_ms
    history = history and fact.status is not OrderStatus.UNPAID
    body = _JSON(_plain(fact))
    digest = hashlib.sha256(body.encode()).hexdigest()
    seen = orders.find(db, channel, fact.number, lock=True)
    if seen is not None and (digest, fact.revision_ms) == (seen["fact_hash"], seen["revision_ms"]):
        orders.touch(db, OrderId(seen["id"]), max(read, seen["facts_ms"]))
        return Ingested(OrderId(seen["id"]))
    values = {
        **_values(fact),
        "channel": channel,
        "account": account,
        "history": int(history),
        "fact_hash": digest,
        "facts_ms": read,
        "seen_ms": now,
        "code": redemption_code(shop, channel, fact.number),
    }
    row, new = (seen, False) if seen is not None else _made(db, values)
    order_id = OrderId(row["id"])
    event = f"{fact.number}:{fact.revision_ms}:{digest[:16]}"
    orders.add_event(db, channel, event, fact.number, now)
    newer = digest != row["fact_hash"] and _is_newer(row, fact, read)
    kept = {"revision_ms": fact.revision_ms, "received_ms": now, "hash": digest, "body": body}
    orders.add_fact(db, order_id, {**kept, "applied": int(new or newer)})
    if not new and not newer:
        if digest == row["fact_hash"]:
            orders.touch(db, order_id, max(read, row["facts_ms"]))
        return Ingested(order_id)
    if newer:
        if _asks_anew(row, values):
            orders.set_released(db, order_id, None)
        orders.update_facts(db, order_id, values)
    unmapped = _take_lines(shop, channel, orders.get(db, order_id), fact)
    refunded = _take_refunds(shop, order_id, fact)
    if channel != COUNTER:
        rebind_new(shop, orders.get(db, order_id))
        bought_before.take_up(shop, orders.get(db, order_id))
    if not row["history"]:
        _follow_facts(shop, order_id, fact)
        if not new:
            holds.follow(shop, order_id)
    if new:
        shop.audit("order_seen", f"order:{channel}:{fact.number}")
    return Ingested(order_id, new=new, changed=not new, refunded=refunded, unmapped=unmapped)


def _made(db: Db, values: Row) -> tuple[Row, bool]:
    """Return the row of an order, locked, and whether it was made just now (or by another)."""
    inserted = orders.insert(db, values)
    row = orders.find(db, values["channel"], values["number"], lock=True)
    assert row is not None
    return row, inserted is not None


def _is_newer(row: Row, fact: OrderFact, read_ms: int) -> bool:
    """A later revision; or the same one (clocks of a second), unless a later answer is known.

    A clock that was set back makes an answer look older than it is: one that says to send nothing
    counts all the same, until the next one.
    """
    if fact.revision_ms != row["revision_ms"]:
        return bool(fact.revision_ms > row["revision_ms"])
    stands = row["refund"] == RefundState.NONE and row["status"] != OrderStatus.CLOSED
    stops = fact.refund is not RefundState.NONE or fact.status is OrderStatus.CLOSED
    return (stands and stops) or not 0 < row["facts_ms"] - read_ms < SAME_PULL_MS


def _asks_anew(row: Row, values: Row) -> bool:
    """Tell whether an operator's release was the answer to another question."""
    names = ("refund", "refunded_minor", "total_minor", "currency", "risk")
    if any(row[name] != values[name] for name in names):
        return True
    return bool(values["status"] == OrderStatus.REVIEW != row["status"])


def _follow_facts(shop: Shop, order_id: OrderId, fact: OrderFact) -> None:
    """Let the delivery follow what the channel says now."""
    if refund_blocks(orders.get(shop.db, order_id)):
        apply_refund(shop, order_id)
        mark_after_decision(shop, order_id)
    else:
        refund_gone(shop, order_id)
    if fact.status in {OrderStatus.SHIPPED, OrderStatus.DONE}:
        if deliveries.open_lines_left(shop.db, order_id) == 0:
            orders.set_marked(shop.db, [order_id], shop.now_ms())
            ship_files.confirm(shop, order_id)
    elif not refund_blocks(orders.get(shop.db, order_id)):
        mark_when_done(shop, [orders.get(shop.db, order_id)])


def _take_lines(shop: Shop, channel: str, order: Row, fact: OrderFact) -> int:
    """Take over the lines of a fact; what changed after keys were bound is never overlooked."""
    order_id = OrderId(order["id"])
    known = {row["line_no"]: row for row in orders.lines(shop.db, order_id)}
    unmapped = 0
    for line in fact.lines:
        if line.quantity == 0:
            continue  # nothing of it is left: as if it were gone
        values = _line_values(shop, channel, line)
        if values["sku"] is None:
            unmapped += 1
        row = known.pop(line.line_no, None)
        if row is None:
            state = LineState.CLOSED if order["history"] else LineState.NEW
            orders.insert_line(
                shop.db,
                {**values, "order_id": order_id, "state": state, "since_ms": shop.now_ms()},
            )
            if not order["history"]:
                orders.set_released(shop.db, order_id, None)
            continue
        if row["state"] == LineState.CANCELLED and not refund_blocks(order):
            orders.move_line(
                shop.db, LineId(row["id"]), LineState.CANCELLED, LineState.NEW, shop.now_ms()
            )
            row = {**row, "state": LineState.NEW}
        _take_line(shop, order, row, values)
    for row in known.values():
        _line_is_gone(shop, order, row)
    return unmapped


def _take_line(shop: Shop, order: Row, row: Row, values: Row) -> None:
    different = [name for name in _TAKEN if row[name] != values[name]]
    if not different:
        return
    line_id = LineId(row["id"])
    matters = [name for name in different if name in _ASKED]
    if row["state"] not in WAITING and row["state"] in BOUND:
        told = ", ".join(f"{_ASKED[name]} {row[name]} → {values[name]}" for name in matters)
        if not told:
            return
        if changed_after(shop, order, row, told):
            orders.set_hold(shop.db, OrderId(order["id"]), f"{CHANGED}: {told}", shop.now_ms())
        else:
            orders.note_line(shop.db, line_id, values)
            return
    if matters:
        orders.set_released(shop.db, OrderId(order["id"]), None)
    elif different == ["title"]:
        values = {**values, "needed": row["needed"]}  # a released quantity stands
    orders.change_line(shop.db, line_id, values)


def _line_is_gone(shop: Shop, order: Row, row: Row) -> None:
    state, line_id, why = LineState(row["state"]), LineId(row["id"]), marked("the line is gone")
    if state in BOUND and row["quantity"]:
        if not changed_after(shop, order, row, why):
            orders.note_line(shop.db, line_id, {**row, "quantity": 0})
            return
        state = LineState.READY
    if state in WAITING:
        orders.move_line(
            shop.db,
            line_id,
            state,
            LineState.CANCELLED,
            shop.now_ms(),
            reason=marked("the line is gone from the order"),
        )


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
        "note": fact.note,
        "buyer_ref": fact.buyer.ref,
        "buyer_name": fact.buyer.name,
        "buyer_email": fact.buyer.email,
        "buyer_phone": fact.buyer.phone,
    }


def redemption_code(shop: Shop, channel: str, number: str) -> str:
    """Return the code of an order: stable, and not to be guessed without the shop's master key."""
    digest = shop.vault.digest(f"code:{channel}:{number}".encode())
    return "KM" + code_text(int(digest[:16], 16), 10)


def clean(text: str) -> str:
    """Strip what the database or a terminal cannot bear from foreign text."""
    if text.isprintable():
        return text
    kept = (c for c in text if (c >= " " and not "\x7f" <= c <= "\x9f") or c in "\n\t")
    return "".join(c for c in kept if not "\ud800" <= c <= "\udfff")


def clean_fact(fact: OrderFact) -> OrderFact:
    """Return a fact whose every text is clean: one hostile order must not stop a whole pull."""
    lines = tuple(_clean_texts(line) for line in fact.lines)
    refunds = tuple(_clean_texts(refund) for refund in fact.refunds)
    buyer = _clean_texts(fact.buyer)
    if (lines, refunds, buyer) != (fact.lines, fact.refunds, fact.buyer):
        fact = replace(fact, lines=lines, refunds=refunds, buyer=buyer)
    return _clean_texts(fact)


def _clean_texts(record: T) -> T:
    for value in _VALUES[type(record)](record):
        if type(value) is str and not value.isprintable():
            break
    else:
        return record
    texts: dict[str, Any] = {
        name: clean(value) for name, value in _dict(record).items() if type(value) is str
    }
    return replace(record, **texts)


def _dict(record: T) -> dict[str, Any]:
    kind = type(record)
    return dict(zip(_NAMES[kind], _VALUES[kind](record), strict=True))


def _plain(fact: OrderFact) -> dict[str, Any]:
    """Return what `dataclasses.asdict` would, in a tenth of its time."""
    found = _dict(fact)
    found["lines"] = [_dict(line) for line in fact.lines]
    found["refunds"] = [_dict(refund) for refund in fact.refunds]
    found["buyer"] = _dict(fact.buyer)
    if not fact.stock_lowered:
        del found["stock_lowered"]  # a fact that was kept before there was this word stays the same
    return found
