"""Going back in a round by hand: what an answer that was given already is worth then.

A key that was shown may have been seen, whatever is said later: nothing here sets one free. "Sent"
becomes "needs you" with its keys still delivered and booked, and the same text is shown again as
something that was perhaps sent before; a mark at the channel that nobody began is held back.
"""

from __future__ import annotations

from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.states import EffectKind, EffectState, LineState
from kmtool.errors import marked
from kmtool.operations.permit import lines_of
from kmtool.operations.refunds import refund_blocks
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store.db import Row

TAKEN_BACK = marked("you took 「sent」 back; the buyer may have it")


def fresh(shop: Shop, effect: Row) -> Row:
    """Return a hand-over as it stands now, with its last try."""
    found = effects.waiting_on(
        shop.db, [effect["route"]], EffectKind(effect["kind"]), 100, [effect["order_id"]]
    )
    return next((row for row in found if row["id"] == effect["id"]), effect)


def take_back(shop: Shop, effect: Row) -> Row:
    """Undo the answer to a hand-over as far as that is honest; return what is shown instead.

    Skipped and unsure ones simply come again. One that was sent goes to the person: its lines need
    you, and the same keys are shown once more under a new generation. Nothing of it happens when a
    refund came meanwhile; what is returned then cannot be begun.
    """
    db, now = shop.db, shop.now_ms()
    with db.tx():
        order = orders.get(db, OrderId(effect["order_id"]), lock=True)
        state = EffectState(effects.effect(db, EffectId(effect["id"]))["state"])
        if state is not EffectState.DONE or refund_blocks(order):
            return fresh(shop, effect)
        for line in lines_of(shop, effect):
            orders.move_line(
                db,
                LineId(line["id"]),
                LineState.DELIVERED,
                LineState.HUMAN,
                now,
                reason=TAKEN_BACK,
            )
        _hold_back_mark(shop, OrderId(order["id"]))
        values = {name: effect[name] for name in ("parcel_id", "parcel_n", "channel", "route")}
        again = effects.add_effect(
            db,
            {
                **values,
                "order_id": order["id"],
                "kind": effect["kind"],
                "generation": effect["generation"] + 1,
                "due_ms": now,
                "created_ms": now,
            },
        )
        shop.audit("by_hand_back", f"order:{order['channel']}:{order['number']}")
        if again is None:
            return fresh(shop, effect)
        return fresh(shop, effects.effect(db, again))


def _hold_back_mark(shop: Shop, order_id: OrderId) -> None:
    """What is not surely delivered is not told to the channel, unless that has begun."""
    for effect in effects.effects_of(shop.db, order_id):
        if effect["kind"] == EffectKind.MARK_SHIPPED and not effect["tries"]:
            effects.move_effect(
                shop.db,
                EffectId(effect["id"]),
                [EffectState.PENDING, EffectState.RETRY_AT],
                EffectState.CANCELLED,
                shop.now_ms(),
                reason=TAKEN_BACK,
            )
