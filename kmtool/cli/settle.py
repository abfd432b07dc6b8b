"""`kmtool settle`: what suppliers are owed, their sheets, and what was paid."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kmtool.cli import doors, options, out, settle_adjust
from kmtool.cli.blocks import Block, Column, Facts, Heading, Line, Marked, Moment, Money, Table
from kmtool.cli.export import take_output
from kmtool.cli.values import day
from kmtool.domain.money import parse_minor
from kmtool.domain.settlement import BY_HAND, NOT_DUE
from kmtool.errors import EXIT_DIFFERENCES, UsageError
from kmtool.operations import settle, settle_paid, settle_sheets, settle_verify
from kmtool.operations.settle import Closed, Preview
from kmtool.operations.settle_paid import Paid
from kmtool.operations.settle_sheets import Payment, SheetPage, SheetRow, Sheets, Waiting
from kmtool.operations.settle_verify import Verified
from kmtool.words import _, plural

app = doors.noun(_("what suppliers are owed: sheets, workbooks, payments"))

Supplier = Annotated[str, typer.Argument(help=_("the supplier's code"))]
Number = Annotated[str, typer.Argument(help=_("a sheet's number, such as JS-sup1-202611-01"))]
Cut = Annotated[str, typer.Option("--cut", help=_("last due day that counts; today by default"))]


@app.command("preview", help=_("what closing would settle now; writes nothing"))
def preview(supplier: Supplier, cut: Cut = "") -> None:
    """Show the next sheet of a supplier."""
    with doors.open_shop() as shop:
        result = settle.preview(shop, supplier, day(cut, "--cut"))
    out.show(result, _previewed)
    if result.difference_minor:
        out.finish(EXIT_DIFFERENCES)
    if result.keys or result.clawbacks:
        out.hint(f"kmtool settle close {supplier}")


@app.command("close", help=_("close a supplier's sheet and write its workbook"))
def close(supplier: Supplier, cut: Cut = "", dry_run: doors.DryRun = False) -> None:
    """Close a sheet: it gets a number and a hash and never changes again."""
    last = day(cut, "--cut")
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        due = settle.preview(shop, supplier, last)
        if not dry_run and (due.keys or due.clawbacks):
            question = plural(
                "Close the sheet of {supplier}: {n} key, {money} to pay?",
                "Close the sheet of {supplier}: {n} keys, {money} to pay?",
                due.keys,
            )
            money = out.money(due.payable_minor, due.currency)
            out.confirm(question.format(supplier=supplier, n=f"{due.keys:,}", money=money))
        result = settle.close(shop, supplier, last)
    out.show(result, _closed)
    if result.number and not dry_run and result.payable_minor:
        out.hint(f"kmtool settle paid {result.number} --amount … --date … --ref …")


@app.command("list", help=_("closed sheets, newest first"))
def list_(
    supplier: Annotated[str, typer.Option("--supplier", help=_("only this supplier's"))] = "",
) -> None:
    """List closed sheets."""
    with doors.open_shop() as shop:
        result = settle_sheets.listing(shop, supplier, out.row_limit())
    out.show(result, _listed)


@app.command("show", help=_("one sheet with its lines and payments"))
def show(number: Number) -> None:
    """Show one closed sheet."""
    with doors.open_shop() as shop:
        result = settle_sheets.show(shop, number)
    out.show(result, _shown)


@app.command("export", help=_("write a sheet's workbook again, the same bytes"))
def export(number: Number) -> None:
    """Write the workbook of a closed sheet, to -o FILE.xlsx or its usual place."""
    wanted = take_output()
    if wanted and not wanted.lower().endswith(".xlsx"):
        raise UsageError(detail="a settlement workbook is an xlsx file", mend="-o FILE.xlsx")
    with doors.open_shop() as shop:
        result = settle.export(shop, number, Path(wanted) if wanted else None)
    out.show(result, _closed)


@app.command("verify", help=_("prove a sheet, a workbook or everything"))
def verify(
    what: Annotated[str, typer.Argument(help=_("a number or FILE.xlsx; --all for all"))] = "",
) -> None:
    """Recompute hashes and compare cells; what differs first is named."""
    if not what and not options.current().all:
        raise UsageError(detail="verify what?", mend="kmtool settle verify --all")
    with doors.open_shop() as shop:
        result = settle_verify.verify(shop, what)
    out.show(result, _verified)
    if not result.ok:
        out.finish(EXIT_DIFFERENCES)


@app.command("paid", help=_("note a payment on a sheet"))
def paid(
    number: Number,
    amount: Annotated[str, typer.Option("--amount", help=_("what was paid, such as 1200.00"))],
    date: Annotated[str, typer.Option("--date", help=_("the day, such as 2026-11-22"))],
    ref: Annotated[str, typer.Option("--ref", help=_("the bank's voucher number"))],
    note: Annotated[str, typer.Option("--note", help=_("a remark for the record"))] = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Note a payment and book it; the same voucher counts once."""
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        currency = settle_sheets.show(shop, number).sheet.currency
        minor, paid_on = _amount(amount, currency), day(date, "--date")
        payment = Payment(ref, minor, currency, str(paid_on or ""), "", note)
        result = settle_paid.paid(shop, number, payment)
    out.show(result, _noted)


def _amount(text: str, currency: str) -> int:
    try:
        return parse_minor(text, currency)
    except ValueError:
        raise UsageError(
            detail="{text} is no amount such as 1200.00",
            text=text,
            mend="--amount 1200.00",
        ) from None


app.command("adjust", help=_("keys a supplier may be charged for: accept or drop"))(
    settle_adjust.adjust
)


def _previewed(result: Preview) -> Iterable[Block]:
    yield Heading(_("{supplier}, {period}").format(supplier=result.supplier, period=result.period))
    yield Facts(
        [
            (_("owed before"), Money(result.opening_minor, result.currency)),
            (_("new in the period"), Money(result.due_minor, result.currency)),
            (_("paid in the period"), Money(result.settled_minor, result.currency)),
            (_("owed now"), Money(result.closing_minor, result.currency)),
            (_("to pay by this sheet"), Money(result.payable_minor, result.currency)),
            (_("stays open"), Money(result.carried_minor, result.currency)),
        ]
    )
    yield Table(
        columns=(
            Column("batch", _("Batch")), Column("sku", "SKU"), Column("mode", _("Mode")),
            Column("keys", _("Keys")), Column("amount", _("Amount")), Column("sold", _("Sold")),
            Column("left", _("Unsold or not due")),
        ),
        rows=[
            (b.batch, b.sku, b.mode, b.quantity, Money(b.amount_minor, result.currency), b.sold,
             b.left)
            for b in result.batches
        ],
    )  # fmt: skip
    yield from _waiting(result.waiting, result.currency)
    if result.debits:
        yield settle_adjust.debits_table(result.debits)
        told = _("Say what becomes of them: kmtool settle adjust {supplier}")
        yield Line(told.format(supplier=result.supplier), "dim")
    if not result.keys and not result.clawbacks:
        yield Line(_("Nothing is due: there would be no sheet."), "dim")
    if result.difference_minor:
        figure = out.money(result.difference_minor, result.currency)
        yield Line(_("The ledger differs by {figure}: kmtool doctor").format(figure=figure), "bad")


def _waiting(waiting: tuple[Waiting, ...], currency: str) -> Iterable[Block]:
    if waiting:
        yield Table(
            columns=(
                Column("reason", _("Stays open")),
                Column("lines", _("Lines")),
                Column("amount", _("Amount")),
            ),
            rows=[(_reason(w.reason), w.lines, Money(w.amount_minor, currency)) for w in waiting],
        )


def _reason(text: str) -> str:
    """Return why a line stays open, as this screen says it; workbooks have it in Chinese."""
    known = {
        NOT_DUE: _("not due yet"),
        "退款争议处理中": _("a refund case is open"),
        "订单行待处理": _("its order line waits"),
        "退款处理中": _("a refund is open"),
        "卡密待核实": _("its key is not settled"),
    }
    if text.startswith(BY_HAND):
        return _("held by you: {reason}").format(reason=text.removeprefix(BY_HAND))
    return known.get(text, text)


def _closed(result: Closed) -> Iterable[Block]:
    if result.number is None:
        yield Line(_("Nothing is due to {who}: no sheet was made.").format(who=result.supplier))
        return
    yield Facts(
        [
            (_("sheet"), result.number),
            (_("period"), result.period),
            (_("keys"), result.keys),
            (_("to pay"), Money(result.payable_minor, result.currency)),
            (_("stays open"), Money(result.carried_minor, result.currency)),
            (_("workbook"), result.workbook),
            ("SHA-256", result.sha256),
        ]
    )


def _listed(result: Sheets) -> Iterable[Block]:
    yield Table(
        columns=(
            Column("number", _("Sheet")), Column("supplier", _("Supplier"), spare=True),
            Column("period", _("Period")), Column("keys", _("Keys")),
            Column("payable", _("To pay")), Column("paid", _("Paid")), Column("state", _("State")),
            Column("closed", _("Closed"), spare=True),
        ),
        rows=[
            (s.number, s.supplier, s.period, s.keys, Money(s.payable_minor, s.currency),
             Money(s.paid_minor, s.currency), _state(s), Moment(s.closed_ms))
            for s in result.sheets
        ],
        id_key="number",
        total=result.total,
        empty=_("No sheet was closed yet: kmtool settle preview SUPPLIER"),
    )  # fmt: skip


def _state(sheet: SheetRow) -> Marked:
    return Marked(sheet.state, "good" if sheet.state == "paid" else "warn")


def _shown(result: SheetPage) -> Iterable[Block]:
    sheet = result.sheet
    yield Heading(sheet.number)
    yield Facts(
        [
            (_("period"), sheet.period),
            (_("state"), _state(sheet)),
            (_("owed before"), Money(result.opening_minor, sheet.currency)),
            (_("new in the period"), Money(result.due_minor, sheet.currency)),
            (_("paid in the period"), Money(result.settled_minor, sheet.currency)),
            (_("owed at closing"), Money(result.closing_minor, sheet.currency)),
            (_("to pay"), Money(sheet.payable_minor, sheet.currency)),
            (_("paid"), Money(sheet.paid_minor, sheet.currency)),
            (_("hash"), sheet.hash),
        ]
    )
    yield Table(
        columns=(
            Column("seq", "#"), Column("kind", _("Kind")), Column("batch", _("Batch")),
            Column("line_no", _("Line")), Column("tail", _("Tail")), Column("sent", _("Sent")),
            Column("amount", _("Amount")), Column("order", _("Order")),
        ),
        rows=[
            (x.seq, x.kind.value, x.batch, x.line_no, x.tail, Moment(x.delivered_ms),
             Money(x.amount_minor, sheet.currency), x.order_tail)
            for x in result.lines
        ],
    )  # fmt: skip
    yield from _waiting(result.waiting, sheet.currency)
    for payment in result.payments:
        paid_minor = out.money(payment.amount_minor, payment.currency)
        yield Line(f"{payment.paid_on}  {paid_minor}  {payment.voucher}  {payment.note}")


def _verified(result: Verified) -> Iterable[Block]:
    yield Table(
        columns=(Column("name", _("Sheet")), Column("result", _("Result"))),
        rows=[
            (check.name, Marked(check.problem or "ok", "good" if check.ok else "bad"))
            for check in result.checks
        ],
        empty=_("No sheet was closed yet."),
    )


def _noted(result: Paid) -> Iterable[Block]:
    if not result.new:
        yield Line(_("This voucher was noted before; nothing changed."), "warn")
    paid_minor = out.money(result.paid_minor, result.currency)
    payable = out.money(result.payable_minor, result.currency)
    yield Line(f"{result.number}: {paid_minor} / {payable} · {result.state}")
