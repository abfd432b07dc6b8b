"""What happens seldom outside, and is played where somebody asks for it (`acts.SELDOM`).

A channel whose clock does not tell two changes of one second apart, a buyer who wants fewer pieces
after his order was packed, a crowd that buys bundles.
"""

from __future__ import annotations

from dataclasses import replace

from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.ports import Buyer
from kmtool.shop import Shop
from kmtool.sim import supply
from kmtool.sim.acts_kit import DONE, is_open, perform
from kmtool.sim.acts_truth import Burst
from kmtool.sim.buyers import buyer
from kmtool.sim.stage import Stage

HOUR_MS = 3_600_000
SKU_PIECES = 120
"""Keys of a product that the simulated shop lets go within an hour (`[brakes]` in `sites`)."""
LAG_MS = 2_500
"""So much later a pull sees what a channel lists now."""
CROWD = 66


def same_second(stage: Stage) -> None:
    """A buyer pays and has his money back within one second of the channel's clock; the shop read
    the order in between."""
    site = stage.random.choice(list(stage.world.sites.values()))
    ware = stage.random.choice([one for one in site.wares if one.item_id in {"i1", "i3"}])
    placed = stage.world.place(site.name, [(ware, 1)], buyer(stage.random))
    stage.happened(f"{placed.name} {ware.item_id} × 1")
    stage.clock.advance(LAG_MS)
    perform(stage, "sync", _pull)
    revision_ms = placed.fact.revision_ms
    stage.world.ask_back(placed, placed.fact.total_minor, "done")
    placed.fact = replace(placed.fact, revision_ms=revision_ms)
    stage.happened(f"{placed.name} refund done, in the second of its order")


def fewer_pieces(stage: Stage) -> None:
    """A buyer changes his order to one piece at the channel, after its keys were bound."""
    site = stage.random.choice(list(stage.world.sites.values()))
    ware = stage.random.choice([one for one in site.wares if one.item_id in {"i1", "i3"}])
    placed = stage.world.place(site.name, [(ware, 3)], buyer(stage.random))
    stage.happened(f"{placed.name} {ware.item_id} × 3")
    stage.clock.advance(LAG_MS)
    perform(stage, "sync", _pull)
    if perform(stage, "reserve", reserve_due) != DONE or not is_open(placed):
        return
    if placed.letters or placed.addresses or _may_be_on_its_way(stage, placed.name):
        return
    (line,) = placed.fact.lines
    placed.paid_before = placed.wanted()
    less = replace(line, quantity=1, amount_minor=line.amount_minor // 3)
    stage.world.change(placed, lines=(less,), total_minor=less.amount_minor)
    stage.happened(f"{placed.name} is changed to one piece")


def _may_be_on_its_way(stage: Stage, name: tuple[str, str]) -> bool:
    return any(name in places for places in stage.sent.values())


def crowd(stage: Stage) -> None:
    """Many buyers want the bundle at once: the brake of a product holds for its parts as well."""
    supply.bring(stage, "S3", 2 * CROWD + 10)
    supply.bring(stage, "S1", CROWD + 10)
    site = stage.random.choice(list(stage.world.sites.values()))
    ware = next(one for one in site.wares if one.kind == "bundle")
    names = []
    for _ in range(CROWD):
        stage.world.owner.buyers += 1
        n = stage.world.owner.buyers
        who = Buyer(f"crowd-{n}", f"demo_crowd_{n}", f"crowd{n}@example.test")
        names.append(stage.world.place(site.name, [(ware, 1)], who).name)
    if not stage.clock.offset_ms:
        until = stage.clock.true_ms() + HOUR_MS
        one = Burst(frozenset(names), SKU_PIECES, until, sku="S3")
        stage.world.owner.bursts.append(one)
    stage.happened(f"{len(names)} buyers want {ware.item_id} at {site.name}")


def _pull(shop: Shop) -> None:
    sync(shop)
