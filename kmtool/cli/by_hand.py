"""The guided round of `kmtool deliver --by-hand`: show, copy, ask, one message after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kmtool.cli import options, out
from kmtool.cli.clipboard import Clipboard
from kmtool.errors import NeedsAnswer
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.by_hand import Answer, ByHandResult, Task
    from kmtool.shop import Shop

MINUTE_MS = 60_000
WAITS_SHOWN = 8


def round_of(shop: Shop, orders: Sequence[str], *, dry_run: bool) -> ByHandResult:
    """Guide through what waits; refuse before a key is shown when nobody can answer."""
    from kmtool.operations import by_hand

    if not dry_run and not out.can_ask():
        raise NeedsAnswer(question="--by-hand", mend="run it in a terminal")
    board = Clipboard(shop.config.deliver.clipboard)
    try:
        told = by_hand.by_hand(shop, orders, _asker(board))
    finally:
        if board.clear():
            out.note(_("the clipboard was overwritten, as far as this program can"))
    out.show(told, view)
    return told


def view(result: ByHandResult) -> Iterable[Block]:
    """Show what the round did and why the rest is left."""
    from kmtool.cli.blocks import Facts, Line
    from kmtool.words import tell

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
    for one in result.waits[:WAITS_SHOWN]:
        name = "" if one.number in one.command else f"{one.channel}:{one.number}  "
        yield Line(f"  {name}{tell(one.why)} → {one.command}", "warn")
    if len(result.waits) > WAITS_SHOWN:
        more = len(result.waits) - WAITS_SHOWN
        yield Line(_("  and {n} more: kmtool status --json").format(n=more), "dim")
    for file in result.ship_files:
        yield Line(_("upload this at the platform to mark them shipped: {file}").format(file=file))


def _asker(board: Clipboard) -> Callable[[Task], Answer]:
    def ask(task: Task) -> Answer:
        _head(task)
        text = task.message.text.text()
        if board.copy(text):
            out.note(_("  the message is on the clipboard: paste it into the chat"))
        else:
            _print(text)
        for file in task.files:
            out.note(_("  send this picture with it: {file}").format(file=file))
        return _answer(board, task)

    return ask


def _head(task: Task) -> None:
    head = _("{n} of {of}: {channel} order {number} for {buyer}").format(
        n=task.n, of=task.of, channel=task.channel, number=task.number, buyer=task.buyer or "?"
    )
    out.note("")
    out.note(_plain(head))
    money = out.money(task.amount_minor, task.currency)
    paid = _("  {money}, paid {age} ago").format(money=money, age=_age(task))
    out.note(_plain(paid + ": " + "; ".join(task.items)))
    if task.again:
        out.note(_("  careful: this was perhaps sent before; look at the chat first"))


def _answer(board: Clipboard, task: Task) -> Answer:
    from kmtool.operations.by_hand import Answer

    answers = {"": Answer.SENT, "s": Answer.SKIP, "u": Answer.UNSURE, "q": Answer.STOP}
    asked = _("  Enter = sent, s = skip, u = unsure, c = only the key, q = stop:")
    if task.can_go_back:
        answers["b"] = Answer.BACK
        asked = _("  Enter = sent, s = skip, u = unsure, b = back, c = only the key, q = stop:")
    while True:
        said = out.ask(asked, flag="--by-hand").lower()
        if said == "c":
            _only_the_key(board, task)
        elif said in answers:
            return answers[said]


def _only_the_key(board: Clipboard, task: Task) -> None:
    keys = "\n".join(key.text() for key in task.message.keys)
    if board.copy(keys):
        out.note(_("  only the key is on the clipboard now"))
    else:
        _print(keys)


def _print(text: str) -> None:
    asked = options.current()
    (out.note if asked.machine and not asked.quiet else out.secret)(text)


def _plain(text: str) -> str:
    from kmtool.cli.blocks import plain

    return plain(text)


def _age(task: Task) -> str:
    minutes = max(0, task.now_ms - task.since_ms) // MINUTE_MS
    if minutes < 60:
        return f"{minutes}m"
    return f"{minutes // 60}h" if minutes < 48 * 60 else f"{minutes // 1440}d"
