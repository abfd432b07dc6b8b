"""Keeps stock back for orders that are not paid yet, for a while.

Two phases. When an unpaid order is first seen, its lines hold a number of keys (no particular
ones), all parts of a line or none, and never what a paid line waits for. At payment the hold stays
with its line until its keys are taken; without payment it ends after `[sync] hold_unpaid`, counted
from the order's creation. An end by time never touches a paid line. A refund, a closed or a shipped
order, and a line that is gone give it back at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmtool.domain.ids import OrderId
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import marked
from kmtool.shop import Shop
from kmtool.store import holds as store
from kmtool.store import orders, stock_push
from kmtool.store.db import Row

SLACK_MS = 60_000
_OVER = frozenset({OrderStatus.SHIPPED, OrderStatus.DONE, OrderStatus.CLOSED})


def follow(shop: Shop, order_id: OrderId) -> None:
    """Let the holds of an order follow its new facts, inside the transaction that took them in."""
    db = shop.db
    live = [hold for hold in store.of_order(db, order_id) if hold["ended_ms"] is None]
    if not live:
        return
    order = orders.get(db, order_id)
    store.lock(db, [hold["sku"] for hold in live])
    if order["status"] in _OVER or order["refund"] != RefundState.NONE:
        for hold in live:
            store.end(db, hold, "dropped", marked("refunded, closed or shipped"), shop.now_ms())
        return
    if order["status"] == OrderStatus.UNPAID:
        store.move(db, order_id, "paid", "held")
    else:
        store.move(db, order_id, "held", "paid")
    needed = {(row["line_id"], row["sku"]): row["n"] for row in store.wanted(db, order_id)}
    is_unpaid = order["status"] == OrderStatus.UNPAID
    spoken = _spoken_for(shop, [hold["sku"] for hold in live]) if is_unpaid else {}
    for hold in store.of_order(db, order_id):
        if hold["ended_ms"] is not None:
            continue
        n = needed.get((hold["line_id"], hold["sku"]))
        if n is None:
            store.end(db, hold, "dropped", marked("the line does not want it"), shop.now_ms())
        elif n != hold["n"]:
            store.resize(db, hold, n, spoken.get(hold["sku"], 0))


def place(shop: Shop, channel: str, unpaid: Mapping[OrderId, bool]) -> int:
    """Hold stock for unpaid orders just taken in (order → did the channel lower its figure for it).

    Called at the end of the page's transaction, when the paid orders beside them are known. Returns
    how many lines hold something new.
    """
    db, now, lasts_ms = shop.db, shop.now_ms(), lasts(shop, channel)
    asked: dict[OrderId, list[Row]] = {}
    for order_id, lowered in unpaid.items():
        store.set_lowered(db, order_id, lowered)
        if lasts_ms and not store.of_order(db, order_id):
            asked[order_id] = store.wanted(db, order_id)
    skus = sorted({row["sku"] for rows in asked.values() for row in rows})
    if not skus:
        return 0
    store.lock(db, skus)
    spoken = _spoken_for(shop, skus)
    held = 0
    for order_id, rows in asked.items():
        order = orders.get(db, order_id)
        ends_ms = min(order["created_ms"], now) + lasts_ms
        if order["history"] or ends_ms <= now:
            continue
        base = {"order_id": order_id, "channel": channel, "lowered": int(unpaid[order_id]),
                "held_ms": now, "expires_ms": ends_ms}  # fmt: skip
        lines: dict[int, list[Row]] = {}
        for row in rows:
            lines.setdefault(row["line_id"], []).append(base | row)
        held += sum(_hold_line(shop, parts, spoken) for parts in lines.values())
    return held


def sweep(shop: Shop) -> int:
    """End the holds whose time is over, and the newest where more is held than there is.

    Of the latter those of paid lines come last: they lose their precedence, and wait for stock.
    A hold of a line that got its keys elsewhere, or ended without any, has no time: it ends here.
    """
    db, now = shop.db, shop.now_ms()
    if not (store.due(db, now, now + SLACK_MS) or store.beyond(db) or store.left_over(db)):
        return 0
    ended = 0
    with db.tx():
        store.lock(db, sorted(store.held(db)))
        for hold in store.left_over(db):
            why = marked("the line does not want it")
            ended += store.end(db, hold, "dropped", why, now)
        for hold in store.due(db, now, now + SLACK_MS):
            ended += store.end(db, hold, "expired", marked("not paid in time"), now)
        over: dict[str, int] = {}
        for hold in store.beyond(db):
            left = over.setdefault(hold["sku"], hold["over"])
            if left > 0 and store.end(db, hold, "dropped", marked("its stock is gone"), now):
                over[hold["sku"]] = left - hold["n"]
                ended += 1
    return ended


def release_ended(shop: Shop) -> list[Row]:
    """End holds of lines that wait no more and count anew, inside the open transaction.

    Returns sku, was and found of each counter that was wrong.
    """
    for hold in store.left_over(shop.db):
        store.end(shop.db, hold, "dropped", marked("the line does not want it"), shop.now_ms())
    return store.recount(shop.db)


def lasts(shop: Shop, channel: str) -> int:
    """Return how long an unpaid order of a channel holds stock, in milliseconds; 0 is never."""
    found = shop.config.channels.get(channel)
    if found is not None and found.hold_unpaid_ms >= 0:
        return found.hold_unpaid_ms
    return shop.config.sync.hold_unpaid_ms


def _spoken_for(shop: Shop, skus: Sequence[str]) -> dict[str, int]:
    """Return what paid lines wait for and no hold keeps for them: no unpaid order may have it."""
    demand, in_hold = stock_push.demand(shop.db), store.paid_holds(shop.db, skus)
    return {sku: max(0, demand.get(sku, 0) - in_hold.get(sku, 0)) for sku in skus}


def _hold_line(shop: Shop, parts: list[Row], spoken: Mapping[str, int]) -> bool:
    """Hold all parts of a line, or none."""
    taken: list[Row] = []
    for part in parts:
        if not store.count_up(shop.db, part["sku"], part["n"], spoken[part["sku"]]):
            for other in taken:
                store.count_down(shop.db, other["sku"], other["n"])
            return False
        taken.append(part)
    for part in parts:
        if not store.add(shop.db, part):
            store.count_down(shop.db, part["sku"], part["n"])
    return True
