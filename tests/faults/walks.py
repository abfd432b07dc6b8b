"""Walks each effect through each fault in each state, and looks where that leaves it.

States: `first` the first send; `repeat` the send after one that was unclear and had not happened;
`asked` the question after an unclear send that had happened, `asked in vain` after one that had
not; `take-over` a send whose sender was fenced off before it could write the outcome.

What has to come of it follows from the rules and from how the route repeats, not from the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtool.domain.states import EffectKind
from tests.faults.rules import HTTP, SMTP, Means, Phase
from tests.faults.stands import GRACE_MS, KEY, Stand, stand

ASKED = ("asked", "asked in vain")
STATES = ("first", "repeat", *ASKED, "take-over")
SENT = {EffectKind.HAND_OVER, EffectKind.MARK_SHIPPED}
ALWAYS = {
    "refused", "closed_before_act", "closed_after_act", "s401", "refused_by_book", "s429_wait",
    "s404_after", "mail_4xx", "rcpt_5xx", "mail_5xx", "dot_closed", "dot_closed_after",
}  # fmt: skip
"""One of each kind; the others take turns unless everything is asked for."""
TURNS = 16


def some(phases: Sequence[Phase], turn: int) -> list[Phase]:
    """Return one of each kind and those whose turn it is."""
    return [p for n, p in enumerate(phases) if p.name in ALWAYS or n % TURNS == turn % TURNS]


@dataclass(frozen=True, slots=True)
class Walk:
    """An effect of a route in a state. `before` calls go before the one that is meant when it is
    sent first, `between` when it is sent again after a question."""

    route: str
    kind: EffectKind
    state: str
    before: int = 0
    between: int = 1

    @property
    def name(self) -> str:
        """Return how it is called."""
        return f"{self.route} {self.kind} {self.state}"

    def phases(self, turn: int | None) -> list[Phase]:
        """Return the faults to meet: all, or one of each kind and those whose turn it is."""
        every = [p for p in (SMTP if self.route == "email" else HTTP) if _fits(self, p)]
        return every if turn is None else some(every, turn)


@dataclass(frozen=True, slots=True)
class Step:
    """What one walk through one fault left behind."""

    walk: Walk
    phase: Phase
    trouble: str


WALKS: tuple[Walk, ...] = (
    *(Walk("woocommerce", EffectKind.HAND_OVER, state) for state in STATES),
    *(Walk("demo", EffectKind.HAND_OVER, state) for state in STATES),
    *(Walk("email", EffectKind.HAND_OVER, state) for state in ("first", "repeat", "take-over")),
    *(Walk("woocommerce", EffectKind.MARK_SHIPPED, s, before=2) for s in ("first", "repeat")),
    *(Walk("demo", EffectKind.MARK_SHIPPED, s, before=1) for s in STATES[:4]),
    *(Walk("demo", EffectKind.REFUND_REPLY, s) for s in STATES[:4]),
    *(Walk("demo", EffectKind.PURCHASE, s) for s in STATES[:4]),
)


def _fits(walk: Walk, phase: Phase) -> bool:
    """The shop speaks to its mail server in the clear here: logins are in the other table."""
    return walk.route != "email" or not phase.name.startswith(("starttls", "auth"))


def run(walks: Sequence[Walk], folder: Path, database: str = "", *, every: bool) -> list[Step]:
    """Walk; all walks must go by the same route."""
    steps = []
    with stand(walks[0].route, folder, database, n=2_000) as found:
        for n, walk in enumerate(walks):
            steps += _Run(found, walk).all(walk.phases(None if every else n))
        assert found.broken() == []
        _keys_are_one_buyers(found)
    return steps


def _keys_are_one_buyers(found: Stand) -> None:
    owners: dict[str, str] = {}
    for number in found.emails:
        texts = found.received(number)
        keys = {key for text in texts for key in KEY.findall(text)}
        assert len(keys) <= 1, (number, keys)
        assert len(set(texts)) <= 1, f"{number}: what is repeated is the same text"
        for key in keys:
            assert owners.setdefault(key, number) == number, f"{key} has two buyers"


class _Run:
    """One walk: an order for each fault, from the first send to where it comes to rest."""

    def __init__(self, found: Stand, walk: Walk) -> None:
        self.stand, self.walk = found, walk
        self.steps: list[Step] = []

    def all(self, phases: Sequence[Phase]) -> list[Step]:
        """Meet every fault, then let the shop go on; return what is wrong."""
        numbers = {phase: self._order() for phase in phases}
        self._bring_to_the_effect(list(numbers.values()))
        for phase, number in numbers.items():
            self._note(phase, self._meet(phase, number))
        for _ in range(4):
            self.stand.tick(GRACE_MS)
            self.stand.go()
        for phase, number in numbers.items():
            self._note(phase, self._rest(phase, number))
        self.steps += [Step(self.walk, phase, "") for phase in phases]
        return self.steps

    def _note(self, phase: Phase, trouble: str) -> None:
        if trouble:
            text = f"{self.walk.name} · {phase.name}: {trouble}"
            self.steps.append(Step(self.walk, phase, text))

    def _order(self) -> str:
        return self.stand.add(topup=self.walk.kind is EffectKind.PURCHASE)

    def _bring_to_the_effect(self, numbers: list[str]) -> None:
        """Let the orders come so far that the effect is the next thing to happen."""
        self.stand.pull()
        if self.walk.kind is EffectKind.REFUND_REPLY:
            self.stand.go()
            for number in numbers:
                self.stand.refuse_refund(number)

    # ---------------------------------------------------------------------------- the fault

    def _meet(self, phase: Phase, number: str) -> str:
        """Bring the effect into the state, let it meet the fault, and look at it."""
        walk, there = self.walk, self.stand
        if walk.state == "take-over":
            with there.failing(phase):
                there.taken_over(number)
            return self._differs(number, ("unknown", "retry_at", "unknown"))
        if walk.state == "first":
            with there.failing(phase, walk.before):
                there.go([number])
            return self._differs(number, self._after_send(phase)) or self._patient(phase, number)
        self._make_unclear(number, acted=walk.state == "asked")
        there.tick(GRACE_MS)
        if walk.state == "repeat":
            with there.failing(phase, walk.between):
                there.go([number])
            return self._differs(number, self._after_send(phase))
        with there.failing(phase):
            there.go([number])
        return self._differs(number, self._after_send(None))

    def _make_unclear(self, number: str, *, acted: bool) -> None:
        if self.walk.route == "email":
            phases, name = SMTP, "dot_closed_after" if acted else "dot_closed"
        else:
            phases, name = HTTP, "closed_after_act" if acted else "closed_before_act"
        phase = next(phase for phase in phases if phase.name == name)
        with self.stand.failing(phase, self.walk.before):
            self.stand.go([number])
        trouble = self._differs(number, self._after_send(phase))
        assert not trouble, f"{self.walk.name}: {trouble}"

    def _after_send(self, phase: Phase | None) -> tuple[str, str, str]:
        """Return (line, effect, try) after a send that met the fault; None: it was only asked."""
        means = phase.write if phase else Means.UNKNOWN
        line, effect, attempt = {
            Means.UNKNOWN: ("unknown", "retry_at", "unknown"),
            Means.REFUSED: ("human", "human", "rejected"),
            Means.DONE: ("delivered", "done", "ok"),
        }.get(means, ("reserved", "retry_at", "rejected"))
        if self.walk.kind in (EffectKind.MARK_SHIPPED, EffectKind.REFUND_REPLY):
            line = "delivered"  # the buyer has the key; only the channel does not know it
        return line, effect, attempt

    def _differs(self, number: str, wanted: tuple[str, str, str]) -> str:
        got = self.stand.effect(number, self.walk.kind)[:3]
        return "" if got == wanted else f"(line, effect, try) is {got}, should be {wanted}"

    def _patient(self, phase: Phase, number: str) -> str:
        """What the other side asked for is kept: not before the 7 seconds it named."""
        effect = self.stand.effect(number, self.walk.kind)[3]
        waits_ms = (effect["due_ms"] or 0) - self.stand.shop.now_ms()
        too_early = phase.write is Means.WAIT and waits_ms < 7_000
        return f"tried again after {waits_ms} ms already" if too_early else ""

    # ---------------------------------------------------------------------------- the rest

    def _rest(self, phase: Phase, number: str) -> str:
        """Look where it came to rest, here and over there."""
        walk = self.walk
        ended = walk.state in ("first", "repeat") and phase.write is Means.REFUSED
        if ended:
            return self._differs(number, self._after_send(phase)) or self._truth(phase, number, 0)
        done = ("delivered", "done", "ok")
        return self._differs(number, done) or self._truth(phase, number, 1)

    def _truth(self, phase: Phase, number: str, wanted: int) -> str:
        """Return what is wrong over there; `wanted` is how often it should have happened."""
        there = self.stand
        match self.walk.kind:
            case EffectKind.HAND_OVER:
                got = len(there.received(number))
                if self.walk.route == "email" and phase.acted and phase.write is Means.UNKNOWN:
                    wanted += 1  # nobody can be asked; the same mail goes once more
            case EffectKind.MARK_SHIPPED:
                got = int(there.shipped(number))
                if len(there.received(number)) != 1:
                    return f"the buyer has {len(there.received(number))} messages"
            case EffectKind.REFUND_REPLY:
                (refund,) = there.platform.orders[number].refunds.values()
                got = int(refund["state"] == "REFUSED")
            case _:
                prefix = there.effect(number, self.walk.kind)[3]["order_id"]
                rows = there.shop.db.all(
                    "SELECT p.our_no FROM purchases p JOIN lines l ON l.id = p.line_id"
                    " WHERE l.order_id = :o",
                    o=prefix,
                )
                got = sum(row["our_no"] in there.platform.supply.orders for row in rows)
        return "" if got == wanted else f"it happened {got} times, should be {wanted}"
