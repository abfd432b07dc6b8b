"""The parcel of a replacement: the new keys of a line, a text that says so, its sending on record.

Beside the hand-over this is the only place that binds keys; the same store functions do it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from kmtool.domain.ids import OrderId, ParcelId
from kmtool.domain.secret import Secret
from kmtool.domain.states import COUNTER, AllocationState, EffectKind, Gate, Mode
from kmtool.errors import told
from kmtool.operations import chain, pictured
from kmtool.operations.messages import MessageLine, Written, language_of, rendered, source
from kmtool.operations.pack import (
    address_digest,
    courier_name,
    message_of,
    open_key,
    parcel_label,
)
from kmtool.operations.take import bind
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, products
from kmtool.store import refunds as store
from kmtool.store.db import Row


def shut_out(shop: Shop, order: Row, line: Row) -> tuple[Gate, str] | None:
    """Return the gate at which a replacement waits, and why: it may not leave for now."""
    channel = shop.config.channels.get(order["channel"])
    if channel is not None and channel.mode is Mode.WATCH:
        return Gate.MODE, told("{channel} is on watch", channel=order["channel"])
    wanted = {row["sku"] for row in store.wanted(shop.db, line["id"])}
    for sku in sorted(products.switched_off(shop.db, sorted({*wanted, line["sku"]}))):
        return Gate.PRODUCT, told("{sku} is off", sku=sku)
    return None


def bind_and_pack(shop: Shop, order: Row, line: Row, pairs: Sequence[tuple[Row, Row]]) -> None:
    """Bind new keys to the replacements of a line (replacement, key) and write their parcel.

    Raises `KmError` when the text does not render or its route refuses it: then nothing may stay.
    """
    order_id = OrderId(order["id"])
    n = deliveries.next_parcels(shop.db, [order_id])[order_id]
    keys = [key for _, key in pairs]
    parcel = pack_again(shop, order, line, keys, n)
    bind(shop, [(line, keys, parcel)])
    for replacement, key in pairs:
        allocation = store.bound_to(shop.db, line["id"], key["id"], AllocationState.RESERVED)
        store.name_replacement(shop.db, replacement["id"], allocation, parcel)


def pack_again(shop: Shop, order: Row, line: Row, keys: Sequence[Row], n: int) -> ParcelId:
    """Write the parcel that brings the new keys of a line under a number, with its sending.

    Raises as `bind_and_pack`.
    """
    db, now, order_id = shop.db, shop.now_ms(), OrderId(order["id"])
    written = _written(shop, order, line, keys)
    route = courier_name(shop, order["channel"])
    if order["channel"] != COUNTER:
        marker = f"{order['code']}-{n}"
        message = message_of(order, marker, written.subject, written.text.text(), ())
        message = replace(message, attachments=written.attachments)
        route = chain.carrier(shop, order_id, message)
    body = json.dumps({"subject": written.subject, "text": written.text.text()}, ensure_ascii=False)
    sealed, data_key = shop.vault.seal(Secret(body), parcel_label(order, n))
    row = {
        "order_id": order_id,
        "n": n,
        "courier": route,
        "address_digest": address_digest(shop, order),
        "sealed": sealed,
        "data_key_id": data_key,
        "created_ms": now,
    }
    parcel = deliveries.add_parcels(db, [row], [[line["id"]]])[order_id, n]
    effects.add_effects(
        db,
        [
            {
                "order_id": order_id,
                "parcel_id": parcel,
                "parcel_n": n,
                "kind": EffectKind.REPLACE,
                "generation": 1,
                "channel": order["channel"],
                "route": route,
                "due_ms": now,
                "created_ms": now,
            }
        ],
    )
    return parcel


def _written(shop: Shop, order: Row, line: Row, keys: Sequence[Row]) -> Written:
    product = products.product(shop.db, line["sku"])
    assert product is not None, "a line with keys has a product"
    opened = [(key["id"], open_key(shop, key)) for key in keys]
    texts = tuple(pictured.shown(*one) for one in opened)
    shown = MessageLine(line["title"] or product["title"], line["sku"], product["guide"], texts)
    channel, language = order["channel"], language_of(shop, order["channel"])
    written = rendered(
        shop,
        (channel, order["number"], order["code"]),
        [shown],
        source(shop, "replacement_subject", channel, line["sku"], language),
        source(shop, "replacement", channel, line["sku"], language),
    )
    return replace(written, attachments=pictured.attachments(opened))
