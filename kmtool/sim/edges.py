"""Every point at which something may go wrong, and what goes wrong there.

An edge is a moment before or after a call over the border, a commit, a write of the send journal.
At each of them one number is drawn from the seed; mostly nothing happens. What may happen:

    crash   the process dies: nothing more is written, its locks fall
    power   the machine dies: what was not forced to the disk is cut off, partly
    other   another actor acts right here while this process stands still
    full    the disk is full at this write (or the write fails)
    …       the fate of a call: see `READS` and `WRITES`

Draws belong to a step of the script, so that leaving out a step or one fault leaves the others
as they were: that is how a failure is made small.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

Odds = tuple[tuple[float, str], ...]
"""(share, what happens); the rest of the time nothing does."""


class Crash(BaseException):
    """A simulated process dies here."""


class PowerCut(Crash):
    """The simulated machine dies here, with all its processes."""


class Violation(BaseException):
    """Something is not as it must be. `rule` names the promise, `told` what was seen."""

    def __init__(self, rule: str, told: str) -> None:
        super().__init__(f"{rule}: {told}")
        self.rule = rule
        self.told = told


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What happened at the n-th edge of a step."""

    step: int
    n: int
    where: str
    what: str

    def __str__(self) -> str:
        return f"step {self.step}, edge {self.n}: {self.what} at {self.where}"


COMMIT_BEFORE: Odds = ((0.005, "crash"), (0.001, "power"), (0.002, "full"))
COMMIT_AFTER: Odds = ((0.007, "crash"), (0.002, "power"), (0.004, "other"))
BEGIN: Odds = ((0.003, "other"), (0.003, "full"), (0.001, "crash"))
JOURNAL: dict[str, Odds] = {
    "journal before": ((0.010, "crash"), (0.003, "power"), (0.010, "other")),
    "journal write": ((0.004, "crash"), (0.002, "power"), (0.003, "full")),
    "journal force": ((0.006, "crash"), (0.006, "power"), (0.002, "full")),
    "journal after": ((0.010, "crash"), (0.004, "power"), (0.010, "other")),
}
CALL_BEFORE: Odds = ((0.003, "crash"), (0.001, "power"), (0.003, "other"))
CALL_AFTER: Odds = ((0.006, "crash"), (0.002, "power"), (0.003, "other"))
READS: Odds = (
    (0.015, "down"),
    (0.005, "limited"),
    (0.005, "login"),
    (0.010, "garbage"),
    (0.020, "slow"),
    (0.030, "stale"),
)
WRITES: Odds = (
    (0.020, "down"),
    (0.010, "limited"),
    (0.002, "login"),
    (0.006, "rejected"),
    (0.020, "before"),
    (0.035, "lost"),
    (0.012, "late"),
    (0.010, "garbage"),
    (0.008, "undocumented"),
    (0.020, "slow"),
)
"""before: time-out, nothing was done · lost: done, the answer is lost · late: the answer is lost,
and it is done a while later · garbage: done, the answer is nonsense · undocumented: a code that
nobody documented, done or not · slow: done, after a while."""
ODDS: dict[str, Odds] = {
    "begin": BEGIN,
    "commit before": COMMIT_BEFORE,
    "commit after": COMMIT_AFTER,
    "call before": CALL_BEFORE,
    "call after": CALL_AFTER,
    "read": READS,
    "write": WRITES,
    **JOURNAL,
}


class Edges:
    """Draws what happens. `allowed` limits it to some faults (a failure is replayed or shrunk)."""

    def __init__(self, seed: int, allowed: frozenset[tuple[int, int]] | None = None) -> None:
        self.seed = seed
        self.allowed = allowed
        self.calm = False
        """Nothing goes wrong any more."""
        self.faults: list[Fault] = []
        self._limits = {
            where: (sum(share for share, _ in odds), _running(odds)) for where, odds in ODDS.items()
        }
        self.begin_step(0)

    def begin_step(self, number: int) -> None:
        """Draw for another step of the script from now on."""
        self.step = number
        self.random = random.Random(f"{self.seed}/{number}/edges")  # noqa: S311  (a simulation)
        self._n = 0

    def draw(self, where: str) -> str:
        """Return what happens at this edge, empty when nothing does."""
        self._n += 1
        drawn = self.random.random()
        if self.calm:
            return ""
        most, limits = self._limits[where]
        if drawn >= most:
            return ""
        what = next(found for limit, found in limits if drawn < limit)
        if self.allowed is not None and (self.step, self._n) not in self.allowed:
            return ""
        self.faults.append(Fault(self.step, self._n, where, what))
        return what


def _running(odds: Odds) -> tuple[tuple[float, str], ...]:
    found, total = [], 0.0
    for share, what in odds:
        total += share
        found.append((total, what))
    return tuple(found)
