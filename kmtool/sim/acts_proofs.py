"""What the owner puts on record after a loss: what was sold, that the audit counts from here."""

from __future__ import annotations

from kmtool.operations import audit, stock_back
from kmtool.shop import Shop
from kmtool.sim import drawn
from kmtool.sim.acts_kit import perform
from kmtool.sim.stage import Stage


def reconcile_stock(stage: Stage) -> None:
    """The owner compares with the orders of all channels, and says which keys were sold."""
    sold = stage.ground.root / "sold.txt"
    keys = [key for key in sorted(stage.world.holders) if not key.startswith("T-")]
    keys += sorted(stage.world.owner.lent())
    keys += sorted(stage.world.owner.gone)
    texts = [key for key in keys if not drawn.is_drawn(key)]
    sold.write_text("\n".join(texts or ["K-NONE-000000"]), encoding="utf-8")
    lists = [sold, *drawn.laid_down(stage.ground.root / "sold", filter(drawn.is_drawn, keys))]

    def work(shop: Shop) -> None:
        stock_back.reconcile_stock(shop, lists, "compared with the orders of all channels")

    perform(stage, "db reconcile-stock", work)


def anchor(stage: Stage) -> None:
    """The heads of the audit are noted outside the shop folder."""
    perform(stage, "audit anchor", audit.anchor)


def accept_audit(stage: Stage) -> None:
    """The record ends earlier than it was anchored: the owner says why, and it counts from here."""

    def work(shop: Shop) -> None:
        audit.anchor(shop, accept="an older state was put back")

    perform(stage, "audit anchor --accept", work)
