"""Plays one life: a seed, its script, and the end without faults.

A step of the script lets some things happen outside, lets the operator act, lets time pass and lets
the daemon work. Then faults stop, stock comes in, the operator answers what waits for him, and
every order that can be delivered must be, within a bounded number of rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kmtool.sim import acts_answers as answers
from kmtool.sim import acts_stock, money, pictures, supply, topups, verdict
from kmtool.sim.acts import SMALL, played
from kmtool.sim.buyers import HAPPENINGS
from kmtool.sim.edges import Fault, Violation
from kmtool.sim.ground import Ground
from kmtool.sim.others import OTHERS
from kmtool.sim.stage import Act, Stage, current
from kmtool.sim.supply import SUPPLY

STEPS = 70
ROUNDS_MAX = 40
"""How many quiet rounds the shop has to serve everybody."""
QUIET_MS = 130_000
SOON = 3
"""After so many quiet rounds the shop must know every order; then comes a long pause."""
PAUSES_MS = (2_000, 5_000, 12_000, 31_000)


@dataclass(frozen=True, slots=True)
class Life:
    """What became of one seed. `rule` is empty when all promises were kept."""

    seed: int
    script: tuple[int, ...]
    events: int
    counts: dict[str, int]
    digest: str
    rule: str = ""
    told: str = ""
    step: int = 0
    trace: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = field(default=())

    @property
    def sort(self) -> str:
        """Return which of the three great promises broke: duplicate, lost, unrecorded, or other."""
        return verdict.SORTS.get(self.rule, "other" if self.rule else "")


def play(
    seed: int,
    ground: Ground,
    *,
    steps: Iterable[int] = range(1, STEPS + 1),
    allowed: frozenset[tuple[int, int]] | None = None,
) -> Life:
    """Play the life of a seed (or only some steps and faults of it); return what became of it."""
    stage = Stage(seed, ground, allowed)
    stage.others = [*OTHERS, *SMALL]
    wanted = list(steps)
    wrong: Violation | None = None
    try:
        for number in wanted:
            _step(stage, number)
        _end(stage)
    except Violation as violation:
        wrong = violation
    except Exception as error:  # noqa: BLE001  (a bug of the program is what is looked for)
        wrong = Violation("no command ends in a traceback", f"{type(error).__name__}: {error}")
        stage.note(_where(error))
    if stage.violations:
        wrong = stage.violations[0]
    step = stage.step
    _close(stage)
    return Life(
        seed=seed,
        script=tuple(wanted),
        events=stage.events(),
        counts=_figures(stage),
        digest=stage.digest(),
        rule=wrong.rule if wrong else "",
        told=wrong.told if wrong else "",
        step=step,
        trace=tuple(stage.trace) if wrong else (),
        faults=tuple(stage.edges.faults) if wrong else (),
    )


def acts(seed: int) -> Sequence[Act]:
    """Return everything a step in the life of this seed may choose from."""
    return (*HAPPENINGS, *SUPPLY, *played(seed))


def _step(stage: Stage, number: int) -> None:
    stage.begin_step(number)
    if number == 1:
        supply.open_the_shop(stage)
    known = acts(stage.seed)
    weights = [act.weight for act in known]
    for act in stage.random.choices(known, weights, k=stage.random.choice((1, 2, 2, 3))):
        act.run(stage)
    stage.clock.advance(stage.random.choice(PAUSES_MS))
    stage.rounds()


def _end(stage: Stage) -> None:
    """Faults stop; everybody who paid must be served."""
    stage.begin_step(0)
    stage.edges.calm = True
    if stage.clock.offset_ms:
        stage.jump(-stage.clock.offset_ms)
    stage.note("faults stop")
    pulls = stage.count["pulls"]
    for n in range(ROUNDS_MAX):
        if n == SOON and stage.count["pulls"] == pulls + SOON:
            verdict.ask_what_was_seen(stage)
        stage.clock.advance(QUIET_MS * (30 if n % 4 == SOON else 1))
        answers.quiet(stage, n)
        topups.lift(stage)
        pictures.lift(stage, n)
        supply.settle(stage, n)
        stage.rounds()
        left = next(verdict.unserved(stage), None) or topups.unsettled(stage)
        left = left or topups.uncharged(stage)
        if left is None:
            break
        if n == ROUNDS_MAX - 1:
            stage.fail(*left)
    stage.end_daemon()
    with stage.open("doctor") as shop:
        verdict.ask_doctor(stage, shop)
        verdict.ask_what_is_bad(stage, shop, acts_stock.FINGERPRINTS.fingerprint)
        money.ask(stage, shop)
        topups.ask(stage, shop)


def _close(stage: Stage) -> None:
    """End a life, however it ended; nothing of it reaches into the next."""
    try:
        stage.close()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  (what is wrong was told before)
        return
    finally:
        stage.connections.close()
        current.clear()


def _figures(stage: Stage) -> dict[str, int]:
    found = dict(stage.count)
    found["orders"] = len(stage.world.orders)
    found["keys"] = len(stage.world.holders)
    found["faults"] = len(stage.edges.faults)
    return found


def _where(error: BaseException) -> str:
    """Return the innermost places of a traceback, for whoever mends it."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in reversed(last))
