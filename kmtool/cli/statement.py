"""`kmtool statement`: read, import and look at statements, and the words they share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.blocks import Block, Cell, Column, Facts, Line, Marked, Moment, Money, Table
from kmtool.errors import EXIT_INPUT, EXIT_PARTLY
from kmtool.operations import statement_files, statements
from kmtool.operations.statement_files import Contents, StoredFiles
from kmtool.operations.statements import Answers, FileReport, FileReports
from kmtool.words import _

app = doors.noun(_("payout and transaction statements"))

Files = Annotated[list[Path], typer.Argument(help=_("statements as downloaded: csv, xlsx, zip"))]
Account = Annotated[
    str | None, typer.Option("--account", help=_("one of [accounts.…] in kmtool.toml"))
]
Profile = Annotated[str | None, typer.Option("--profile", help=_("id or path of a profile"))]
Covers = Annotated[
    str | None, typer.Option("--covers", help=_("the days it holds: 2026-11-01..2026-11-30"))
]
Mismatch = Annotated[
    str | None,
    typer.Option("--accept-summary-mismatch", help=_("take it although its totals disagree: why")),
]
Lossy = Annotated[
    bool, typer.Option("--accept-lossy", help=_("take destroyed ids, until a good file comes"))
]
DateOrder = Annotated[str | None, typer.Option("--date-order", help=_("mdy or dmy"))]


@app.command("check", help=_("read files without storing anything"))
def check(
    files: Files,
    profile: Profile = None,
    accept_summary_mismatch: Mismatch = None,
    date_order: DateOrder = None,
) -> None:
    """Show what a file says, or why it is refused."""
    answers = Answers(
        profile=profile, accept_summary_mismatch=accept_summary_mismatch, date_order=date_order
    )
    with doors.open_shop() as shop:
        result = statements.check(shop, files, answers)
    out.show(result, reports)
    finish(result)


@app.command("import", help=_("take files in without reconciling"))
def import_(  # noqa: PLR0913, PLR0917  (each is an option)
    files: Files,
    account: Account = None,
    profile: Profile = None,
    covers: Covers = None,
    accept_summary_mismatch: Mismatch = None,
    accept_lossy: Lossy = False,
    date_order: DateOrder = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Import statements; the same file again changes nothing."""
    answers = Answers(account, profile, covers, accept_summary_mismatch, accept_lossy, date_order)
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = statements.take_in(shop, files, answers)
    out.show(result, reports)
    out.hint(_("match them with the orders: kmtool reconcile"))
    finish(result)


@app.command("list", help=_("which statements are here"))
def list_(account: Account = None) -> None:
    """List statements, newest first."""
    with doors.open_shop() as shop:
        result = statement_files.listing(shop, account)
    out.show(result, _listed)
    if result.files:
        out.hint(_("one of them: kmtool statement show NUMBER"))


@app.command("show", help=_("one statement with its lines"))
def show(number: Annotated[int, typer.Argument(help=_("its number in the list"))]) -> None:
    """Show a statement and what became of each line."""
    with doors.open_shop() as shop:
        result = statement_files.show(shop, number)
    out.show(result, _shown)


def finish(result: FileReports) -> None:
    """End with 9 (or 6, where a flag answers it) if all was refused, 3 if some of it was."""
    if result.refused:
        whole = len(result.refused) == len(result.files)
        answerable = all(r.refusal is not None and r.refusal.override for r in result.refused)
        out.finish((6 if answerable else EXIT_INPUT) if whole else EXIT_PARTLY)


def reports(result: FileReports) -> Iterable[Block]:
    """Show what became of each file."""
    yield Table(
        columns=(
            Column("file", _("File")),
            Column("profile", _("Profile")),
            Column("account", _("Account")),
            Column("rows", _("Rows")),
            Column("new", _("New")),
            Column("net", _("Net")),
            Column("state", _("State")),
        ),
        rows=[_report(report) for report in result.files],
    )
    for report in result.files:
        yield from remarks(report)


def remarks(report: FileReport) -> Iterable[Block]:
    """Say of one file what a person should know: known already, refused, warnings."""
    if report.imported_ms is not None:
        told = _("{file} was imported on {when}; 0 new")
        yield Line(told.format(file=report.name, when=out.when(report.imported_ms)))
    if report.changed:
        told = _("{file}: {n} known lines say something else than before")
        yield Line(told.format(file=report.name, n=report.changed), "warn")
    if report.refusal is not None:
        told = _("{file} is refused, {code}: {text}")
        code, text = report.refusal.code.value, report.refusal.text
        yield Line(told.format(file=report.name, code=code, text=text), "bad")
        if report.refusal.mend:
            yield Line("  " + _("to do: {mend}").format(mend=report.refusal.mend))
    elif report.imported_ms is None:
        for warning in report.facts["warnings"]:
            yield Line(f"  {warning['code']}: {warning['text']}", "dim")


def _report(report: FileReport) -> tuple[Cell, ...]:
    sums = report.facts["sums"]
    currency = next(iter(sums), "CNY")
    net = sums[currency]["net"] if sums else None
    bad = report.refusal is not None
    return (
        report.name,
        report.facts["profile"] or "",
        report.into or report.facts["account"] or "",
        report.facts["rows"],
        report.new,
        Money(net, currency),
        Marked(_("refused") if bad else _(report.state), "bad" if bad else ""),
    )


def _listed(result: StoredFiles) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("number", _("No")),
            Column("file", _("File")),
            Column("account", _("Account")),
            Column("profile", _("Profile"), spare=True),
            Column("from", _("From")),
            Column("to", _("To")),
            Column("rows", _("Rows")),
            Column("state", _("State")),
            Column("imported", _("Imported")),
        ),
        rows=[
            (
                file.id,
                file.file,
                file.account,
                file.profile,
                "" if file.first_day is None else file.first_day.isoformat(),
                "" if file.last_day is None else file.last_day.isoformat(),
                file.rows,
                file.refusal or file.state,
                Moment(file.imported_ms),
            )
            for file in result.files
        ],
        empty=_("No statements yet. Take one in: kmtool reconcile FILE"),
    )


def _shown(result: Contents) -> Iterable[Block]:
    file = result.file
    yield Facts(
        [
            (_("File"), file.file),
            (_("Account"), file.account),
            (_("Profile"), file.profile),
            (_("State"), file.refusal or file.state),
            (_("Taken although its totals disagree"), file.accepted or _("no")),
        ]
    )
    yield Table(
        columns=(
            Column("line", _("Line")),
            Column("row", _("Row")),
            Column("time", _("Time")),
            Column("kind", _("Kind")),
            Column("gross", _("Gross")),
            Column("fee", _("Fee")),
            Column("net", _("Net")),
            Column("order", _("Order")),
            Column("bucket", _("Bucket")),
        ),
        rows=[
            (
                line.id,
                line.line_no,
                Moment(line.occurred_ms),
                line.kind,
                Money(line.gross_minor, line.currency),
                Money(line.fee_minor, line.currency),
                Money(line.net_minor, line.currency),
                line.order_ref,
                line.code or line.bucket,
            )
            for line in result.lines
        ],
        empty=_("It has no lines."),
    )
