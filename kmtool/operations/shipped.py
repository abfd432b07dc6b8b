"""When all lines of an order are done, telling the channel becomes an effect of its own."""

from __future__ import annotations

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import EffectKind, EffectState, LineState
from kmtool.errors import KmError
from kmtool.operations import routes
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders
from kmtool.store.db import Row


def mark_when_done(shop: Shop, order: Row) -> None:
    """Write «shipped» down once every line is done and one was delivered; never twice.

    A channel that cannot be used right now is told later: whether it can be told is asked then.
    """
    if order["channel"] not in shop.config.channels or order["marked_ms"] is not None:
        return
    order_id = OrderId(order["id"])
    lines = orders.lines(shop.db, order_id)
    if deliveries.open_lines_left(shop.db, order_id) or not any(
        line["state"] == LineState.DELIVERED for line in lines
    ):
        return
    if not _can_be_told(shop, order["channel"]):
        return
    now = shop.now_ms()
    added = effects.add_effect(
        shop.db,
        {
            "order_id": order["id"],
            "parcel_id": None,
            "parcel_n": 0,
            "kind": EffectKind.MARK_SHIPPED,
            "generation": 1,
            "channel": order["channel"],
            "route": "channel",
            "due_ms": now,
            "created_ms": now,
        },
    )
    if added is not None:
        return
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.MARK_SHIPPED:  # a refund stopped it and was withdrawn
            effects.move_effect(
                shop.db,
                EffectId(effect["id"]),
                [EffectState.CANCELLED],
                EffectState.RETRY_AT,
                now,
                due_ms=now,
            )


def _can_be_told(shop: Shop, channel: str) -> bool:
    try:
        return routes.channel(shop, channel).features.mark_shipped
    except KmError:
        return True
