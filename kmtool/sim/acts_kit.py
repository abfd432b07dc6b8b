"""What acts share: a command of the owner that may die on the way, and what it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import KmError
from kmtool.shop import Shop
from kmtool.sim.stage import Stage
from kmtool.sim.world import Placed

T = TypeVar("T")

RECENT = 40
"""How many of the newest orders an act chooses from."""
DONE, REFUSED, DIED = "done", "refused", "died"


def perform(
    stage: Stage,
    name: str,
    work: Callable[[Shop], T],
    done: Callable[[T, int], object] | None = None,
    refused: Callable[[KmError], object] | None = None,
) -> str:
    """Run a command; tell how it ended.

    `done(result, seq)` is told as soon as the operation returned, with the number of its commit:
    what a process does on its way out may still kill it, but not undo that.
    """
    end = [DIED]

    def run(shop: Shop) -> T:
        try:
            found = work(shop)
        except KmError as error:
            end[0] = REFUSED
            if refused is not None:
                refused(error)
            raise
        end[0] = DONE
        if done is not None:
            done(found, stage.process.last_commit)
        return found

    stage.command(name, run)
    return end[0]


def insist(
    stage: Stage,
    name: str,
    work: Callable[[Shop], T],
    done: Callable[[T, int], object] | None = None,
    refused: Callable[[KmError], object] | None = None,
) -> str:
    """As `perform`; a command that died is given again later. Refused then, it had been done."""
    end = perform(stage, name, work, done, refused)
    if end == DIED:
        stage.world.owner.unfinished.append(
            (name, lambda later: insist(later, f"{name} again", work, done))
        )
    return end


def forget(stage: Stage, name: str) -> None:
    """Give a command no more that died on the way: the owner wants the opposite by now."""
    owner = stage.world.owner
    kept = [one for one in owner.unfinished if one[0].partition(" again")[0] != name]
    owner.unfinished = kept


def finish(stage: Stage) -> None:
    """Give the commands again that died on the way."""
    owner = stage.world.owner
    waiting, owner.unfinished = owner.unfinished, []
    for _name, again in waiting:
        again(stage)


def pick(stage: Stage, test: Callable[[Placed], bool], last: int = RECENT) -> Placed | None:
    """Choose one of the newest orders of which a test holds."""
    names = list(stage.world.orders)[-last:]
    found = [one for one in (stage.world.orders[name] for name in names) if test(one)]
    return stage.random.choice(found) if found else None


def ref(placed: Placed) -> str:
    """Return how a person names an order."""
    return f"{placed.channel}:{placed.fact.number}"


def good_keys(placed: Placed) -> list[str]:
    """Return the keys that a buyer holds and that still count."""
    return [key for key in placed.got() if key not in placed.excused]


def is_open(placed: Placed) -> bool:
    """Tell whether an order is paid, not refunded in any way, and not ended by the owner."""
    return (
        placed.fact.status in {OrderStatus.PAID, OrderStatus.SHIPPED}
        and placed.fact.refund is RefundState.NONE
        and not placed.ended
    )
