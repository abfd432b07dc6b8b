"""What can go wrong at the simulated shop, one request at a time.

`acts` tells on which side of the deed the fault lies: only then may a caller's retry do it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock


class FaultKind(StrEnum):
    """How a request goes wrong. `LOST_REPLY`, `HALF_REPLY`, `ERROR_AFTER`, `NONSENSE` happen after
    the deed was done; `SLOW` waits, then does it and answers.
    """

    CLOSED_BEFORE = "closed_before"
    LOST_REPLY = "lost_reply"
    HALF_REPLY = "half_reply"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    NONSENSE_BEFORE = "nonsense_before"
    NONSENSE = "nonsense"
    UNDOCUMENTED = "undocumented"
    SLOW = "slow"
    BUSY = "busy"
    DENIED = "denied"

    @property
    def acts(self) -> bool:
        """Tell whether the deed happens all the same."""
        return self in _ACTING


_ACTING = frozenset(
    {
        FaultKind.LOST_REPLY,
        FaultKind.HALF_REPLY,
        FaultKind.ERROR_AFTER,
        FaultKind.NONSENSE,
        FaultKind.SLOW,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for the next `times` calls of `where`, after `skip` calls that go well.

    `where` names a call: ping, orders, order, ship, messages, message, refund, items, stock, shelf,
    balance, place, purchase (the supplier's side), or `*`.
    `seconds` is how long `SLOW` waits and what `BUSY` says in Retry-After.
    """

    where: str
    kind: FaultKind
    times: int = 1
    skip: int = 0
    seconds: float = 1.0


@dataclass
class _Armed:
    fault: Fault
    skip: int
    left: int


@dataclass
class Faults:
    """The faults that are armed. `plan`, when set, is asked for every other call."""

    plan: Callable[[str], Fault | None] | None = None
    _armed: list[_Armed] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def arm(self, fault: Fault) -> None:
        """Let the coming calls go wrong."""
        with self._lock:
            self._armed.append(_Armed(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._armed.clear()
            self.plan = None

    def next(self, call: str) -> Fault | None:
        """Return the fault that hits this call, and count it down."""
        with self._lock:
            for armed in self._armed:
                if armed.fault.where not in {call, "*"}:
                    continue
                if armed.skip > 0:
                    armed.skip -= 1
                    continue
                armed.left -= 1
                if armed.left <= 0:
                    self._armed.remove(armed)
                return armed.fault
            return self.plan(call) if self.plan else None
