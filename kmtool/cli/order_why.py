"""The view of `kmtool order why`: the gates in their order, or what happened beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kmtool.errors import marked
from kmtool.words import _, tell

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.order_records import GateShown, LastTry, OrderWhy

OPEN, SHUT, LATER = "\u221a", "\u00d7", "·"
"""Marks that a Chinese Windows console can print: open, shut, not reached."""
_GATES = {
    "closed": marked("not closed"),
    "refund": marked("no refund"),
    "shipped": marked("not shipped by others"),
    "pause": marked("not paused"),
}
"""Gates whose short name would say the opposite beside a mark that they are open."""
_TRIED = {
    "hand_over": marked("handing over"),
    "replace": marked("a replacement"),
    "notify": marked("a message"),
    "mark_shipped": marked("marking it shipped"),
    "refund_reply": marked("answering the refund"),
    "purchase": marked("buying the top-up"),
    "by_hand": marked("by hand"),
    "ok": marked("done"),
    "rejected": marked("not sent"),
    "unknown": marked("outcome unclear 结果不明"),
    "intent": marked("under way"),
    "pending": marked("not tried yet"),
    "retry_at": marked("to be tried again"),
    "inflight": marked("under way"),
    "human": marked("needs you 要你处理"),
    "cancelled": marked("cancelled 已取消"),
}
"""What was tried and what came of it, in people's words; the codes stay in JSON."""


def view(result: OrderWhy) -> Iterable[Block]:
    """Show every gate up to the first that is shut, or the last try; then answer and command."""
    from kmtool.cli.blocks import Heading, Line
    from kmtool.operations.order_records import WORDS

    for line in result.lines:
        state = _(WORDS[line.state]) if line.state in WORDS else ""
        yield Heading(f"{result.channel} · {result.number} · {line.title}: {state}")
        yield from _gates(line.gates)
        if line.last is not None:
            yield from _last(line.last)
        yield Line("  " + _("answer: {answer}").format(answer=line.answer))
        if line.command:
            yield Line("  → " + line.command)


def _gates(gates: Iterable[GateShown]) -> Iterator[Block]:
    """Yield the gates; those behind the first shut one are not asked before it opens."""
    from kmtool.cli.blocks import Line

    shut = False
    for gate in gates:
        name = _(_GATES.get(gate.gate, gate.gate))
        if shut:
            mark = OPEN if gate.open else LATER
            yield Line(f"  {mark} {name}" + ("" if gate.open else f": {tell(gate.reason)}"), "dim")
        elif gate.open:
            yield Line(f"  {OPEN} {name}", "good")
        else:
            shut = True
            yield Line(f"  {SHUT} {name}: {tell(gate.reason)}", "warn")


def _last(last: LastTry) -> Iterator[Block]:
    from kmtool.cli import out
    from kmtool.cli.blocks import Line

    told = _("  last: {effect} ({route}), try {n}: {outcome}")
    told = told.format(
        effect=_word(last.effect), route=_word(last.route), n=last.tries,
        outcome=_word(last.outcome or last.state),
    )  # fmt: skip
    detail = tell(last.detail)
    yield Line(told + (f" · {detail}" if detail else ""), "dim")
    if last.at_ms is not None:
        yield Line(_("  at {at}").format(at=out.when(last.at_ms)), "dim")
    if last.next_ms is not None:
        yield Line(_("  again at {at}").format(at=out.when(last.next_ms)), "dim")
    if last.seen_ms is not None:
        told = _("  keys {keys} may have been seen since {at}; the send journal has them")
        yield Line(told.format(keys=" ".join(last.keys), at=out.when(last.seen_ms)), "dim")


def _word(code: str) -> str:
    return _(_TRIED.get(code, code))
