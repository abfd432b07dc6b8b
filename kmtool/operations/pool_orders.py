"""Gives keys that a pool handed out their order line: delivered, with parcel, try and cost.

What the pool did we learn from its file, so all of it is written in one transaction as done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from kmtool.clock import business_day
from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.secret import Secret
from kmtool.domain.states import (
    AttemptState,
    EffectKind,
    EffectState,
    LineState,
    OrderStatus,
    RefundState,
)
from kmtool.operations.handed import deliver_lines
from kmtool.operations.ingest import ingest
from kmtool.operations.lending import pseudo_channel
from kmtool.operations.pack import address_digest, open_key, parcel_label
from kmtool.operations.permit import must_be_live
from kmtool.operations.refunds import WAITING
from kmtool.ports import LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products
from kmtool.store import lending as store
from kmtool.store.db import Row

ROUTE = "pool"
STEPS = (LineState.READY, LineState.RESERVED, LineState.SENDING)


def bind(shop: Shop, pool: str, number: str, keys: Sequence[Row], read_id: int) -> str:
    """Bind used keys of one product to an order; return its name, empty when others did it before.

    The platform's own order is taken when it waits for just these keys.
    """
    db, now = shop.db, shop.now_ms()
    with db.tx():
        must_be_live(shop)
        mine = [key for key in keys if store.leave(db, key["key_id"], "delivered", now)]
        if not mine:
            return ""
        found = _waiting(shop, mine[0]["channel"], number, mine) if number else None
        order, line = found or _pseudo(shop, pool, number, mine)
        for key in mine:
            store.move(db, key, "used", now, read_id=read_id, line_id=line["id"])
        _hand_over(shop, order, line, mine)
        orders.set_marked(db, [order["id"]], now)
        name = f"{order['channel']}:{order['number']}"
        shop.audit("pool_used", f"order:{name}", f"{len(mine)} keys of {pool}")
    return name


def _waiting(shop: Shop, channel: str, number: str, keys: Sequence[Row]) -> tuple[Row, Row] | None:
    """Return the platform's order and its line that waits for exactly these keys."""
    order = orders.find(shop.db, channel, number, lock=True) if channel else None
    if order is None or order["refund"] != RefundState.NONE or order["history"]:
        return None
    for line in orders.lines(shop.db, OrderId(order["id"])):
        fits = line["sku"] == keys[0]["sku"] and line["needed"] == len(keys)
        if fits and line["state"] in WAITING:
            return order, line
    return None


def _pseudo(shop: Shop, pool: str, number: str, keys: Sequence[Row]) -> tuple[Row, Row]:
    """Insert the order that stands for what the pool sold; its money comes with the statement."""
    db, now = shop.db, shop.now_ms()
    channel, sku = pseudo_channel(pool), keys[0]["sku"]
    product = products.product(db, sku)
    assert product is not None
    orders.lock_counter(db)
    fact = OrderFact(
        number=_free_number(shop, channel, number),
        revision_ms=now,
        status=OrderStatus.DONE,
        refund=RefundState.NONE,
        currency=product["currency"],
        total_minor=0,
        lines=(LineFact("1", sku, "", product["title"], len(keys), 0),),
        created_ms=now,
        paid_ms=now,
    )
    order_id = ingest(shop, channel, fact).order_id
    orders.set_line_product(db, order_id, sku, len(keys))
    return orders.get(db, order_id), orders.lines(db, order_id)[0]


def _free_number(shop: Shop, channel: str, number: str) -> str:
    day = business_day(shop.now_ms(), shop.config.shop.timezone).strftime("%Y%m%d")
    wanted, n = number or f"P{day}-1", 1
    while orders.find(shop.db, channel, wanted) is not None:
        n += 1
        wanted = f"{number}-{n}" if number else f"P{day}-{n}"
    return wanted


def _hand_over(shop: Shop, order: Row, line: Row, keys: Sequence[Row]) -> None:
    db, now, order_id = shop.db, shop.now_ms(), OrderId(order["id"])
    parcel_n = deliveries.next_parcels(db, [order_id])[order_id]
    text = "\n".join(open_key(shop, key).text() for key in keys)
    body = json.dumps({"subject": "", "text": text + "\n"}, ensure_ascii=False)
    sealed, data_key = shop.vault.seal(Secret(body), parcel_label(order, parcel_n))
    values = {"order_id": order_id, "n": parcel_n, "courier": ROUTE, "sealed": sealed,
              "address_digest": address_digest(shop, order), "data_key_id": data_key,
              "created_ms": now}  # fmt: skip
    parcel = deliveries.add_parcels(db, [values], [[line["id"]]])[order_id, parcel_n]
    for key in keys:
        store.expose(db, {**key, "line_id": line["id"], "parcel_id": parcel, "now": now})
    effect = effects.add_effect(
        db,
        {
            "order_id": order_id, "parcel_id": parcel, "parcel_n": parcel_n,
            "kind": EffectKind.HAND_OVER, "generation": 1, "channel": order["channel"],
            "route": ROUTE, "due_ms": now, "created_ms": now,
        },
    )  # fmt: skip
    assert effect is not None, "the parcel is new"
    _done(shop, effect, text)
    source = LineState(line["state"])
    for target in STEPS:
        if source is not target:
            orders.move_line(db, LineId(line["id"]), source, target, now)
        source = target
    deliveries.stamp_sent(db, [LineId(line["id"])], "sent_ms", now)
    moved = next(row for row in orders.lines(db, order_id) if row["id"] == line["id"])
    bound = deliveries.allocations(db, [line["id"]])
    deliver_lines(shop, [(order, moved)], {line["id"]: bound})


def _done(shop: Shop, effect: EffectId, text: str) -> None:
    """Write the try that the pool made for us."""
    db, now = shop.db, shop.now_ms()
    n = effects.begin_effect(db, effect, [EffectState.PENDING])
    attempt = effects.add_attempt(
        db,
        {"effect_id": effect, "n": n, "session_id": shop.session, "started_ms": now,
         "route": ROUTE, "digest": shop.vault.digest(text.encode())},
    )  # fmt: skip
    effects.move_attempt(
        db, attempt, AttemptState.INTENT, AttemptState.OK, now, ROUTE, "by the pool's own export"
    )
    effects.move_effect(db, effect, [EffectState.INFLIGHT], EffectState.DONE, now)
