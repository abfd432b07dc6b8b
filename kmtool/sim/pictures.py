"""Pictures in simulated lives: products whose keys are pictures, and channels that carry them.

At dune no courier carries pictures: such an order waits there and says why, until in the end the
owner lets dune's pictures go through his own hands.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from kmtool.errors import KmError
from kmtool.operations import import_keys, order_why, products
from kmtool.operations.import_records import Terms
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from kmtool.sim import acts_orders, drawn, supply
from kmtool.sim.acts_kit import DONE, good_keys, is_open, perform, pick
from kmtool.sim.acts_truth import Brought
from kmtool.sim.buyers import buyer
from kmtool.sim.sites import EVERY_E5, PICTURED_E5, PICTURES, SHARED_USES, SITES, WARES
from kmtool.sim.stage import Stage
from kmtool.sim.verdict import lacks
from kmtool.sim.world import Placed, Ware
from kmtool.store import products as product_store

BARE = "dune"
"""The channel whose courier carries no pictures."""
BY_HAND = "by_hand"
LIFTED = 12
"""Before this quiet round the owner looks why dune's pictures wait."""
FIRST = 30
SAYS_WHY = "what waits for a courier that carries pictures says so"
WHY = "it carries no pictures"


def sold(stage: Stage) -> tuple[str, ...]:
    """Return the SKUs of pictures that the shop sells by now."""
    return tuple(sku for sku in PICTURED_E5 if stage.world.made.get(sku))


def listed(stage: Stage) -> tuple[Ware, ...]:
    """Return what the shop sells by now."""
    return (*WARES, *(PICTURES if sold(stage) else ()))


# ---------------------------------------------------------------------- acts


def order(stage: Stage) -> None:
    """Some buyers order pictures, some of them something else with it."""
    if stage.depth or not _is_open(stage):
        return
    chance = stage.random
    for _ in range(chance.choice((1, 2, 3, 4))):
        site = chance.choice([*SITES, *(one for one in SITES if one.courier.attachments)])
        wanted = [(chance.choice(PICTURES), chance.choice((1, 1, 2, 3)))]
        if chance.random() < 0.3:
            wanted.append((chance.choice(site.wares), 1))
        placed = stage.world.place(site.name, wanted, buyer(chance), paid=chance.random() < 0.9)
        items = " ".join(f"{ware.item_id}×{n}" for ware, n in wanted)
        stage.happened(f"{placed.name} {items}{'' if placed.is_paid else ' (unpaid)'}")


def bring(stage: Stage) -> None:
    """A supplier sends pictures: a folder, a zip, sometimes a single one."""
    if not stage.depth and _is_open(stage):
        sku = stage.random.choice(list(PICTURED_E5))
        supply.bring(stage, sku, stage.random.choice((1, 4, 12)))


def same_again(stage: Stage) -> None:
    """Pictures of before come in again, as files under other names and beside new ones; those that
    the owner named as sold where the journal was lost do not: nobody could know them."""
    files = [one for one in stage.world.owner.files if one.sku == "Q1" and not one.undone]
    if stage.depth or not files or not _is_open(stage):
        return
    old = stage.random.choice(files[-8:])
    mine = [key for key in old.keys if key not in stage.world.owner.sold]
    some = stage.random.sample(mine, min(len(mine), 4))
    fresh = stage.world.make_keys("Q1", 2, drawn.FORM)
    file = Brought(
        f"{fresh[0]}-mixed.zip", "Q1", "\n".join((*some, *fresh)).encode(), tuple(fresh)
    )  # fmt: skip
    stage.world.owner.files.append(file)
    source = drawn.source(file.name, file.data.decode().split())
    terms = Terms(sku="Q1", supplier="sup1", cost_e5=EVERY_E5["Q1"], images=True)

    def work(shop: Shop) -> None:
        import_keys.run(shop, [source], terms, agree=lambda _: True, create=lambda *_: True)

    perform(stage, f"import {file.name} again", work)


def cannot_be_scanned(stage: Stage) -> None:
    """A buyer cannot read his picture: another one."""
    placed = pick(stage, lambda one: is_open(one) and bool(_one_of_its_own(one)))
    if placed is not None and not stage.depth:
        acts_orders.give_another(stage, placed, stage.random.choice(_one_of_its_own(placed)))


def _one_of_its_own(placed: Placed) -> list[str]:
    """Return the pictures that a person can name by their end: no other key of the order has it."""
    ends = Counter(key[-4:] for key in placed.got())
    return [key for key in good_keys(placed) if drawn.is_drawn(key) and ends[key[-4:]] == 1]


def list_again(stage: Stage) -> None:
    """After the shop was set back to before its first picture: products and listings anew."""
    if sold(stage) and not stage.world.owner.pictures_here:
        _furnish(stage)


def lift(stage: Stage, n: int) -> None:
    """In the end the owner looks why dune's pictures wait, and sends them himself from then on."""
    there = stage.config.channels[BARE]
    if n < LIFTED or BY_HAND in there.couriers or not sold(stage):
        return
    _must_say_why(stage)
    stage.end_daemon()
    there = replace(there, couriers=(*there.couriers, BY_HAND))
    stage.config = replace(stage.config, channels={**stage.config.channels, BARE: there})
    stage.note("dune's pictures are sent by hand")


def _must_say_why(stage: Stage) -> None:
    told: dict[str, str] = {}
    waiting = [one for one in stage.world.by_channel[BARE] if _lacks_pictures(one)]

    def work(shop: Shop) -> None:
        for placed in waiting:
            try:
                found = order_why.why(shop, f"{BARE}:{placed.fact.number}")
            except KmError:
                continue
            told[placed.fact.number] = " ".join(line.answer for line in found.lines)

    perform(stage, "order why", work)
    for number, why in told.items():
        stage.note(f"{number}: {why}")
        if WHY not in why:
            stage.fail(SAYS_WHY, f"{number}: {why}")


def _lacks_pictures(placed: Placed) -> bool:
    return placed.is_due and any(sku in PICTURED_E5 for sku in lacks(placed))


def _is_open(stage: Stage) -> bool:
    """Add the products, listings and first stock the first time; tell whether they are there."""
    if sold(stage):
        return True
    if not _furnish(stage):
        return False
    calm, stage.edges.calm = stage.edges.calm, True
    for sku in PICTURED_E5:
        supply.bring(stage, sku, FIRST)
    stage.edges.calm = calm
    return True


def _furnish(stage: Stage) -> bool:
    owner = stage.world.owner

    def work(shop: Shop) -> None:
        for ware in PICTURES:
            if product_store.product(shop.db, ware.sku) is None:
                products.add(shop, ware.sku, _fields(ware))
            for site in SITES:
                products.map_listing(shop, Mapping(site.name, ware.item_id, "", ware.sku))

    def done(_found: None, seq: int) -> None:
        owner.pictures_here = True
        owner.decided(seq, away)

    def away() -> None:
        owner.pictures_here = False

    calm, stage.edges.calm = stage.edges.calm, True
    end = perform(stage, "pictures are sold", work, done)
    stage.edges.calm = calm
    return end == DONE


def _fields(ware: Ware) -> Fields:
    if ware.parts:
        return Fields(title=ware.sku, parts=ware.parts)
    uses = SHARED_USES if ware.kind == "shared" else None
    return Fields(title=ware.sku, kind="key", uses=uses)
