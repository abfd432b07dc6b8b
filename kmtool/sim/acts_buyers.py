"""Buyers who try the brakes: coupons, prices typed wrong, a dozen orders at once."""

from __future__ import annotations

from collections.abc import Callable

from kmtool.ports import Buyer
from kmtool.sim.acts_kit import DONE, is_open, pick
from kmtool.sim.acts_orders import let_go
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


def slip_of_a_pair(stage: Stage) -> None:
    """A price less than a key costs; two pieces at it are more than one key costs."""
    _orders(stage, 1, lambda _ware, n: 400 * n, "at a price mistyped")


def release_too_late(stage: Stage) -> None:
    """The owner lets an order go while its buyer gets a part of the money back: he knew nothing
    of that, so his word is no answer to it."""
    placed = pick(stage, lambda one: is_open(one) and not one.letters)
    if placed is not None and let_go(stage, placed) == DONE:
        amount = max(1, placed.fact.total_minor // 2)
        stage.world.ask_back(placed, amount, "done")
        stage.happened(f"{placed.name} refund done {amount}, right after the release")


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
