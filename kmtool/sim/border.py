"""A call over the border of the simulated shop: its fate, and the time it takes.

`READS` and `WRITES` in `edges` say what may happen; here it does. Whatever is done outside is done
by `deed`; the caller of the port learns of it, or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kmtool.errors import NeedsOperator, Rejected, Retriable, Unknown
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage

T = TypeVar("T")

QUICK_MS = 40
SLOW_MS = 40_000
TIMEOUT_MS = 30_000
SPELL = 0.85
"""How many of the writes of a site a bad spell takes."""
MIXED = "mixed"
"""A spell in which what was not answered before is refused the next time."""
PAGES, TORN = "pages", 0.4
"""A spell of lists that break off between their pages, and how many pages it takes."""
EXECUTES_MS = 55_000
"""How long after a lost answer something may still be done over there: half of a grace, since the
other half may pass before a call begins."""


class Garbage(ValueError):
    """An answer that no adapter understands; ours trips over it."""


def read(stage: Stage, process: Process, label: str, ask: Callable[[bool], T]) -> T:
    """Ask something; `ask(stale)` returns what the other side says (an old answer when stale)."""
    fate = _before(stage, process, label, "read")
    if fate in {"down", "limited", "login"}:
        raise _not_done(fate)
    answer = ask(fate == "stale")
    _after(stage, process)
    if fate == "garbage":
        raise Garbage(label)
    return answer


def write(stage: Stage, process: Process, label: str, deed: Callable[[], T]) -> T:
    """Change something over there; the fate decides whether, when, and what is learned of it."""
    fate = _before(stage, process, label, "write")
    if fate in {"down", "limited", "login", "rejected"}:
        raise _not_done(fate)
    if fate in {"before", "late"} or (fate == "undocumented" and stage.edges.random.random() < 0.5):
        if fate == "late":
            wait = stage.edges.random.randrange(TIMEOUT_MS, EXECUTES_MS)
            stage.world.later(stage.clock.true_ms() + wait, lambda: _late(deed))
        _pass(stage, TIMEOUT_MS)
        _after(stage, process)
        raise Unknown(who="sim", detail=fate)
    answer = deed()
    _after(stage, process)
    if fate == "garbage":
        raise Garbage(label)
    if fate in {"lost", "undocumented"}:
        _pass(stage, TIMEOUT_MS)
        raise Unknown(who="sim", detail=fate)
    return answer


def _late(deed: Callable[[], object]) -> None:
    """What is done late is done whether anybody still listens or not."""
    deed()


def _before(stage: Stage, process: Process, label: str, kind: str) -> str:
    process.check()
    stage.count["calls"] += 1
    stage.edge("call before", process)
    fate = stage.draw(kind, process) or _spell(stage, label, kind)
    stage.note(f"{process.name}: {label}{' · ' + fate if fate else ''}")
    _pass(stage, SLOW_MS if fate == "slow" else QUICK_MS)
    return fate


def _spell(stage: Stage, label: str, kind: str) -> str:
    """Return what a bad spell of the site that is called makes of a write, or of a page."""
    site = label.partition(" ")[0].removesuffix("_way")  # a second courier is as always
    until_ms, fate = stage.world.spells.get(site, (0, ""))
    if stage.edges.calm or stage.clock.true_ms() >= until_ms:
        return ""
    if fate == PAGES:
        torn = " list " in label and stage.edges.random.random() < TORN
        return "down" if torn else ""
    if kind != "write" or stage.edges.random.random() >= SPELL:
        return ""
    return stage.edges.random.choice(("lost", "lost", "rejected")) if fate == MIXED else fate


def _after(stage: Stage, process: Process) -> None:
    stage.edge("call after", process)


def _pass(stage: Stage, most_ms: int) -> None:
    stage.clock.advance(1 + stage.edges.random.randrange(most_ms))
    stage.world.catch_up()


def _not_done(fate: str) -> Exception:
    if fate == "rejected":
        return Rejected(who="sim", detail="documented refusal")
    if fate == "login":
        return NeedsOperator(who="sim", detail="token expired")
    if fate == "limited":
        return Retriable(who="sim", detail="too many calls", after_s=20)
    return Retriable(who="sim", detail="connection refused", after_s=5)
