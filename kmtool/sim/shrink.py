"""Makes a failing life small: fewer steps, then fewer faults, as long as the same promise breaks.

What is left out changes nothing of the rest: chance is drawn per step (`edges`, `stage`). Time is
bounded; what is found until then is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kmtool.sim.driver import Life, play
from kmtool.sim.edges import Fault
from kmtool.sim.ground import Ground

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """The smallest life found that still fails: its steps, its faults, how it ends."""

    steps: tuple[int, ...]
    faults: tuple[Fault, ...]
    life: Life
    tries: int


def shrink(life: Life, ground: Ground, goes_on: Callable[[], bool]) -> Script:
    """Return the smallest script that breaks the same promise, found while `goes_on()`."""
    tries = 0
    best = life

    def fails(steps: Sequence[int], faults: Sequence[Fault]) -> bool:
        nonlocal tries, best
        tries += 1
        allowed = frozenset((one.step, one.n) for one in faults)
        found = play(life.seed, ground, steps=steps, allowed=allowed)
        if found.rule != life.rule:
            return False
        best = found
        return True

    steps = [n for n in life.script if life.step == 0 or n <= life.step]
    faults = list(life.faults)
    if not fails(steps, faults):
        return Script(life.script, life.faults, life, tries)
    steps = _fewer(steps, lambda some: fails(some, faults), goes_on)
    faults = [one for one in faults if one.step in steps or one.step == 0]
    faults = _fewer(faults, lambda some: fails(steps, some), goes_on)
    steps = _fewer(steps, lambda some: fails(some, faults), goes_on)
    return Script(tuple(steps), tuple(faults), best, tries)


def _fewer(
    items: Sequence[T], fails: Callable[[Sequence[T]], bool], goes_on: Callable[[], bool]
) -> list[T]:
    """Leave out parts, halves first, then smaller ones, as long as it fails without them."""
    left, size = list(items), max(1, len(items) // 2)
    while size and goes_on():
        at, found = 0, False
        while at < len(left) and goes_on():
            some = [*left[:at], *left[at + size :]]
            if fails(some):
                left, found = some, True
            else:
                at += size
        if size == 1 and not found:
            break
        size = max(1, size // 2) if size > 1 or found else 0
        if size == 1 and not left:
            break
    return left
