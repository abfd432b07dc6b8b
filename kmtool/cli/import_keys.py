"""`kmtool import`: key batches from txt, csv, xlsx, zip or stdin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.values import cost, day
from kmtool.domain.settlement import OWN
from kmtool.domain.states import UNLIMITED_USES
from kmtool.errors import EXIT_PARTLY, NeedsAnswer, UsageError
from kmtool.words import _, plural

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block
    from kmtool.operations.import_records import ImportResult, Preview
    from kmtool.operations.key_sources import Source


def import_(  # noqa: PLR0913, PLR0917  (the options of one command)
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=_("files; - is stdin"))],
    sku: Annotated[str, typer.Option(help=_("product the keys belong to"))] = "",
    supplier: Annotated[str, typer.Option(help=_("who they come from"))] = "",
    cost_each: Annotated[str, typer.Option("--cost", help=_("cost of one key: 12.50"))] = "",
    expires: Annotated[str, typer.Option(help=_("last day: 2027-01-31"))] = "",
    sep: Annotated[str, typer.Option(help=_("what parts card number and password"))] = "",
    columns: Annotated[
        str, typer.Option("--map", help=_("key=COLUMN,password=COLUMN (header or number)"))
    ] = "",
    preset: Annotated[str, typer.Option(help=_("columns by a name of presets/keys.toml"))] = "",
    title: Annotated[str, typer.Option(help=_("title of a new product"))] = "",
    mode: Annotated[str, typer.Option(help=_("consignment or buyout, else the supplier's"))] = "",
    new: Annotated[bool, typer.Option("--new", help=_("create product and supplier"))] = False,
    sold: Annotated[bool, typer.Option("--sold", help=_("history: sold before kmtool"))] = False,
    uses: Annotated[int | None, typer.Option(help=_("how many buyers each key serves"))] = None,
    images: Annotated[
        bool, typer.Option("--images", help=_("sell png, jpg and gif files: one, a folder, a zip"))
    ] = False,
    dry_run: doors.DryRun = False,
) -> None:
    """Bring in keys: txt, csv, xlsx, zip, stdin, pictures. They are stored as they stand."""
    from kmtool.operations import import_keys, import_records

    doors.load_config(writes=True)  # no question before it is sure that there is a shop
    sources = [source_of(name, images) for name in files]
    sku = sku or _which_product(sources, look=not (images or columns or preset))
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        terms = import_records.Terms(
            sku=sku, supplier=supplier, cost_e5=cost(cost_each), expires=day(expires, "--expires"),
            separator=sep.replace("\\t", "\t"), mapping=_mapping(columns), preset=preset,
            history=sold, mode=mode, title=title, uses=uses, images=images,
        )  # fmt: skip
        result = import_keys.run(
            shop,
            sources,
            terms,
            agree=lambda preview: _agree(preview, dry_run),
            create=lambda kind, name: new or dry_run or _create(kind, name),
            whose=_whose,
        )
    out.show(result, _view)
    if result.accepted and not dry_run:
        _next_steps(sku, sold)
    if result.rejected:
        out.finish(EXIT_PARTLY)


def _which_product(sources: list[Source], look: bool) -> str:
    """Ask for the product, unless the files turn out to be orders or bills."""
    from kmtool.operations import key_sources

    for source in sources if look else ():
        key_sources.refuse_exports(source)
    return out.ask(_("Which product (SKU) are these keys of?"), flag="--sku SKU")


def _whose(known: Sequence[str]) -> str:
    """Ask whom the keys are from; with nobody to ask they are what the owner had already."""
    if out.answers_itself():
        out.note(_("no supplier was named (--supplier CODE): your own stock, owed to nobody"))
        return OWN
    question = _("Whom are these keys from? (Enter: your own stock, owed to nobody)")
    if known:
        question = _("Whom are these keys from? {known} (Enter: your own stock, owed to nobody)")
    return out.ask(question.format(known=", ".join(known[:10])), OWN)


def _next_steps(sku: str, sold: bool) -> None:
    if sold:
        out.hint("kmtool key batch list")
        return
    out.hint(_("sell one in a chat: kmtool sell {sku}").format(sku=sku))
    out.hint(_("what is in stock: kmtool key stock"))


def source_of(name: str, images: bool = False) -> Source:
    """Return a file, or what is piped in for `-`."""
    from kmtool.operations import key_sources

    if name != "-":
        return key_sources.load(Path(name), images=images)
    import sys

    if sys.stdin.isatty():
        out.note(_("paste it, one key per line; end with Ctrl-D (Windows: Ctrl-Z, Enter)"))
    return key_sources.from_stream(sys.stdin.buffer, "stdin")


def _mapping(text: str) -> dict[str, str] | None:
    if not text:
        return None
    pairs = [part.partition("=") for part in text.replace("，", ",").split(",")]
    if any(not equals or not name.strip() or not column.strip() for name, equals, column in pairs):
        raise UsageError(
            detail="--map cannot be read: {text}",
            text=text,
            mend="--map key=COLUMN,password=COLUMN",
        )
    return {name.strip(): column.strip() for name, _equals, column in pairs}


def _create(kind: str, name: str) -> bool:
    told = {"product": _("product {name}"), "supplier": _("supplier {name}")}[kind]
    question = _("There is no {what}. Create it?").format(what=told.format(name=name))
    if not out.can_ask():
        raise NeedsAnswer(question=question, flag="--new")
    return out.ask(f"{question} [y/N]").lower() in {"y", "yes", "是", "好"}


def _agree(preview: Preview, dry_run: bool) -> bool:
    for line in _preview_lines(preview):
        out.note(line)
    if not dry_run:
        question = plural(
            "Take in {n} key worth {money}?", "Take in {n} keys worth {money}?", preview.accepted
        )
        worth = out.money(preview.amount_minor, preview.currency)
        out.confirm(question.format(n=f"{preview.accepted:,}", money=worth))
    return True


def _preview_lines(preview: Preview) -> Iterable[str]:
    from kmtool.cli.blocks import plain
    from kmtool.domain.money import format_e5

    for file in preview.files:
        form = " · ".join(part for part in (file.form, file.encoding) if part != file.form)
        yield f"{plain(file.file)}  ({file.form} · {form})" if form else plain(file.file)
        if file.columns:
            yield "  " + _("columns: {names}").format(names=plain(" + ".join(file.columns)))
        if file.separator:
            yield "  " + _("parts within a key: {sep}").format(sep=repr(file.separator))
        yield "  " + _("first keys: {keys}").format(keys=plain("  ".join(file.first)))
        yield "  " + _("{rows} rows: {new} new, {old} known already, {bad} refused").format(
            rows=file.rows, new=file.accepted, old=file.duplicates, bad=file.rejected
        )
        yield from (f"  ! {text}" for text in warnings(file.warnings))
    cost_text = format_e5(preview.cost_e5)
    told = _("product {sku} · supplier {supplier} ({mode}) · cost {cost} {currency} each")
    if preview.supplier == OWN:
        told = _("product {sku} · your own stock · cost {cost} {currency} each")
    yield told.format(
        sku=preview.sku, supplier=preview.supplier, mode=preview.mode, cost=cost_text,
        currency=preview.currency,
    )  # fmt: skip
    if not preview.cost_e5 and not preview.history:
        yield _("! no cost was given (--cost 12.50): profit and settlement count them as free")
    if 1 < preview.uses < UNLIMITED_USES:
        yield _("each key serves {n} buyers").format(n=f"{preview.uses:,}")
    if preview.uses == UNLIMITED_USES:
        yield _("one text without limit: new orders get it instead of the text before")
    if preview.history:
        yield _("history: for the search of duplicates only; no stock, no money")


def warnings(found: dict[str, tuple[int, ...]]) -> Iterable[str]:
    """Return what is odd about rows that are taken all the same, in words."""
    words = {
        "space": _("a space at an end of the key is kept"),
        "full-width": _("full-width characters are kept as they are"),
        "invisible": _("invisible characters are kept as they are"),
        "number": _("the cell is a number: leading zeros may be lost"),
    }
    for name, rows in found.items():
        listed = ", ".join(str(row) for row in rows)
        yield _("{what} (rows {rows})").format(what=words[name], rows=listed)


def _view(result: ImportResult) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Table

    titles = (
        ("file", _("File")), ("batch", _("Batch")), ("rows", _("Rows")), ("accepted", _("New")),
        ("duplicates", _("Known")), ("rejected", _("Refused")), ("rejects_file", _("List")),
    )  # fmt: skip
    yield Table(
        columns=[Column(key, title) for key, title in titles],
        rows=[tuple(getattr(file, key) for key, _title in titles) for file in result.files],
        id_key="batch",
    )
    for file in result.files:
        if file.same_file_ms is not None:
            told = _("{file}: the same file was imported on {when}; nothing is new")
            yield Line(told.format(file=file.file, when=out.when(file.same_file_ms)))
            continue
        if file.out_of_sale:
            told = _("{n} keys are kept out of sale: nobody has said yet what was sold")
            yield Line(told.format(n=file.out_of_sale), "warn")
            yield Line('kmtool db reconcile-stock --sold FILE --proof "…"')
        for row in file.twins[:5]:
            yield Line(_("row {row}").format(row=row), "warn")
        for row in file.refused[:5]:
            yield Line(_("row {row}").format(row=row), "bad")
