"""Products and mappings from a csv or xlsx: every row is checked, then all are taken or none.

A row names a SKU; what else stands in it is set. With a channel and an item it is a mapping, too:
a product with three listings is three rows. An empty cell leaves things as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool import sheets
from kmtool.domain.keyfiles import cell_text
from kmtool.domain.money import parse_minor
from kmtool.errors import (
    Broken,
    InputRefused,
    KmError,
    Locked,
    OutsideError,
    joined,
    marked,
    said,
    told,
)
from kmtool.operations import bundles, products
from kmtool.operations.key_sources import Source
from kmtool.operations.products import Fields, Mapping
from kmtool.shop import Shop
from kmtool.store import products as store

COLUMNS: dict[str, tuple[str, ...]] = {
    "sku": ("sku", "商品编码", "编码", "货号"),
    "title": ("title", "名称", "商品名称", "标题"),
    "kind": ("kind", "类型"),
    "price": ("price", "售价", "价格"),
    "floor": ("floor", "底价", "最低价"),
    "guide": ("guide", "使用说明", "激活说明"),
    "low_stock": ("low_stock", "low stock", "库存预警", "预警"),
    "channel": ("channel", "渠道", "店铺"),
    "item": ("item", "item_id", "商品id", "平台商品id", "宝贝id"),
    "variant": ("variant", "variant_id", "规格", "规格id", "skuid"),
    "units": ("units", "数量", "每份数量"),
    "listing_price": ("listing_price", "平台价"),
    "uses": ("uses", "可用次数"),
    "bundle": ("bundle", "套餐", "组合"),
    "account_rule": ("account_rule", "账号规则"),
    "supplier": ("supplier", "供货商"),
    "supplier_item": ("supplier_item", "供货商商品id"),
    "cap": ("cap", "最高进价"),
}
ERRORS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ProductsImported:
    """What a file of products brought. `lines` counts waiting order lines it set going."""

    file: str
    rows: int
    added: int
    changed: int
    mapped: int
    lines: int
    ignored: tuple[str, ...]


def run(shop: Shop, source: Source) -> ProductsImported:
    """Take in a file of products, all rows or none; `InputRefused` names the wrong rows."""
    shop.must_be_writable()
    head, rows, ignored = _read(source)
    added = changed = mapped = lines = 0
    wrong: list[str] = []
    with shop.db.tx():
        for line_no, cells in rows:
            try:
                fields, mapping = _row(shop, head, cells)
                sku = _text(head, cells, "sku")
                if store.product(shop.db, sku) is None:
                    products.insert(shop, sku, fields)
                    added += 1
                elif fields.given():
                    products.alter(shop, sku, fields)
                    changed += 1
                if mapping:
                    lines += products.put_mapping(shop, mapping).lines
                    mapped += 1
            except (Broken, Locked, OutsideError):
                raise  # the file is not to blame, and the transaction may be over
            except (ValueError, KmError) as error:
                why = error.message() if isinstance(error, KmError) else said(error)
                wrong.append(told("row {line_no}: {why}", line_no=line_no, why=why))
        if wrong:
            others = len(wrong) - ERRORS_SHOWN
            form = marked("{first} (and {n} more)") if others > 0 else "{first}"
            first = joined(wrong[:ERRORS_SHOWN])
            raise InputRefused(where=source.name, detail=form, first=first, n=others)
    return ProductsImported(source.name, len(rows), added, changed, mapped, lines, ignored)


def _read(source: Source) -> tuple[dict[str, int], list[sheets.Row], tuple[str, ...]]:
    tables = [t for t in sheets.read_tables(source.data, source.name) if t.rows]
    rows = [
        (line_no, cells)
        for table in tables[:1]
        for line_no, cells in table.rows
        if any(str(cell).strip() for cell in cells if cell is not None)
    ]
    named = {name: column for column, names in COLUMNS.items() for name in names}
    titles = [str(cell or "").strip() for cell in rows[0][1]] if rows else []
    head: dict[str, int] = {}
    ignored = []
    for at, title in enumerate(titles):
        column = named.get(title.casefold())
        if column is not None and column not in head:
            head[column] = at
        elif title:
            ignored.append(title)
    if "sku" not in head:
        raise InputRefused(
            where=f"{source.name}:1",
            detail="there is no column sku",
            mend="the first row names the columns: {names}",
            names=", ".join(COLUMNS),
        )
    if len(rows) < 2:
        raise InputRefused(where=source.name, detail="there is no row below the column names")
    return head, rows[1:], tuple(ignored)


def _row(
    shop: Shop, head: dict[str, int], cells: Sequence[object]
) -> tuple[Fields, Mapping | None]:
    currency = shop.config.shop.currency
    sku = _text(head, cells, "sku")
    low = _text(head, cells, "low_stock")
    uses, parts = _text(head, cells, "uses"), _text(head, cells, "bundle")
    fields = Fields(
        title=_text(head, cells, "title") or None,
        kind=_text(head, cells, "kind") or None,
        price_minor=_price(_text(head, cells, "price"), currency),
        floor_minor=_price(_text(head, cells, "floor"), currency),
        low_stock=_count(low) if low else None,
        guide=_text(head, cells, "guide") or None,
        uses=_count(uses) if uses else None,
        parts=bundles.parse(parts) if parts else None,
        account_rule=_text(head, cells, "account_rule") or None,
        supplier=_text(head, cells, "supplier") or None,
        supplier_item=_text(head, cells, "supplier_item") or None,
        cap_minor=_price(_text(head, cells, "cap"), currency),
    )
    channel, item = _text(head, cells, "channel"), _text(head, cells, "item")
    if not channel and not item:
        return fields, None
    mapping = Mapping(
        channel=channel,
        item=item,
        variant=_text(head, cells, "variant"),
        sku=sku,
        units=_count(_text(head, cells, "units") or "1"),
        price_minor=_price(_text(head, cells, "listing_price"), currency),
    )
    return fields, mapping


def _text(head: dict[str, int], cells: Sequence[object], column: str) -> str:
    at = head.get(column)
    if at is None or at >= len(cells):
        return ""
    cell = cells[at]
    if isinstance(cell, float) and column in {"price", "floor", "listing_price", "cap"}:
        return f"{cell:.5f}"
    text, why = cell_text(cell)
    if why:
        raise ValueError(f"{column}: {why}")
    return text.strip()


def _price(text: str, currency: str) -> int | None:
    try:
        return parse_minor(text, currency) if text else None
    except ValueError:
        raise ValueError(told("{text} is no price such as 48.00", text=text)) from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(told("{text} is no whole number", text=text))
    return int(text)
