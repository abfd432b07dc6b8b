"""`kmtool demo`: a whole working day against a simulated shop, without network or credentials."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import options, out
from kmtool.errors import EXIT_BROKEN
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.demo.story import Story


def demo(
    folder: Annotated[Path, typer.Argument(help=_("where the demo shop is left"))] = Path(
        "kmtool-demo"
    ),
) -> None:
    """Play a working day: 200 orders, two suppliers, lost replies, bills, a settlement."""
    from kmtool.demo import day

    story = day.run(folder.resolve(), out.note)
    out.use_zone("Asia/Shanghai")
    out.show(story, _view)
    if not options.current().machine:
        _morning(folder, story)
        _look(folder)
    if not story.agrees:
        out.finish(EXIT_BROKEN)


def _view(story: Story) -> Iterable[Block]:
    from kmtool.cli.blocks import Heading, Line

    yield Heading(_("The day of {day}").format(day=story.day))
    channels = ", ".join(f"{name} {n}" for name, n in story.orders_by_channel.items())
    yield Line(_("{n} paid orders came in ({channels}).").format(n=story.orders, channels=channels))
    yield Line(
        _("{keys} keys were imported in {batches} batches; {twins} line was there twice.").format(
            keys=story.keys_imported, batches=story.batches, twins=story.duplicates
        )
    )
    yield Line(
        _("{n} orders were delivered: {auto} by itself, {hand} pasted by hand.").format(
            n=story.delivered, auto=story.by_itself, hand=story.by_hand
        ),
        "good",
    )
    waits = ", ".join(f"{_(gate)} {n}" for gate, n in story.waiting.items())
    yield Line(
        _("{n} wait for you ({waits}), {cancelled} refunded in time, {cases} refund case.").format(
            n=sum(story.waiting.values()),
            waits=waits,
            cancelled=story.cancelled,
            cases=story.refund_cases,
        ),
        "warn",
    )
    yield Line(
        plural(
            "{n} reply got lost after the shop had acted; asking found it, nothing sent twice.",
            "{n} replies got lost after the shop had acted; asking found all, nothing sent twice.",
            story.healed,
        ).format(n=story.healed)
    )  # fmt: skip
    yield Line(
        _("At the buyers: {held} keys in the marketplace's chats, {doubled} at two buyers.").format(
            held=story.keys_at_buyers, doubled=story.keys_at_two_buyers
        ),
        "good" if story.keys_at_two_buyers == 0 else "bad",
    )
    yield from _money(story)


def _money(story: Story) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    money = story.money
    yield Line(
        _(
            "Money of the day: {due} due = {received} received + {fees} fees"
            " + {refunded} refunded + {missing} missing."
        ).format(
            due=out.money(money.due_minor),
            received=out.money(money.received_minor),
            fees=out.money(money.fees_minor),
            refunded=out.money(money.refunded_minor),
            missing=out.money(money.missing_minor),
        ),
        "warn" if money.missing_minor else "good",
    )
    for sheet in story.sheets:
        yield Line(
            _("Settlement {number} of {supplier}: {payable} for {keys} keys.").format(
                number=sheet.number,
                supplier=sheet.supplier,
                payable=out.money(sheet.payable_minor),
                keys=sheet.keys,
            )
        )
    told = _("Both ends agree.") if story.agrees else _("The two ends do NOT agree.")
    yield Line(told, "good" if story.agrees else "bad")


def _morning(folder: Path, story: Story) -> None:
    """Show the morning screen as `kmtool` alone does in the folder, at seven that morning."""
    from kmtool.app import open_shop
    from kmtool.cli.blocks import Heading, Line
    from kmtool.cli.status import screen
    from kmtool.clock import ManualClock
    from kmtool.config import FILE_NAME, load
    from kmtool.operations import status

    config = load(folder.resolve() / FILE_NAME)
    with open_shop(config, clock=ManualClock(story.morning_ms)) as shop:
        result = status.status(shop)
    out.show(result, lambda found: [Line(""), Heading(_("The morning after")), *screen(found)])


def _look(folder: Path) -> None:
    out.hint(_("look around: cd {folder}").format(folder=folder))
    for command in (
        "kmtool status",
        "kmtool order list --state held",
        "kmtool recon list",
        "kmtool settle list",
        "kmtool doctor",
    ):
        out.hint("  " + command)
