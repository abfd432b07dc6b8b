"""What happens outside by itself: buyers order, pay, ask their money back; the clock jumps.

Each of these is an act of the script. What the operator does is in `acts`.
"""

from __future__ import annotations

import random
from dataclasses import replace

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.ports import Buyer
from kmtool.sim.border import MIXED, PAGES
from kmtool.sim.stage import Act, Stage
from kmtool.sim.world import Placed

BUYERS = 40
RECENT = 30
MINUTE_MS = 60_000


def buyer(chance: random.Random) -> Buyer:
    """Return one of the shop's buyers; all are made up."""
    n = chance.randrange(BUYERS)
    return Buyer(ref=f"b-{n}", name=f"demo_buyer_{n}", email=f"buyer{n}@example.test")


def order(stage: Stage) -> None:
    """Some buyers order and pay."""
    for _ in range(stage.random.choice((1, 2, 3, 4, 6, 8))):
        _place(stage, paid=True)


def order_unpaid(stage: Stage) -> None:
    """A buyer orders and does not pay yet."""
    _place(stage, paid=False)


def pay(stage: Stage) -> None:
    """A buyer pays an order of before."""
    found = [one for one in _recent(stage) if one.fact.status is OrderStatus.UNPAID]
    if found:
        placed = stage.random.choice(found)
        stage.world.pay(placed)
        stage.happened(f"{placed.name} is paid")


def close_unpaid(stage: Stage) -> None:
    """A channel closes an order that nobody paid."""
    found = [one for one in _recent(stage) if one.fact.status is OrderStatus.UNPAID]
    if found:
        placed = stage.random.choice(found)
        stage.world.change(placed, status=OrderStatus.CLOSED)
        stage.happened(f"{placed.name} is closed")


def refund(stage: Stage) -> None:
    """A buyer asks money back, or gets it at once: all of it or a part."""
    found = [
        one
        for one in _recent(stage)
        if one.is_paid and one.fact.refund is RefundState.NONE and not one.ended
    ]
    if not found:
        return
    unsent = [one for one in found if not one.letters]
    placed = stage.random.choice(unsent if unsent and stage.random.random() < 0.4 else found)
    total = placed.fact.total_minor
    amount = stage.random.choice((total, total, total, max(1, total // 2)))
    state = stage.random.choice(("open", "open", "done"))
    late_ms = stage.random.choice((0, 0, 20_000, 45_000))
    stage.world.ask_back(placed, amount, state, late_ms=late_ms)
    stage.happened(f"{placed.name} refund {state} {amount}, shows in {late_ms // 1000} s")


def withdraw(stage: Stage) -> None:
    """A buyer takes a request for a refund back, or the channel decides it."""
    found = [one for one in _recent(stage) if one.fact.refund is RefundState.OPEN]
    if found:
        placed = stage.random.choice(found)
        agree = stage.random.random() < 0.4
        for one in placed.fact.refunds:
            stage.world.answer_refund(placed, one.number, agree=agree)
        stage.happened(f"{placed.name} refund {'granted' if agree else 'withdrawn'} there")


def touch(stage: Stage) -> None:
    """A channel changes something of an order that matters to nobody; it shows late."""
    found = _recent(stage)
    if found:
        placed = stage.random.choice(found)
        late_ms = stage.random.choice((0, 3_000, 6_000, 9_000))
        stage.world.change(placed, late_ms=late_ms, note=f"note {stage.tick()}")
        stage.happened(f"{placed.name} is touched, shows in {late_ms // 1000} s")


def move_house(stage: Stage) -> None:
    """A buyer gives another address while his order is on its way."""
    found = [one for one in _recent(stage) if one.addresses and not one.shipped]
    if found:
        placed = stage.random.choice(found)
        who = placed.fact.buyer
        there = replace(who, email=f"moved{stage.tick()}@example.test")
        stage.world.change(placed, buyer=there)
        stage.happened(f"{placed.name} goes to {there.email}")


def spell(stage: Stage) -> None:
    """A bad spell of a site: for some minutes writes are not answered, or lists break off."""
    site = stage.random.choice(list(stage.world.sites))
    minutes = stage.random.choice((2, 6, 15))
    fate = stage.random.choice(("lost", "lost", "before", "down", MIXED, PAGES, PAGES))
    stage.world.spells[site] = (stage.clock.true_ms() + minutes * MINUTE_MS, fate)
    stage.happened(f"{site}: for {minutes} minutes a spell of 「{fate}」")


def wait(stage: Stage) -> None:
    """Time passes."""
    minutes = stage.random.choice((1, 2, 3, 12, 70))
    stage.clock.advance(minutes * MINUTE_MS)
    stage.happened(f"{minutes} minutes pass")


def jump(stage: Stage) -> None:
    """The shop's clock is wrong for a while: forward, back, by less or more than a minute."""
    if stage.clock.offset_ms:
        ms = -stage.clock.offset_ms
    else:
        ms = stage.random.choice((-45_000, 50_000, -90_000, 95_000, -600_000, 600_000, 7_200_000))
    stage.jump(ms)


def kill(stage: Stage) -> None:
    """Somebody kills the daemon between two rounds."""
    stage.kill_daemon()


def stop(stage: Stage) -> None:
    """The daemon is stopped in an orderly way."""
    stage.count["acts"] += 1
    stage.note("daemon is stopped")
    stage.stop_daemon()


def _place(stage: Stage, *, paid: bool) -> None:
    chance = stage.random
    site = chance.choice(list(stage.world.sites.values()))
    n = chance.choice((1, 1, 1, 1, 2, 3))
    wares = chance.sample(site.wares, n)
    wanted = [(ware, chance.choice((1, 1, 1, 2, 3))) for ware in wares]
    placed = stage.world.place(site.name, wanted, buyer(chance), paid=paid)
    items = " ".join(f"{ware.item_id}×{n}" for ware, n in wanted)
    stage.happened(f"{placed.name} {items}{'' if paid else ' (unpaid)'}")


def _recent(stage: Stage) -> list[Placed]:
    """Return the newest orders: old ones are left in peace."""
    found = list(stage.world.orders.values())
    return found[-RECENT:]


HAPPENINGS = (
    Act(40, "order", order),
    Act(5, "order unpaid", order_unpaid),
    Act(6, "pay", pay),
    Act(2, "close unpaid", close_unpaid),
    Act(6, "refund", refund),
    Act(4, "withdraw", withdraw),
    Act(6, "touch", touch),
    Act(2, "spell", spell),
    Act(2, "another address", move_house),
    Act(2, "wait", wait),
    Act(3, "jump", jump),
    Act(2, "kill", kill),
    Act(1, "stop", stop),
)
