"""`kmtool recon`: what does not add up, and your decisions about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Column, Facts, Heading, Line, Marked, Moment, Money, Table
from kmtool.domain.money import parse_minor
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.operations import recon
from kmtool.operations.recon import Decided, Digests, Evidence, Problem, Problems
from kmtool.words import _

app = doors.noun(_("what does not add up, and what you decide"))

LineNumber = Annotated[int, typer.Argument(help=_("a statement line: its number in recon show"))]
Number = Annotated[int, typer.Argument(help=_("its number in the list"))]
Reason = Annotated[str, typer.Option("--reason", help=_("why, for the record"))]


@app.command("list", help=_("what does not add up, worst first"))
def list_(
    code: Annotated[str, typer.Option("--code", help=_("only this code"))] = "",
    min_: Annotated[str, typer.Option("--min", help=_("only from this amount on"))] = "0",
    closed: Annotated[bool, typer.Option("--closed", help=_("resolved ones too"))] = False,
) -> None:
    """List exceptions with the next command of each."""
    try:
        least = parse_minor(min_)
    except ValueError:
        raise UsageError(detail="{min} is no amount", min=repr(min_), mend="--min 10.00") from None
    with doors.open_shop() as shop:
        found = recon.problems(shop, code=code.upper(), open_only=not closed, min_minor=least)
    out.show(Problems(found), _listed)
    if any(one.state != "resolved" for one in found):
        out.finish(EXIT_DIFFERENCES)


@app.command("show", help=_("one exception with its evidence"))
def show(number: Number) -> None:
    """Show everything known about an exception, and what to do next."""
    with doors.open_shop() as shop:
        result = recon.show(shop, number)
    out.show(result, _shown)
    out.hint(result.exception.command)


@app.command("link", help=_("give a statement line to an order"))
def link(
    line: LineNumber,
    order: Annotated[str, typer.Argument(help=_("order number, or CHANNEL:NUMBER"))],
    reason: Reason,
    dry_run: doors.DryRun = False,
) -> None:
    """Give a line to an order by hand; every later run keeps to it."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = recon.link(shop, line, order, reason)
    _decided(result)


@app.command("unlink", help=_("undo a link or a write-off"))
def unlink(line: LineNumber, reason: Reason, dry_run: doors.DryRun = False) -> None:
    """Undo a decision; an automatic match is kept from coming back."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = recon.unlink(shop, line, reason)
    _decided(result)


@app.command("write-off", help=_("put a statement line aside for good"))
def write_off(line: LineNumber, reason: Reason, dry_run: doors.DryRun = False) -> None:
    """Put a line aside with a reason; its money goes to the write-off account."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = recon.write_off(shop, line, reason)
    _decided(result)


@app.command("resolve", help=_("settle an exception by hand"))
def resolve(number: Number, reason: Reason, dry_run: doors.DryRun = False) -> None:
    """Settle an exception; it comes back only if its evidence changes."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = recon.resolve(shop, number, reason)
    out.show(result, _told)


@app.command("digest", help=_("the fingerprint of all that was decided"))
def digest() -> None:
    """Print one SHA-256 per account: equal digests mean equal books."""
    with doors.open_shop() as shop:
        result = recon.digests(shop)
    out.show(result, _digests)


def problem_table(found: Iterable[Problem], *, empty: str = "") -> Table:
    """Return exceptions as people read them; the code is in `recon show` and in JSON."""
    return Table(
        columns=(
            Column("number", _("No")),
            Column("group", _("What")),
            Column("about", _("About")),
            Column("amount", _("Amount")),
            Column("meaning", _("Meaning"), spare=True),
            Column("next", _("Next")),
        ),
        rows=[
            (
                one.id,
                Marked(_(one.group.value), _STYLES.get(one.severity.value, "")),
                about(one),
                Money(one.amount_minor, one.currency) if one.currency else None,
                _(one.meaning),
                one.command,
            )
            for one in found
        ],
        empty=empty,
    )


def about(one: Problem) -> str:
    """Return what an exception is about, short."""
    if one.order:
        return one.order
    if one.line_id is not None:
        return _("line {n}").format(n=one.line_id)
    return one.subject.rpartition(":")[2][:24]


_STYLES = {"critical": "bad", "high": "bad", "medium": "warn", "low": "dim"}


def _listed(result: Problems) -> Iterable[Block]:
    yield problem_table(result.exceptions, empty=_("Everything adds up."))


def _shown(result: Evidence) -> Iterable[Block]:
    one = result.exception
    yield Facts(
        [
            (_("Code"), one.code),
            (_("What"), f"{_(one.group.value)}: {_(one.meaning)}"),
            (_("Severity"), Marked(_(one.severity.value), _STYLES[one.severity.value])),
            (_("Amount"), Money(one.amount_minor, one.currency) if one.currency else None),
            (_("Account"), one.account),
            (_("About"), one.subject),
            (_("State"), one.state),
            (_("Since"), Moment(one.since_ms)),
        ]
    )
    if result.figures is not None:
        yield Heading(_("The order and its money"))
        figures = result.figures
        yield Facts(
            [
                (_("Order"), figures.order),
                (_("Expected"), Money(figures.expected_minor, figures.currency)),
                (_("On statements"), Money(figures.settled_minor, figures.currency)),
                (_("Refunded on statements"), Money(figures.refunded_minor, figures.currency)),
                (_("Refunds recorded"), Money(figures.recorded_minor, figures.currency)),
                (_("Fees"), Money(figures.fee_minor, figures.currency)),
                (_("Coupons and subsidies"), Money(figures.adjust_minor, figures.currency)),
            ]
        )
    yield from _lines(result)
    yield Heading(_("History"))
    yield Table(
        columns=(Column("at", _("At")), Column("state", _("State")), Column("by", _("By")),
                 Column("reason", _("Reason"))),
        rows=[(Moment(move.at_ms), move.state, move.actor, move.reason) for move in result.moves],
    )  # fmt: skip
    yield Line(_("next: {command}").format(command=one.command), "good")


def _lines(result: Evidence) -> Iterable[Block]:
    if result.versions:
        yield Heading(_("Statement line {n}").format(n=result.exception.line_id))
        yield Table(
            columns=(Column("file", _("File")), Column("row", _("Row")), Column("time", _("Time")),
                     Column("kind", _("Kind")), Column("gross", _("Gross")),
                     Column("net", _("Net")), Column("order", _("Order")),
                     Column("trade", _("Trade")), Column("holds", _("Holds"))),
            rows=[
                (v.file, v.line_no, Moment(v.occurred_ms), v.kind,
                 Money(v.gross_minor, v.currency), Money(v.net_minor, v.currency), v.order_ref,
                 v.ext_txn_id, _("yes") if v.effective else "")
                for v in result.versions
            ],
        )  # fmt: skip
    if result.candidates:
        yield Heading(_("Orders that may fit"))
        yield Table(
            columns=(Column("order", _("Order")), Column("buyer", _("Buyer")),
                     Column("sku", _("SKU")), Column("expected", _("Expected")),
                     Column("gap", _("Seconds apart"))),
            rows=[
                (c.order, c.buyer, c.sku, Money(c.expected_minor, c.currency), c.gap_s)
                for c in result.candidates
            ],
        )  # fmt: skip


def _decided(result: Decided) -> None:
    out.show(result, _told)
    out.hint(_("let it take effect: kmtool reconcile"))


def _told(result: Decided) -> Iterable[Block]:
    words = {
        "linked": _("Line {line} belongs to {order} now."),
        "unlinked": _("Line {line} belongs to no order now."),
        "undone": _("The decision about line {line} is undone."),
        "written off": _("Line {line} is written off."),
        "resolved": _("Settled by hand."),
    }
    yield Line(words[result.what].format(line=result.line_id, order=result.order), "good")


def _digests(result: Digests) -> Iterable[Block]:
    yield Table(
        columns=(Column("account", _("Account")), Column("digest", _("Digest")),
                 Column("changed", _("Last changed"))),
        rows=[(one.account, one.digest, Moment(one.at_ms)) for one in result.digests],
        empty=_("kmtool.toml names no account."),
    )  # fmt: skip
