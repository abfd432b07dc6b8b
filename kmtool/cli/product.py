"""`kmtool product`: what the shop sells, and what each channel calls it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kmtool.cli import doors, out
from kmtool.cli.values import price
from kmtool.words import _

if TYPE_CHECKING:
    from kmtool.cli.blocks import Block, Cell
    from kmtool.operations.product_files import ProductsImported
    from kmtool.operations.products import Fields, Mapped, Product, Products, Unmapped
    from kmtool.shop import Shop

app = doors.noun(_("what the shop sells, and what each channel calls it"))

Title = Annotated[str | None, typer.Option(help=_("what people call it"))]
Price = Annotated[str | None, typer.Option("--price", help=_("usual price: 48.00"))]
Floor = Annotated[str | None, typer.Option("--floor", help=_("never sell a key below this"))]
LowStock = Annotated[int | None, typer.Option("--low-stock", help=_("tell me at this many"))]
Buffer = Annotated[int | None, typer.Option(help=_("keep this many back from all channels"))]
ShelfFloor = Annotated[
    int | None, typer.Option(help=_("take its listings off the shelf at this many pieces"))
]
Kind = Annotated[str | None, typer.Option("--kind", help=_("key, topup, text (or --bundle)"))]
Uses = Annotated[int | None, typer.Option(help=_("how many buyers each of its keys serves"))]
Bundle = Annotated[
    str | None, typer.Option(help=_("make it a bundle of these: SKU:2,SKU2"), metavar="PARTS")
]
Account = Annotated[
    str | None,
    typer.Option(help=_("top-up: rule of the account: phone-cn, qq, email, digits:6-12, regex:…")),
]
Supplier = Annotated[
    str | None, typer.Option(help=_("top-up: who charges the account ([suppliers.NAME])"))
]
Item = Annotated[str | None, typer.Option(help=_("top-up: the supplier's id of it"))]
Cap = Annotated[str | None, typer.Option(help=_("top-up: the most one piece may cost: 9.80"))]
Text = Annotated[str, typer.Option(help=_("the text to sell without limit: a file, - is stdin"))]
Guide = Annotated[
    str | None, typer.Option("--guide", help=_("how to use the key, told to the buyer"))
]


@app.command("list", help=_("products and their free stock"))
def list_() -> None:
    """List products."""
    from kmtool.operations import products

    with doors.open_shop() as shop:
        result = products.every(shop, out.row_limit() or 10**9)
    out.show(result, _list)
    if result.products:
        out.hint(_("one of them: kmtool product show SKU"))


@app.command("show", help=_("one product with its listings"))
def show(sku: str) -> None:
    """Show one product."""
    from kmtool.operations import products

    with doors.open_shop() as shop:
        result = products.show(shop, sku)
    out.show(result, _one)


@app.command("add", help=_("a new product"))
def add(  # noqa: PLR0913, PLR0917
    sku: str,
    title: Title = None,
    price_: Price = None,
    floor: Floor = None,
    low_stock: LowStock = None,
    kind: Kind = None,
    guide: Guide = None,
    uses: Uses = None,
    bundle: Bundle = None,
    account: Account = None,
    supplier: Supplier = None,
    item: Item = None,
    cap: Cap = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Add a product."""
    from kmtool.operations import products

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        fields = _fields(shop, title, price_, floor, low_stock, kind, guide)
        fields = _more(shop, fields, uses, bundle, account, supplier, item, cap)
        result = products.add(shop, sku, fields)
    out.show(result, _one)


@app.command("set", help=_("change a product"))
def set_(  # noqa: PLR0913, PLR0917
    sku: str,
    title: Title = None,
    price_: Price = None,
    floor: Floor = None,
    low_stock: LowStock = None,
    kind: Kind = None,
    guide: Guide = None,
    state: Annotated[str | None, typer.Option(help=_("on or off"))] = None,
    uses: Uses = None,
    bundle: Bundle = None,
    account: Account = None,
    supplier: Supplier = None,
    item: Item = None,
    cap: Cap = None,
    buffer: Buffer = None,
    shelf_floor: ShelfFloor = None,
    text: Text = "",
    dry_run: doors.DryRun = False,
) -> None:
    """Change a product."""
    from kmtool.operations import products

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        fields = _fields(shop, title, price_, floor, low_stock, kind, guide, state)
        fields = _more(shop, fields, uses, bundle, account, supplier, item, cap)
        fields = replace(fields, buffer=buffer, shelf_floor=shelf_floor)
        if fields != products.Fields() or not text:
            products.change(shop, sku, fields)
        if text:
            _set_text(shop, sku, text)
        result = products.show(shop, sku)
    out.show(result, _one)


def _set_text(shop: Shop, sku: str, name: str) -> None:
    from kmtool.cli.import_keys import source_of
    from kmtool.operations import texts

    done = texts.set_text(shop, sku, source_of(name))
    told = _("new orders of {sku} get this text: {n} characters")
    if not done.changed:
        told = _("this text of {sku} is in sale already: {n} characters")
    out.note(told.format(sku=sku, n=done.characters))


@app.command("map", help=_("say which product an item of a channel is"))
def map_(  # noqa: PLR0913, PLR0917
    channel: str,
    item: str,
    sku: str,
    variant: Annotated[str, typer.Option(help=_("the variant's id there"))] = "",
    units: Annotated[int, typer.Option(help=_("how many keys one piece is"))] = 1,
    price_: Price = None,
    dry_run: doors.DryRun = False,
) -> None:
    """Map an item; orders that wait for it are looked at again by the next deliver."""
    from kmtool.operations import products

    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        amount = price(price_, shop.config.shop.currency)
        mapping = products.Mapping(channel, item, variant, sku, units, amount)
        result = products.map_listing(shop, mapping)
    out.show(result, _mapped)
    if result.lines:
        out.hint("kmtool deliver")


@app.command("unmapped", help=_("items that were ordered and have no product yet"))
def unmapped() -> None:
    """List items without a product."""
    from kmtool.operations import products

    with doors.open_shop() as shop:
        result = products.unmapped(shop, out.row_limit() or 10**9)
    out.show(result, _unmapped)
    if result.listings:
        out.hint(_("one of them: kmtool product map CHANNEL ITEM SKU"))


@app.command("import", help=_("products and mappings from a csv or xlsx, all rows or none"))
def import_(file: str, dry_run: doors.DryRun = False) -> None:
    """Import products."""
    from kmtool.operations import key_sources, product_files

    source = key_sources.load(Path(file))
    with doors.open_shop(writes=True, dry_run=dry_run) as shop:
        result = product_files.run(shop, source)
    out.show(result, _imported)


def _fields(  # noqa: PLR0913, PLR0917
    shop: Shop,
    title: str | None,
    price_: str | None,
    floor: str | None,
    low_stock: int | None,
    kind: str | None,
    guide: str | None,
    state: str | None = None,
) -> Fields:
    from kmtool.operations.products import Fields

    currency = shop.config.shop.currency
    return Fields(
        title=title,
        kind=kind,
        state=state,
        price_minor=price(price_, currency),
        floor_minor=price(floor, currency),
        low_stock=low_stock,
        guide=guide,
    )


def _more(  # noqa: PLR0913, PLR0917
    shop: Shop,
    fields: Fields,
    uses: int | None,
    bundle: str | None,
    account: str | None,
    supplier: str | None,
    item: str | None,
    cap: str | None,
) -> Fields:
    from kmtool.operations import bundles

    return replace(
        fields,
        uses=uses,
        parts=None if bundle is None else bundles.parse(bundle),
        account_rule=account,
        supplier=supplier,
        supplier_item=item,
        cap_minor=price(cap, shop.config.shop.currency),
    )


def _free(free: int | None) -> Cell:
    return _("no limit") if free is None else free


def _list(result: Products) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Line, Money, Table

    yield Table(
        columns=(
            Column("sku", _("SKU")), Column("title", _("Title")), Column("price", _("Price")),
            Column("free", _("Free")), Column("state", _("State")),
        ),
        rows=[
            (p.sku, p.title, Money(p.price_minor, p.currency), _free(p.free), p.state)
            for p in result.products
        ],
        empty=_("No products yet: kmtool product add SKU, or kmtool import --new."),
    )  # fmt: skip
    if result.more:
        yield Line(_("There are more: kmtool product list --all"), "dim")


def _one(result: Product) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Facts, Money, Table

    yield Facts(
        (
            (_("SKU"), result.sku),
            (_("Title"), result.title),
            (_("Kind"), result.kind),
            (_("State"), result.state),
            (_("Price"), Money(result.price_minor, result.currency)),
            (_("Floor"), Money(result.floor_minor, result.currency)),
            (_("Low stock"), result.low_stock),
            (_("Free"), _free(result.free)),
            *_kept_back(result),
            (_("Guide"), result.guide),
            *_special(result),
        )
    )
    if result.parts:
        yield Table(
            columns=(
                Column("sku", _("Part")), Column("units", _("Units")), Column("free", _("Free")),
                Column("title", _("Title")),
            ),
            rows=[(p.sku, p.units, _free(p.free), p.title) for p in result.parts],
        )  # fmt: skip
    if result.listings:
        yield Table(
            columns=(
                Column("channel", _("Channel")), Column("item", _("Item")),
                Column("variant", _("Variant")), Column("units", _("Units")),
                Column("price", _("Price")), Column("title", _("Title")),
            ),
            rows=[
                (i.channel, i.item, i.variant, i.units, Money(i.price_minor, result.currency),
                 i.title)
                for i in result.listings
            ],
        )  # fmt: skip


def _kept_back(result: Product) -> Iterable[tuple[str, Cell]]:
    """What of the free keys is not for everybody."""
    if result.held:
        yield _("Held for orders"), result.held
    if result.buffer:
        yield _("Kept back from channels"), result.buffer
    if result.shelf_floor is not None:
        yield _("Off the shelf at"), result.shelf_floor


def _special(result: Product) -> Iterable[tuple[str, Cell]]:
    """What only some kinds of product have."""
    from kmtool.cli.blocks import Money

    if result.uses > 1:
        yield _("Buyers per key"), result.uses
    if result.kind == "topup":
        yield _("Account"), result.account_rule
        yield _("Supplier"), " ".join((result.supplier, result.supplier_item)).strip()
        yield _("Most it may cost"), Money(result.cap_minor, result.currency)


def _mapped(result: Mapped) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    listing = result.listing
    item = " ".join(part for part in (listing.channel, listing.item, listing.variant) if part)
    told = _("{item} is {units} × {sku}; {n} waiting order lines were set going")
    yield Line(told.format(item=item, units=listing.units, sku=listing.sku, n=result.lines))


def _unmapped(result: Unmapped) -> Iterable[Block]:
    from kmtool.cli.blocks import Column, Moment, Table

    yield Table(
        columns=(
            Column("channel", _("Channel")), Column("item", _("Item")),
            Column("variant", _("Variant")), Column("title", _("Title")),
            Column("lines", _("Lines")), Column("pieces", _("Pieces")),
            Column("oldest", _("Oldest")),
        ),
        rows=[
            (w.channel, w.item, w.variant, w.title, w.lines, w.pieces, Moment(w.oldest_ms))
            for w in result.listings
        ],
        id_key="item",
        empty=_("Every ordered item has its product."),
    )  # fmt: skip


def _imported(result: ProductsImported) -> Iterable[Block]:
    from kmtool.cli.blocks import Line

    told = _("{rows} rows: {added} products new, {changed} changed, {mapped} mappings")
    yield Line(
        told.format(
            rows=result.rows, added=result.added, changed=result.changed, mapped=result.mapped
        )
    )
    if result.lines:
        yield Line(_("{n} waiting order lines were set going").format(n=result.lines))
    if result.ignored:
        yield Line(_("columns left out: {names}").format(names=", ".join(result.ignored)), "warn")
