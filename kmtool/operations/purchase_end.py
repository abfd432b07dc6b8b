"""How a purchase ends: charged, with its proof kept and the buyer told; or failed at the supplier.

All of it inside the transaction of the answer. What it cost leaves the balance the shop has at the
supplier; an amount other than the agreed one is kept as a difference until a person looked at it.
"""

from __future__ import annotations

import json

from kmtool.clock import local_text
from kmtool.domain.ids import NOTICES, EffectId, LineId, OrderId
from kmtool.domain.money import format_minor
from kmtool.domain.secret import Secret
from kmtool.domain.states import COUNTER, EffectKind, EffectState, LineState, PurchaseState
from kmtool.errors import KmError, told
from kmtool.operations import bought_before, messages, topup
from kmtool.operations.pack import courier_name
from kmtool.operations.permit import to_human
from kmtool.operations.refunds import CHANGED, apply_refund, refund_blocks
from kmtool.operations.shipped import mark_when_done
from kmtool.ports import Purchased
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, ledger, orders, products
from kmtool.store import purchases as store
from kmtool.store.db import Row

SOURCES = (EffectState.INFLIGHT, EffectState.PENDING, EffectState.RETRY_AT, EffectState.HUMAN,
           EffectState.CANCELLED)  # fmt: skip


def complete(shop: Shop, effect: Row, line: Row, purchase: Row, answer: Purchased) -> None:
    """The account was charged: keep the proof, book the cost, deliver the line, tell the buyer."""
    db, now = shop.db, shop.now_ms()
    agreed = purchase["agreed_minor"]
    charged = agreed if answer.charged_minor is None else answer.charged_minor
    moved = store.move(
        db,
        purchase["id"],
        [PurchaseState.ACCEPTED],
        PurchaseState.DONE,
        charged_minor=charged,
        proof=answer.proof[:500],
        done_ms=now,
        their_no=answer.their_no[:200],
    )
    if not moved:
        return
    order = orders.get(db, OrderId(effect["order_id"]), lock=True)
    effects.move_effect(db, EffectId(effect["id"]), SOURCES, EffectState.DONE, now)
    _book(shop, purchase, charged)
    _deliver(shop, line)
    detail = f"purchase {purchase['our_no']}: {answer.their_no}"
    if charged != agreed:
        detail += f", charged {charged} instead of {agreed} {purchase['currency']}"
    shop.audit("done", _name(order), detail)
    if refund_blocks(order):
        apply_refund(shop, OrderId(order["id"]))
        return
    before = bought_before.perhaps_told(shop, EffectId(effect["id"]), purchase)
    _notify(shop, order, line, store.get(db, purchase["id"]), perhaps_told=before)
    mark_when_done(shop, [order])


def failed(shop: Shop, effect: Row, line: Row, purchase: Row) -> None:
    """The supplier accepted it and could not do it: a person decides what becomes of the line."""
    db, now = shop.db, shop.now_ms()
    store.move(
        db, purchase["id"], [PurchaseState.ACCEPTED], PurchaseState.FAILED, done_ms=now,
        note="failed at the supplier",
    )  # fmt: skip
    why = told("{supplier} could not do it, the money is back there", supplier=purchase["supplier"])
    orders.move_line(db, LineId(line["id"]), LineState.SENDING, LineState.RESERVED, now, reason=why)
    state = LineState.RESERVED if line["state"] == LineState.SENDING else LineState(line["state"])
    to_human(shop, effect, [{**line, "state": state}], why)


def _book(shop: Shop, purchase: Row, charged: int) -> None:
    ledger.post(
        shop.db,
        shop.now_ms(),
        "topup",
        purchase["our_no"],
        f"{purchase['quantity']} × {purchase['sku']}",
        [
            ("cost:topup", purchase["currency"], charged),
            (f"asset:supplier:{purchase['supplier']}", purchase["currency"], -charged),
        ],
    )


def _deliver(shop: Shop, line: Row) -> None:
    db, now, line_id = shop.db, shop.now_ms(), LineId(line["id"])
    orders.move_line(db, line_id, LineState.RESERVED, LineState.SENDING, now)  # looked at again
    for source in (LineState.SENDING, LineState.UNKNOWN, LineState.HUMAN):
        orders.move_line(db, line_id, source, LineState.DELIVERED, now)
    orders.stamp_line(db, line_id, "acknowledged_ms", now)
    if line["reason"].startswith(CHANGED):
        orders.move_line(
            db, line_id, LineState.DELIVERED, LineState.HUMAN, now, reason=line["reason"]
        )


def _notify(shop: Shop, order: Row, line: Row, purchase: Row, *, perhaps_told: bool) -> None:
    """Write down the message that tells the buyer; one that cannot be written stops nothing.

    Where the purchase may be one from before a restore, he may have been told: that is asked first,
    by a number that follows from the purchase and is no other message's.
    """
    if order["channel"] == COUNTER or order["channel"] not in shop.config.channels:
        return
    try:
        body = written(shop, order, line, purchase)
    except KmError as error:
        shop.audit("not_told", _name(order), str(error)[:300])
        return
    db, now = shop.db, shop.now_ms()
    n = NOTICES * purchase["generation"] + store.place_in(purchase["our_no"])
    route = courier_name(shop, order["channel"])
    sealed, data_key = shop.vault.seal(Secret(body), topup.label(order, n))
    row = {
        "order_id": order["id"],
        "n": n,
        "courier": route,
        "address_digest": "",
        "sealed": sealed,
        "data_key_id": data_key,
        "created_ms": now,
    }
    parcel = deliveries.add_parcels(db, [row], [[]])[order["id"], n]
    effect = effects.add_effect(
        db,
        {
            "order_id": order["id"],
            "parcel_id": parcel,
            "parcel_n": n,
            "kind": EffectKind.NOTIFY,
            "generation": 1,
            "channel": order["channel"],
            "route": route,
            "due_ms": now,
            "created_ms": now,
        },
    )
    if effect is not None and perhaps_told:
        bought_before.ask_about(shop, effect, bought_before.TOLD_BEFORE)


def written(shop: Shop, order: Row, line: Row, purchase: Row) -> str:
    """Return subject and text that tell the buyer what was charged, with the proof, as sealed."""
    product = products.product(shop.db, line["sku"])
    language = messages.language_of(shop, order["channel"])
    facts = {
        "shop": shop.config.shop.name,
        "channel": order["channel"],
        "number": order["number"],
        "code": order["code"],
        "title": " ".join((line["title"] or (product["title"] if product else "")).split()),
        "quantity": purchase["quantity"],
        "account": purchase["account"],
        "proof": purchase["proof"],
        "reference": purchase["their_no"],
        "at": local_text(purchase["done_ms"], shop.config.shop.timezone),
    }
    parts = {}
    for name, kind in (("subject", "topup_subject"), ("text", "topup")):
        source = messages.find(shop, kind, order["channel"], line["sku"], language)
        parts[name] = messages.render(source.body, facts).strip()
    return json.dumps(
        {
            "subject": " ".join(parts["subject"].split()),
            "text": parts["text"] + "\n",
            "mark": messages.mark(language),
        },
        ensure_ascii=False,
    )


def difference(purchase: Row) -> str:
    """Return how the charged amount differs from the agreed one, empty when it does not."""
    charged, agreed = purchase["charged_minor"], purchase["agreed_minor"]
    if charged is None or charged == agreed:
        return ""
    return told(
        "{charged} charged, {agreed} agreed",
        charged=format_minor(charged, purchase["currency"]),
        agreed=format_minor(agreed, purchase["currency"]),
    )


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
