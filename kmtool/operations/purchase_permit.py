"""May this be bought now? What is asked inside the intent's transaction, right before money leaves.

Between reserve and intent the owner may have paused, held or set the channel to ask, the product's
terms may have changed, or the day's limit may be used up.
"""

from __future__ import annotations

from kmtool.domain.ids import OrderId
from kmtool.domain.states import LineState, Mode
from kmtool.errors import told
from kmtool.operations import topup
from kmtool.operations.facts import pause_of
from kmtool.operations.permit import to_human
from kmtool.operations.purchase_outcome import later
from kmtool.operations.refunds import CHANGED, apply_refund, refund_blocks, unpack
from kmtool.operations.tries import Sent
from kmtool.shop import Shop
from kmtool.store import house, products
from kmtool.store import purchases as store
from kmtool.store.db import Row

STOPPED_MS = 15_000
LIMIT_MS = 900_000


def may_buy(shop: Shop, effect: Row, order: Row, line: Row, tally: Sent) -> Row | None:
    """Ask once more what the gates asked before.

    Returns the product that is to be bought; None when it may not be bought now.
    """
    if refund_blocks(order):
        apply_refund(shop, OrderId(order["id"]))
        return None
    paused = pause_of(house.pauses(shop.db), order["channel"], line["sku"])
    stopped = "hold" if order["hold_reason"] else paused
    if stopped:
        later(shop, effect, STOPPED_MS, told("stopped: {stopped}", stopped=stopped))
        return None
    if line["state"] not in {LineState.RESERVED, LineState.UNKNOWN} or topup.is_done(shop, line):
        to_human(shop, effect, [line], told("its lines are not waiting for it any more"))
        return None
    unclear = topup.is_unclear(shop, line)
    if unclear and not topup.knows_item(shop, line):
        at = told("it may have been charged, and what was ordered there is not known: look there")
        to_human(shop, effect, [line], at)
        tally.needs_you += 1
        return None
    product = products.product(shop.db, line["sku"])
    assert product is not None
    store.lock_supplier(shop.db, product["supplier"])
    against = topup.refusals(shop, product, line)
    last = store.of_line(shop.db, line["id"])
    spend = against.spend
    if unclear and last is not None:  # it is counted already, and was within the limit then
        spend = topup.too_much(shop, last["supplier"], 0)
    why = against.terms or against.account or spend
    asks = _asks(shop, order, line)
    if not why and not asks:
        return product
    if not effect["tries"] and unpack(shop, effect, "looked at again"):
        return None
    if asks:
        to_human(shop, effect, [line], asks)
        tally.needs_you += 1
    else:
        later(shop, effect, LIMIT_MS, why)
    return None


def _asks(shop: Shop, order: Row, line: Row) -> str:
    """Return what a person must look at first: a change at the channel, or the channel's mode."""
    if line["reason"].startswith(CHANGED):
        return str(line["reason"])
    found = shop.config.channels.get(order["channel"])
    if found is None or found.mode is Mode.AUTO:
        return ""
    if found.mode is Mode.WATCH or order["released_ms"] is None:
        return told("the channel does not send by itself any more")
    return ""
