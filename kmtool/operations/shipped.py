"""When all lines of an order are done, telling the channel becomes an effect of its own."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, OrderId
from kmtool.domain.states import EffectKind, EffectState
from kmtool.errors import KmError
from kmtool.operations import routes
from kmtool.shop import Shop
from kmtool.store import deliveries, effects
from kmtool.store.db import Row


def mark_when_done(shop: Shop, of: Sequence[Row]) -> None:
    """Write «shipped» down for orders whose every line is done, one of them delivered; never twice.

    A channel that cannot be used right now is told later: whether it can be told is asked then.
    """
    channels = {order["channel"] for order in of if order["channel"] in shop.config.channels}
    told = {channel for channel in channels if _can_be_told(shop, channel)}
    unmarked = {
        order["id"]: order for order in of if order["channel"] in told and not order["marked_ms"]
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
            "route": "channel",
            "due_ms": now,
            "created_ms": now,
        }
        for order in done
    ]
    if effects.add_effects(shop.db, rows) < len(rows):
        for order in done:
            _again(shop, OrderId(order["id"]))


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


def _can_be_told(shop: Shop, channel: str) -> bool:
    try:
        return routes.channel(shop, channel).features.mark_shipped
    except KmError:
        return True
