"""When all lines of an order are done, telling the channel becomes an effect of its own.

A channel that takes a file is told by its owner's upload (ship_files.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import EffectKind, EffectState, OrderStatus, RefundState
from kmtool.operations.refunds import is_decided, refund_blocks
from kmtool.operations.ship_files import way_to_tell
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders
from kmtool.store.db import Row


def mark_when_done(shop: Shop, of: Sequence[Row]) -> None:
    """Write «shipped» down for orders whose lines are done, one of them delivered; never twice."""
    channels = {order["channel"] for order in of if order["channel"] in shop.config.channels}
    ways = {channel: way_to_tell(shop, channel) for channel in channels}
    unmarked = {
        order["id"]: order
        for order in of
        if ways.get(order["channel"]) and not order["marked_ms"] and not order["by_hand"]
    }
    progress = deliveries.progress(shop.db, list(unmarked))
    done = [unmarked[number] for number, (left, sent) in progress.items() if sent and not left]
    now = shop.now_ms()
    rows = [
        {
            "order_id": order["id"],
            "parcel_id": None,
            "parcel_n": 0,
            "kind": EffectKind.MARK_SHIPPED,
            "generation": 1,
            "channel": order["channel"],
            "route": ways[order["channel"]],
            "due_ms": now,
            "created_ms": now,
        }
        for order in done
    ]
    if effects.add_effects(shop.db, rows) < len(rows):
        for order in done:
            _again(shop, OrderId(order["id"]))


def mark_after_decision(shop: Shop, order_id: OrderId) -> None:
    """A person ended the lines that were left: tell the channel of what was delivered.

    A part of the money that is back and decided on stops this no more, once nothing is left to be
    sent. What was refunded whole, or is still asked about, is not told.
    """
    order = orders.get(shop.db, order_id)
    if order["marked_ms"]:
        return
    if refund_blocks(order):
        is_partial = order["refund"] == RefundState.PARTIAL
        left, sent = deliveries.progress(shop.db, [order_id]).get(order_id, (0, 0))
        if left or not sent or not is_partial or order["status"] == OrderStatus.CLOSED:
            return
        if not is_decided(shop, order, orders.refunds(shop.db, order_id)):
            return
        orders.set_released(shop.db, order_id, shop.now_ms())
    mark_when_done(shop, [order])


def _again(shop: Shop, order_id: OrderId) -> None:
    """Tell the channel after all what a refund had stopped that was withdrawn."""
    now = shop.now_ms()
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.MARK_SHIPPED:
            effects.move_effect(
                shop.db,
                EffectId(effect["id"]),
                [EffectState.CANCELLED],
                EffectState.RETRY_AT,
                now,
                due_ms=now,
            )
