"""The owner answers what waits: the shop says what needs a person, and the command that settles it.

These commands are taken at their word. What they do not settle stays unsettled, and the verdict in
the end tells of it: so the advice of the morning screen is under test as well.
"""

from __future__ import annotations

import shlex

from kmtool.domain.states import RefundState
from kmtool.operations import products
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.products import Fields
from kmtool.operations.refund_records import Answer, Decision
from kmtool.operations.status import status
from kmtool.shop import Shop
from kmtool.sim import acts_machines, acts_orders, acts_stock, supply
from kmtool.sim.acts_kit import finish, perform
from kmtool.sim.sites import COSTS_E5
from kmtool.sim.stage import Stage
from kmtool.sim.world import Placed

AT_ONCE = 25


def quiet(stage: Stage, n: int) -> None:
    """Before the n-th quiet round: finish what died, lift what was stopped, answer what waits."""
    if n % 4 == 0:
        if stage.daemon() is None:
            acts_machines.come_home(stage)
        acts_stock.bring_again(stage)
        finish(stage)
        lift(stage)
    if n % 3 == 1:
        answer(stage)


def lift(stage: Stage) -> None:
    """Pauses and holds end."""
    owner = stage.world.owner
    for scope in sorted(owner.paused):
        acts_stock.go_on(stage, scope)
    for placed in list(stage.world.orders.values()):
        if placed.held:
            acts_orders.let_go(stage, placed)


def morning(stage: Stage) -> None:
    """The owner looks at the morning screen and does one of the things it names."""
    _follow(stage, 1)


def answer(stage: Stage) -> None:
    """The owner does all that the morning screen names."""
    _follow(stage, AT_ONCE)


def _follow(stage: Stage, most: int) -> None:
    asked: list[str] = []

    def work(shop: Shop) -> None:
        asked.extend(item.command for item in status(shop).needs_you)

    perform(stage, "status", work)
    if most < len(asked):
        asked = stage.random.sample(asked, most)
    for command in asked:
        follow(stage, command)


def follow(stage: Stage, command: str) -> None:
    """Give a command that the shop named, as far as it is one of those played here."""
    words = shlex.split(command)[1:]
    placed = _named(stage, words)
    match words:
        case ["order", "release", _, "--quantity", *_] if placed is not None:
            acts_orders.let_rest_go(stage, placed)
        case ["order", "release", *_] if placed is not None:
            acts_orders.let_go(stage, placed)
        case ["order", "redeliver", *_] if placed is not None:
            acts_orders.send_again(stage, placed)
        case ["order", "close", *_] if placed is not None:
            _release_or_close(stage, placed)
        case ["order", "refund", *_] if placed is not None:
            _refund(stage, placed)
        case ["order", "replace", *_] if placed is not None:
            wish = ReplaceWish("does not work")
            perform(stage, command, lambda s: replace(s, words[2], wish, sure=True))
        case ["channel", "release", site]:
            acts_orders.release_site(stage, site)
        case ["import", _, "--sku", sku] if sku in COSTS_E5:
            supply.bring(stage, sku, 8)
        case ["product", "set", _, "--text", _]:
            acts_stock.set_text(stage, stage.world.owner.text)
        case ["product", "set", sku, "--state", "on"]:
            perform(stage, command, lambda s: products.change(s, sku, Fields(state="on")))
        case ["resume", scope]:
            acts_stock.go_on(stage, scope)
        case _:
            stage.count["unfollowed"] += 1


def _named(stage: Stage, words: list[str]) -> Placed | None:
    if len(words) < 3 or words[0] != "order":
        return None
    site, _, number = words[2].rpartition(":")
    for name in (site,) if site else (*stage.world.sites, "counter"):
        placed = stage.world.orders.get((name, number))
        if placed is not None:
            return placed
    return None


def _refund(stage: Stage, placed: Placed) -> None:
    if placed.fact.refund is RefundState.NONE:
        perform(stage, "sync", _pull)
        return
    state = placed.fact.refund
    answers = [Answer.AGREE, Answer.REFUSE] if state is RefundState.OPEN else [Answer.RECORD]
    acts_orders.decide(stage, placed, Decision(stage.random.choice(answers), reason="decided"))


def _pull(shop: Shop) -> None:
    from kmtool.operations.sync import sync

    sync(shop)


def _release_or_close(stage: Stage, placed: Placed) -> None:
    """「Shipped there, not by kmtool」: the owner looks whether the buyer has his keys."""
    if not placed.letters and placed.is_due:
        acts_orders.let_go(stage, placed)
    else:
        acts_orders.end(stage, placed)
