"""`kmtool key`: keys in stock and where they went; batches; undo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, key_lend, options, out
from kmtool.errors import UsageError
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block, Cell
    from kmtool.operations.keys import Batch, Batches, Key, KeyPage, Keys, Stock, Undone

app = doors.noun(_("keys in stock and where they went"))
batch_app = doors.noun(_("the batches keys came in"))
app.add_typer(batch_app, name="batch")
app.command("lend", help=_("place free keys into a platform's own pool"))(key_lend.lend)
app.command("lent", help=_("what is lent where, since when, and what came of it"))(key_lend.lent)
app.command("lend-back", help=_("read a pool's export: book the used, take back the unused"))(
    key_lend.lend_back
)
app.command("lend-lost", help=_("give up keys of a lending that cannot be read back"))(
    key_lend.lend_lost
)

Sku = Annotated[str, typer.Option("--sku", help=_("only this product"))]


@dataclass(frozen=True, slots=True)
class Opened:
    """A key whose text was asked for."""

    id: str
    key: str


@app.command("list", help=_("keys, masked"))
def list_(
    sku: Sku = "", state: Annotated[str, typer.Option(help=_("free, delivered, …"))] = ""
) -> None:
    """List keys."""
    from kmtool.operations import keys

    with doors.open_shop() as shop:
        result = keys.every(shop, out.row_limit(), sku, state)
    out.show(result, _keys)
    if result.keys:
        out.hint(_("one of them: kmtool key show ID"))


@app.command("show", help=_("one key and where it went"))
def show(
    key: Annotated[int, typer.Argument(metavar="ID")],
    reveal: Annotated[bool, typer.Option("--reveal", help=_("show its text; audited"))] = False,
    reason: Annotated[str, typer.Option(help=_("why it is opened"))] = "",
) -> None:
    """Show one key."""
    from kmtool.operations import keys, picture_files

    if not reveal:
        with doors.open_shop() as shop:
            result = keys.show(shop, key)
        out.show(result, _page)
        return
    asked = reason or out.ask(_("Why is this key opened?"), flag="--reason TEXT")
    with doors.open_shop(writes=True) as shop:
        opened = keys.reveal(shop, key, asked)
        is_picture = picture_files.is_picture(opened)
        told = str(picture_files.save_key(shop, key, opened)) if is_picture else opened.text()
    if options.current().machine:
        out.show(Opened(str(key), told), _opened)
    else:
        out.secret(told)


@app.command("find", help=_("the key with exactly this text (asked, or piped with -), or by tail"))
def find(
    text: Annotated[str, typer.Argument(metavar="[-]", help=_("- reads it from stdin"))] = "",
    tail: Annotated[str, typer.Option(help=_("last characters, as shown: 7QX2"))] = "",
) -> None:
    """Find a key."""
    from kmtool.operations import keys

    if tail:
        with doors.open_shop() as shop:
            found = keys.find_tail(shop, tail, out.row_limit())
        out.show(found, _keys)
        return
    if text not in {"", "-"}:
        raise UsageError(
            detail="a key has no place on the command line: the shell remembers it",
            where="kmtool key find …",
            mend="kmtool key find (it asks), or pipe it: kmtool key find -",
        )
    secret = out.secret_prompt(_("key"))
    with doors.open_shop() as shop:
        result = keys.find_exact(shop, secret)
    out.show(result, _page)


@app.command("stock", help=_("free keys per product"))
def stock(sku: Annotated[str, typer.Argument()] = "") -> None:
    """Show free stock."""
    from kmtool.operations import keys

    with doors.open_shop() as shop:
        result = keys.stock(shop, sku)
    out.show(result, _stock)
    if result.products:
        out.hint(_("more keys: kmtool import FILE --sku SKU"))


@batch_app.command("list", help=_("batches, newest first"))
def batch_list(
    sku: Sku = "", supplier: Annotated[str, typer.Option(help=_("only from them"))] = ""
) -> None:
    """List batches."""
    from kmtool.operations import keys

    with doors.open_shop() as shop:
        result = keys.batches(shop, out.row_limit(), sku, supplier)
    out.show(result, _batches)
    if result.batches:
        out.hint(_("one of them: kmtool key batch show BATCH"))


@batch_app.command("show", help=_("one batch and what its keys are doing"))
def batch_show(number: str) -> None:
    """Show one batch."""
    from kmtool.operations import keys

    with doors.open_shop() as shop:
        result = keys.batch(shop, number)
    out.show(result, _batch)


@batch_app.command("undo", help=_("take out what was not given to anybody; the rest stays"))
def batch_undo(number: str, dry_run: doors.DryRun = False) -> None:
    """Undo a batch."""
    from kmtool.operations import keys

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        if not dry_run:
            found = keys.undoable(shop, number)
            question = plural(
                "Take {n} key of {batch} worth {money} out of stock?",
                "Take {n} keys of {batch} worth {money} out of stock?",
                found.removable,
            )
            money = out.money(found.amount_minor, found.currency)
            out.confirm(question.format(n=f"{found.removable:,}", batch=number, money=money))
        result = keys.undo(shop, number)
    out.show(result, _undone)


def _state(state: str) -> str:
    """People never meet `exposed`: it says that a buyer may have seen the key."""
    return _("may have been seen 可能已被看到") if state == "exposed" else _(state)


def _states(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_state(state)} {n:,}" for state, n in counts.items())


def _key_row(key: Key) -> tuple[Cell, ...]:
    from kmtool.cli.blocks import Moment

    return (str(key.id), key.key, key.sku, _state(key.state), key.batch, key.line_no, key.supplier,
            Moment(key.expires_ms))  # fmt: skip


def _keys(result: Keys) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Table

    yield Table(
        columns=(
            Column("id", _("Id")), Column("key", _("Key")), Column("sku", _("SKU")),
            Column("state", _("State")), Column("batch", _("Batch")), Column("row", _("Row")),
            Column("supplier", _("Supplier")), Column("expires", _("Expires")),
        ),
        rows=[_key_row(key) for key in result.keys],
        total=result.total,
        empty=_("No such keys."),
    )  # fmt: skip


def _page(result: KeyPage) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Moment, Table

    key = result.key
    yield Facts(
        (
            (_("Id"), str(key.id)),
            (_("Key"), key.key),
            (_("SKU"), key.sku),
            (_("State"), key.state),
            (_("since"), Moment(key.state_ms)),
            (_("Batch"), key.batch),
            (_("Row"), key.line_no),
            (_("File"), key.file),
            (_("Supplier"), key.supplier),
            (_("Expires"), Moment(key.expires_ms)),
        )
    )
    if result.lines:
        yield Table(
            columns=(
                Column("channel", _("Channel")), Column("order", _("Order")),
                Column("line", _("Line")), Column("state", _("State")),
                Column("exposed", _("Sent")), Column("delivered", _("Delivered")),
            ),
            rows=[
                (at.channel, at.order, at.line, at.state, Moment(at.exposed_ms),
                 Moment(at.delivered_ms))
                for at in result.lines
            ],
        )  # fmt: skip


def _opened(result: Opened) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Table

    yield Table((Column("id", _("Id")), Column("key", _("Key"))), [(result.id, result.key)])


def _stock(result: Stock) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Marked, Moment, Table

    yield Table(
        columns=(Column("sku", _("SKU")), Column("title", _("Title")), Column("free", _("Free")),
                 Column("held", _("Held")), Column("low", _("Low"))),
        rows=[
            (row.sku, row.title, _("no limit") if row.free is None else row.free, row.held or None,
             Marked(_("low"), "warn") if row.low else "")
            for row in result.products
        ],
        empty=_("No products yet."),
    )  # fmt: skip
    for row in result.products:
        if row.keys is not None:
            expiry = (_("First expiry"), Moment(row.first_expiry_ms))
            yield Facts(((_("Keys"), _states(row.keys)), expiry))


def _batches(result: Batches) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Moment, Table

    yield Table(
        columns=(
            Column("number", _("Batch")), Column("sku", _("SKU")),
            Column("supplier", _("Supplier")), Column("accepted", _("Keys")),
            Column("free", _("Free")), Column("state", _("State")),
            Column("imported", _("Imported")), Column("file", _("File")),
        ),
        rows=[
            (b.number, b.sku, b.supplier, b.accepted, b.keys.get("free", 0), b.state,
             Moment(b.imported_ms), b.file)
            for b in result.batches
        ],
        empty=_("No batches yet: kmtool import FILE --sku SKU --supplier CODE."),
    )  # fmt: skip
    if result.more:
        yield Line(_("There are more: kmtool key batch list --all"), "dim")


def _batch(result: Batch) -> Iterable[Block]:
    from kmtool.cli.blocks import Facts, Moment
    from kmtool.domain.money import format_e5

    yield Facts(
        (
            (_("Batch"), result.number),
            (_("State"), result.state),
            (_("SKU"), result.sku),
            (_("Supplier"), f"{result.supplier} ({result.mode})"),
            (_("Cost each"), f"{format_e5(result.cost_e5)} {result.currency}"),
            (_("File"), result.file),
            (_("Imported"), Moment(result.imported_ms)),
            (_("Expires"), Moment(result.expires_ms)),
            (_("Rows"), result.rows),
            (_("New"), result.accepted),
            (_("Known"), result.duplicates),
            (_("Refused"), result.rejected),
            (_("Taken out"), result.removed),
            (_("Keys"), _states(result.keys)),
        )
    )


def _undone(result: Undone) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Table

    told = plural(
        "{n} key of {batch} was taken out", "{n} keys of {batch} were taken out", result.removed
    )
    yield Line(told.format(n=f"{result.removed:,}", batch=result.batch), "good")
    if result.amount_minor:
        money = out.money(result.amount_minor, result.currency)
        yield Line(_("{money} was booked back").format(money=money))
    if result.stay:
        yield Line(_("These stay: {states}").format(states=_states(result.stay)), "warn")
        yield Table(
            columns=(Column("id", _("Id")), Column("key", _("Key")), Column("sku", _("SKU")),
                     Column("state", _("State"))),
            rows=[(str(key.id), key.key, key.sku, key.state) for key in result.staying],
            total=sum(result.stay.values()),
        )  # fmt: skip
