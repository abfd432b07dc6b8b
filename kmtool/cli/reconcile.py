"""`kmtool reconcile`: first the money, then what does not add up."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kmtool.cli import doors, out, statement
from kmtool.cli.blocks import Block, Heading, Line
from kmtool.cli.recon import problem_table
from kmtool.cli.values import day
from kmtool.operations.reconcile import AccountResult, MoneyLine, Reconciliation
from kmtool.operations.reconcile import reconcile as run
from kmtool.operations.statements import Answers
from kmtool.words import _

Files = Annotated[
    list[Path] | None, typer.Argument(help=_("statements as downloaded: csv, xlsx, zip"))
]
From = Annotated[str | None, typer.Option("--from", help=_("show orders paid from this day on"))]
To = Annotated[str | None, typer.Option("--to", help=_("show orders paid up to this day"))]


def reconcile(  # noqa: PLR0913, PLR0917  (each is an option)
    files: Files = None,
    account: statement.Account = None,
    from_: From = None,
    to: To = None,
    profile: statement.Profile = None,
    covers: statement.Covers = None,
    accept_summary_mismatch: statement.Mismatch = None,
    accept_lossy: statement.Lossy = False,
    date_order: statement.DateOrder = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Take in statements and match them: first the money, then what does not add up."""
    answers = Answers(account, profile, covers, accept_summary_mismatch, accept_lossy, date_order)
    first, last = day(from_, "--from"), day(to, "--to")
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = run(shop, files or (), answers, first, last)
    out.show(result, _view)
    if result.problems:
        out.hint(_("one of them with its evidence: kmtool recon show NUMBER"))
    if result.exit_code:
        out.finish(result.exit_code)


def _view(result: Reconciliation) -> Iterable[Block]:
    for one in result.accounts:
        yield from _money(one)
    if result.files:
        yield Heading(_("Files"))
        for report in result.files:
            told = _("{file}: {rows} rows, {new} new")
            if report.refusal is None and report.imported_ms is None:
                rows = report.facts["rows"]
                yield Line(told.format(file=report.name, rows=rows, new=report.new))
            yield from statement.remarks(report)
    if result.accounts:
        yield Heading(_("What does not add up"))
        yield problem_table(result.problems, empty=_("Everything adds up."))


def _money(one: AccountResult) -> Iterable[Block]:
    money = one.money
    told = _(
        "{account}: {due} due = {received} received + {fees} fees + {refunded} refunded"
        " + {not_due} not yet due + {missing} missing"
    )
    if money.unexplained_minor:
        told += _(" + {unexplained} unexplained")
    amounts = {name: out.money(minor, money.currency) for name, minor in _amounts(money).items()}
    bad = money.missing_minor or money.unexplained_minor or money.unmatched_minor
    yield Line(told.format(account=one.account, **amounts), "bad" if bad else "good")
    if money.unmatched_minor:
        told = _("  besides, {unmatched} stands on statements without an order")
        yield Line(told.format(**amounts), "bad")


def _amounts(money: MoneyLine) -> dict[str, int]:
    return {
        "due": money.due_minor,
        "received": money.received_minor,
        "fees": money.fees_minor,
        "refunded": money.refunded_minor,
        "not_due": money.not_due_minor,
        "missing": money.missing_minor,
        "unexplained": money.unexplained_minor,
        "unmatched": money.unmatched_minor,
    }
