"""What the ledger must say in the end: each key that a buyer holds was booked once, at its cost.

Asked of orders without refunds, replacements and other words of the owner: what those mean for the
books is a matter of its own. A line's cost is rounded once, so a cent a key is left open.
"""

from __future__ import annotations

from kmtool.domain.money import e5_to_minor
from kmtool.shop import Shop
from kmtool.sim.sites import EVERY_E5, SHARED, SHARED_USES
from kmtool.sim.stage import Stage
from kmtool.sim.verdict import lacks
from kmtool.sim.world import CURRENCY, Placed, sku_of
from kmtool.store import ledger, sim_money

BOOKED_ONCE = "every key is booked once, at what it cost"
OWNED = "nothing leaves a stock that it never was in"


def ask(stage: Stage, shop: Shop) -> None:
    """Compare the ledger with what the buyers hold."""
    booked, delivered = sim_money.costs_of_orders(shop.db), sim_money.delivered_orders(shop.db)
    for placed in stage.world.orders.values():
        name = f"{placed.channel}:{placed.fact.number}"
        if name not in delivered or not _is_plain(stage, placed):
            continue
        cost, found = _cost(placed), booked.get(name, 0)
        if abs(cost - found) > len(placed.got()):
            stage.fail(BOOKED_ONCE, f"{placed.name}: {found} booked, its keys cost {cost}")
    stock = ledger.balance(shop.db, "asset:stock", CURRENCY)
    if stock < 0:
        stage.fail(OWNED, f"asset:stock is at {stock}")


def _is_plain(stage: Stage, placed: Placed) -> bool:
    """Tell whether nothing happened to an order but its delivery."""
    spoken = placed.fact.refunds or placed.excused or placed.extra or placed.doubtful
    forgotten = placed.name in stage.world.owner.forgetful
    return placed.is_due and not spoken and not forgotten and not lacks(placed)


def _cost(placed: Placed) -> int:
    costs = dict(EVERY_E5)
    costs |= {sku: costs[sku] // SHARED_USES for sku in SHARED}
    return e5_to_minor(sum(costs.get(sku_of(key), 0) for key in placed.got()), CURRENCY)
