"""`kmtool db restore|drill|adopt|reconcile-stock`: an older state, and nothing sold twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Facts, Line
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.words import _, plural, tell

if TYPE_CHECKING:
    from kmtool.config import Config
    from kmtool.operations.adopt import Adopted
    from kmtool.operations.adopt import Outlook as AdoptOutlook
    from kmtool.operations.restore import Drill, Figures, Outlook, Restored, Settled
    from kmtool.operations.stock_back import StockBack
    from kmtool.shop import Shop

File = Annotated[Path | None, typer.Argument(help=_("a backup (kmtool db backups)"))]
Number = Annotated[
    int | None,
    typer.Option("--confirm", metavar="N", help=_("the number that would be asked for")),
]
Replay = Annotated[
    bool, typer.Option("--replay", help=_("no file: bring this database up to the send journal"))
]
Complete = Annotated[
    bool,
    typer.Option("--journal-complete", help=_("your word that the journal here misses nothing")),
]
Sold = Annotated[
    list[Path] | None,
    typer.Option("--sold", metavar="FILE", help=_("keys that are known as sold; may be repeated")),
]
Proof = Annotated[str, typer.Option("--proof", help=_("how you know; goes on record"))]
Sku = Annotated[str, typer.Option("--sku", help=_("only keys of this product"))]
Batch = Annotated[str, typer.Option("--batch", help=_("only keys of this batch"))]


def opener() -> Callable[[Config], AbstractContextManager[Shop]]:
    """Return what opens a shop with the clock of this call."""
    from kmtool import app

    clock = doors.clock()
    return lambda config: app.open_shop(config, clock=clock, progress=out.progress)


def restore(
    file: File = None, replay: Replay = False, confirm: Number = None, dry_run: doors.DryRun = False
) -> None:
    """Make a backup the database, or bring the database up to the journal."""
    from kmtool.operations import restore as operation

    if (file is None) is not replay:
        raise UsageError(detail="name a backup, or --replay", mend="kmtool db backups")
    if file is None:
        with doors.open_shop(writes=True, dry_run=dry_run) as shop:
            out.show(operation.replay_here(shop), _settled)
        return
    config = doors.load_config(writes=True)
    if not dry_run:
        _ask_restore(operation.outlook(config, file, opener()), confirm)
    result = operation.restore(config, doors.clock(), file, opener(), keep=not dry_run)
    out.show(result, _restored)
    if dry_run:
        out.note(_("--dry-run: nothing was kept"))


def drill() -> None:
    """Restore the newest backup on trial."""
    from kmtool.operations import restore as operation

    with doors.open_shop(writes=True) as shop:
        result = operation.drill(shop, opener())
    out.show(result, _drilled)
    if not result.ok:
        out.finish(EXIT_DIFFERENCES)


def adopt(
    confirm: Number = None, journal_complete: Complete = False, dry_run: doors.DryRun = False
) -> None:
    """Let the shop be at home here."""
    from kmtool.operations import adopt as operation

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        seen = operation.outlook(shop)
        if not dry_run:
            _ask_adopt(seen, journal_complete, confirm)
        result = operation.adopt(shop, journal_complete=journal_complete)
    out.show(result, _adopted)


def reconcile_stock(
    sold: Sold = None, proof: Proof = "", sku: Sku = "", batch: Batch = "",
    confirm: Number = None, dry_run: doors.DryRun = False,
) -> None:  # fmt: skip
    """Bring keys that a restore took out of sale back."""
    from kmtool.operations import stock_back

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if not dry_run:
            n = stock_back.out_of_sale(shop, sku, batch)
            _agree(
                plural(
                    "Decide about {n} key that is out of sale?",
                    "Decide about {n} keys that are out of sale?",
                    n,
                ).format(n=n),
                n,
                confirm,
            )
        result = stock_back.reconcile_stock(shop, sold or [], proof, sku=sku, batch=batch)
    out.show(result, _stock)


COMMANDS = (
    ("restore", restore, _("bring a backup back; what was sent stays sent")),
    ("drill", drill, _("restore the newest backup on trial, to know that it works")),
    ("adopt", adopt, _("let the shop be at home here: a copy, a new machine")),
    ("reconcile-stock", reconcile_stock, _("keys out of sale since a restore: free or sold")),
)


def _agree(question: str, number: int, given: int | None) -> None:
    """Ask for a number, unless it was given; a wrong one is a refusal."""
    if given is None:
        out.confirm_number(question, number, f"--confirm {number}")
    elif given != number:
        raise UsageError(
            detail="--confirm {given} is not the number asked for, which is {number}",
            given=given,
            number=number,
            mend="--confirm {number}",
        )


def _ask_restore(seen: Outlook, given: int | None) -> None:
    there = seen.present
    out.note(_("the backup: {what}").format(what=_figures(seen.backup)))
    if there is None:
        out.note(_("the present database cannot be read"))
    else:
        out.note(_("now:        {what}").format(what=_figures(there)))
    if not seen.journal:
        told = _("There is no send journal here: all {n} free keys go out of sale until reconciled")
        out.note(told.format(n=seen.backup.free))
    question = plural(
        "Go back to the backup with {n} order?",
        "Go back to the backup with {n} orders?",
        seen.backup.orders,
    ).format(n=seen.backup.orders)
    _agree(question, seen.backup.orders, given)


def _ask_adopt(seen: AdoptOutlook, complete: bool, given: int | None) -> None:
    out.note(tell(seen.why))
    if seen.was:
        out.note(_("Nothing will be sent from {place} any more.").format(place=seen.was))
    else:
        out.note(_("Make sure that no other copy of this shop is at work."))
    if not (seen.journal or seen.joins or complete):
        told = _("There is no send journal here: all {n} free keys go out of sale until reconciled")
        out.note(told.format(n=seen.figures.free))
        out.note(_("Better: bring the folder journal of the old machine here first."))
    question = plural(
        "Let the shop with {n} order be at home here?",
        "Let the shop with {n} orders be at home here?",
        seen.figures.orders,
    ).format(n=seen.figures.orders)
    _agree(question, seen.figures.orders, given)


def _figures(found: Figures) -> str:
    told = _("{orders} orders, {keys} keys ({free} free), last change {when}")
    return told.format(
        orders=f"{found.orders:,}",
        keys=f"{found.keys:,}",
        free=f"{found.free:,}",
        when=out.when(found.last_ms) if found.last_ms else _("never"),
    )


def _restored(result: Restored) -> Iterable[Block]:
    if result.kept:
        yield Line(_("The backup is the database now."), "good")
    yield Facts(((_("file"), result.file), (_("holds"), _figures(result.figures))))
    if result.saved:
        yield Facts(((_("before it"), result.saved),))
    yield from _settled(result.settled)
    if result.away:
        yield Line(_("Nothing is sent from here: {why}").format(why=result.away), "warn")
        yield Line(_("to do: {mend}").format(mend="kmtool db adopt"), "warn")
    elif result.kept:
        out.hint(_("pull what came since: kmtool sync, then kmtool deliver"))


def _settled(result: Settled) -> Iterator[Block]:
    done = result.replayed
    if result.journal:
        told = _("Send journal: {n} records; {right} keys as they should be").format(
            n=f"{done.records:,}", right=f"{done.right:,}"
        )
        yield Line(told)
        if done.bound:
            told = plural("{n} key was given back to its line; its outcome is asked about",
                          "{n} keys were given back to their lines; outcomes are asked about",
                          done.bound)  # fmt: skip
            yield Line(told.format(n=done.bound), "warn")
        if done.waiting - done.unknown:
            told = plural("{n} key waits for its order: kmtool sync",
                          "{n} keys wait for their orders: kmtool sync",
                          done.waiting - done.unknown)  # fmt: skip
            yield Line(told.format(n=done.waiting - done.unknown), "warn")
        if done.conflicts:
            told = plural(
                "{n} key was sent for another order than has it: kmtool doctor",
                "{n} keys were sent for another order than has them: kmtool doctor",
                done.conflicts,
            )
            yield Line(told.format(n=done.conflicts), "bad")
        if done.unknown:
            told = plural(
                "{n} sent key is not in this database: bring its file in again",
                "{n} sent keys are not in this database: bring their files in again",
                done.unknown,
            )
            yield Line(told.format(n=done.unknown), "warn")
    else:
        told = plural(
            "No send journal: {n} key is out of sale until you say which was sold",
            "No send journal: {n} keys are out of sale until you say which were sold",
            result.quarantined,
        )
        yield Line(told.format(n=result.quarantined), "bad")
        mend = 'kmtool db reconcile-stock --sold FILE --proof "…"'
        yield Line(_("to do: {mend}").format(mend=mend), "warn")
    for check in result.broken:
        told = _("BROKEN {name}: {figure}").format(name=check.name, figure=check.figure)
        yield Line(told, "bad")


def _drilled(result: Drill) -> Iterable[Block]:
    told = _("The backup restores, and its promises hold.")
    yield Line(told if result.ok else _("The backup does not restore as it should."),
               "good" if result.ok else "bad")  # fmt: skip
    yield Facts(
        (
            (_("file"), result.file),
            (_("holds"), _figures(result.figures)),
            (_("seconds"), result.seconds),
        )
    )
    yield from _settled(result.settled)


def _adopted(result: Adopted) -> Iterable[Block]:
    yield Line(_("The shop is at home here now."), "good")
    yield Facts(((_("place"), result.place),))
    if result.was:
        told = _("retired") if result.retired else _("could not be reached: never use it again")
        yield Facts(((_("before"), f"{result.was} ({told})"),))
    yield from _settled(result.settled)


def _stock(result: StockBack) -> Iterable[Block]:
    told = _("{free} keys are for sale again, {sold} were sold, {stay} stay out of sale")
    yield Line(told.format(free=result.freed, sold=result.sold, stay=result.stay), "good")
