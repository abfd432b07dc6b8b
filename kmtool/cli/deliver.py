"""`kmtool deliver`: bind keys and hand over all that is due, by itself or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, options, out
from kmtool.errors import EXIT_PARTLY, NeedsAnswer
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.by_hand import Answer, ByHandResult, Task
    from kmtool.operations.deliver import DeliverResult


def deliver(
    orders: Annotated[list[str] | None, typer.Argument(help=_("orders; all if none"))] = None,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help=_("show one message after the other to paste"))
    ] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Hand over all that is due. Repeating it never sends another key."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if by_hand:
            from kmtool.operations import by_hand as guided

            if not dry_run and not out.can_ask():  # before a key is shown, not after
                raise NeedsAnswer(question="--by-hand", mend="run it in a terminal")
            told = guided.by_hand(shop, orders or [], _ask)
            out.show(told, _by_hand_view)
            _hint_waiting(bool(told.held), bool(told.unmapped))
            return
        from kmtool.operations import deliver as operation

        result = operation.deliver(shop, orders or [])
    out.show(result, _view)
    _hint_waiting(bool(result.held or result.needs_you), bool(result.unmapped))
    if result.needs_you or result.failed:
        out.finish(EXIT_PARTLY)


def _hint_waiting(held: bool, unmapped: bool) -> None:
    if unmapped:
        out.hint(_("items without a product: kmtool product unmapped"))
    if held:
        out.hint(_("why an order waits: kmtool order why ORDER; all that wait: kmtool status"))


def _view(result: DeliverResult) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line

    held = sum(result.held.values())
    gates = ", ".join(f"{_(gate)} {n}" for gate, n in sorted(result.held.items()))
    pairs = [
        (_("delivered"), result.delivered),
        (_("orders marked shipped"), result.shipped),
        (_("held"), f"{held} ({gates})" if held else 0),
        (_("not mapped"), result.unmapped),
        (_("outcome unclear 结果不明"), result.unknown),
        (_("needs you 要你处理"), result.needs_you),
        (_("failed, tried again by itself"), result.failed),
        (_("waiting to be sent"), result.waiting),
    ]
    yield Facts([pair for n, pair in enumerate(pairs) if pair[1] or n == 0])
    for note in result.notes:
        yield Line(note, "warn")


def _ask(task: Task) -> Answer:
    from kmtool.cli import clipboard
    from kmtool.operations.by_hand import Answer

    head = _("{n} of {of}: {channel} order {number} for {buyer}").format(
        n=task.n, of=task.of, channel=task.channel, number=task.number, buyer=task.buyer or "?"
    )
    out.note(head)
    if task.again:
        out.note(_("  careful: this was perhaps sent before; look at the chat first"))
    text = task.message.text.text()
    if clipboard.copy(text):
        out.note(_("  the message is on the clipboard: paste it into the chat"))
    else:
        asked = options.current()
        (out.note if asked.machine and not asked.quiet else out.secret)(text)
    answers = {"": Answer.SENT, "s": Answer.SKIP, "u": Answer.UNSURE, "q": Answer.STOP}
    while True:
        said = out.ask(_("  Enter = sent, s = skip, u = unsure, q = stop:"), flag="--by-hand")
        if said.lower() in answers:
            return answers[said.lower()]


def _by_hand_view(result: ByHandResult) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Line

    held = sum(result.held.values())
    gates = ", ".join(f"{_(gate)} {n}" for gate, n in sorted(result.held.items()))
    pairs = [
        (_("sent"), result.sent),
        (_("skipped"), result.skipped),
        (_("outcome unclear 结果不明"), result.unsure),
        (_("left"), result.left),
        (_("held"), f"{held} ({gates})" if held else 0),
        (_("not mapped"), result.unmapped),
    ]
    yield Facts([pair for n, pair in enumerate(pairs) if pair[1] or n == 0])
    for file in result.ship_files:
        yield Line(_("upload this at the platform to mark them shipped: {file}").format(file=file))
