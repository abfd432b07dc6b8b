"""Buyers who try the brakes: coupons, prices typed wrong, a dozen orders at once."""

from __future__ import annotations

from collections.abc import Callable

from kmtool.ports import Buyer
from kmtool.sim.acts_truth import Burst
from kmtool.sim.buyers import buyer
from kmtool.sim.stage import Stage
from kmtool.sim.world import Ware

HOUR_MS = 3_600_000
BUYER_PIECES = 12
"""What the simulated shop lets one buyer have within an hour (`[brakes]` in `sites`)."""


def coupon(stage: Stage) -> None:
    """A buyer pays a little less than the price, and still more than the keys cost."""
    _orders(stage, 1, lambda ware, n: ware.price_minor * n * 9 // 10, "with a coupon")


def price_slip(stage: Stage) -> None:
    """The owner mistyped a price at the channel; some buyers are quick."""
    most = stage.random.choice((1, 2, 3))
    _orders(stage, most, lambda _ware, n: 100 * n, "at a price mistyped")


def burst(stage: Stage) -> None:
    """One buyer orders again and again: the brake lets a dozen pieces go within the hour."""
    stage.world.owner.buyers += 1
    who = Buyer(
        ref=f"burst-{stage.world.owner.buyers}",
        name=f"demo_burst_{stage.world.owner.buyers}",
        email="burst@example.test",
    )
    site = stage.random.choice(list(stage.world.sites.values()))
    ware = site.wares[0]
    names = []
    for _ in range(stage.random.choice((8, 10, 14))):
        placed = stage.world.place(site.name, [(ware, stage.random.choice((1, 2)))], who)
        names.append(placed.name)
    until = stage.clock.true_ms() + HOUR_MS
    if not stage.clock.offset_ms:
        stage.world.owner.bursts.append(Burst(frozenset(names), BUYER_PIECES, until))
    stage.happened(f"{who.name} orders {len(names)} times at {site.name}")


def _orders(stage: Stage, n: int, price: Callable[[Ware, int], int], how: str) -> None:
    site = stage.random.choice(list(stage.world.sites.values()))
    wares: list[Ware] = [ware for ware in site.wares if ware.kind == "key"]
    for _ in range(n):
        wanted = [(stage.random.choice(wares), stage.random.choice((1, 1, 2)))]
        placed = stage.world.place(site.name, wanted, buyer(stage.random), price=price)
        stage.happened(f"{placed.name} {wanted[0][0].item_id} {how}")
