"""Exports: orders, keys, stock, recon, settlement as xlsx, csv or json, by the file's suffix.

xlsx and csv speak Chinese and are for people: a text that would run as a formula is disarmed. With
`raw` a csv is for programs: stable keys as head, cells as they are. json holds money as integers
with the currency beside it, ids as text, times with their offset. Keys are masked; whole ones are
written only on request, into a file of the owner's, and the audit tells of it first.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kmtool.clock import NEVER_MS, day_end_ms, day_start_ms, iso_text, local_text
from kmtool.domain.money import format_e5, format_plain
from kmtool.domain.settlement import STATUS, SheetLineKind
from kmtool.errors import NotFound, UsageError
from kmtool.operations.audit import opened
from kmtool.operations.picture_files import is_picture
from kmtool.sheets_write import (
    Book,
    Cell,
    Kind,
    Look,
    Sheet,
    csv_bytes,
    disarmed,
    local_time,
    write_book,
    write_bytes,
)
from kmtool.shop import Shop
from kmtool.store import exports, settlements
from kmtool.store.db import Row

SUFFIXES = (".xlsx", ".csv", ".json")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key (a `_minor`, `_e5` or `_ms` key says what it holds), title and width."""

    key: str
    title: str
    width: float = 14


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be exported where. Days count for orders, `number` for settlement."""

    kind: str
    target: Path
    since: date | None = None
    until: date | None = None
    number: str = ""
    raw: bool = False
    reveal: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    kind: str
    file: str
    rows: int
    sha256: str
    revealed: bool


def export(shop: Shop, asked: Asked) -> Exported:
    """Write a table into a file, whole or not at all. Raises `UsageError`, `FileNotWritten`."""
    suffix = asked.target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            detail="the suffix of {name} says no format",
            name=asked.target.name,
            mend="-o {sort}.xlsx, .csv or .json",
            sort=asked.kind,
        )
    _must_fit(asked)
    columns, rows = KINDS[asked.kind].columns, KINDS[asked.kind].rows(shop, asked)
    if asked.reveal:
        columns = (*columns, Column("key", "卡密", 36))
        with shop.db.tx():
            shop.audit("export.reveal", "keys", f"{len(rows)} whole keys into {asked.target.name}")
            opened(shop, (row["id"] for row in rows), "key.export", asked.target.name)
    table = _Table(KINDS[asked.kind].title, columns, rows, shop.config.shop.timezone)
    path = _write(shop, asked, table)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Exported(asked.kind, str(path), len(rows), digest, asked.reveal)


def keys_to_reveal(shop: Shop, asked: Asked) -> int:
    """Return how many whole keys an export would write. Raises `UsageError`."""
    _must_fit(asked)
    return exports.count_keys(shop.db)


def _must_fit(asked: Asked) -> None:
    if asked.kind not in KINDS:
        raise UsageError(
            detail="there is no export of {sort}",
            sort=asked.kind,
            mend="one of: {kinds}",
            kinds=", ".join(KINDS),
        )
    if asked.reveal and asked.kind != "keys":
        raise UsageError(
            detail="only the export of keys can hold whole keys",
            mend="kmtool export keys --reveal -o keys.csv",
        )
    if (asked.since or asked.until) and asked.kind != "orders":
        raise UsageError(
            detail="{sort} knows no --from and --to", sort=asked.kind, mend="leave them out"
        )
    if asked.number and asked.kind != "settlement":
        raise UsageError(detail="{sort} takes no number", sort=asked.kind, mend="leave it out")


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    zone: str


def _write(shop: Shop, asked: Asked, table: _Table) -> Path:
    suffix = asked.target.suffix.lower()
    if suffix == ".xlsx":
        return write_book(asked.target, _book(shop, table), private=asked.reveal)
    if suffix == ".csv":
        return write_bytes(asked.target, _csv(table, asked.raw), private=asked.reveal)
    rows = [
        {_public(column.key): _json_value(column.key, row, table.zone) for column in table.columns}
        for row in table.rows
    ]
    text = json.dumps({asked.kind: rows}, ensure_ascii=False, indent=1) + "\n"
    return write_bytes(asked.target, text.encode("utf-8", "backslashreplace"), private=asked.reveal)


def _public(key: str) -> str:
    return key.removesuffix("_minor").removesuffix("_ms").removesuffix("_e5")


def _json_value(key: str, row: Row, zone: str) -> object:
    value = row[key]
    if key.endswith("_ms"):
        return None if value == NEVER_MS else iso_text(value, zone)
    if key.endswith("_e5"):
        return None if value is None else format_e5(value)
    return value


def _plain_value(key: str, row: Row, zone: str, *, iso: bool) -> str:
    value = row[key]
    if value is None or (key.endswith("_ms") and value == NEVER_MS):
        return ""
    if key.endswith("_ms"):
        return (iso_text(value, zone) or "") if iso else local_text(value, zone, _SECONDS)
    if key.endswith("_minor"):
        return format_plain(value, row["currency"])
    return format_e5(value) if key.endswith("_e5") else str(value)


_SECONDS = "%Y-%m-%d %H:%M:%S"


def _csv(table: _Table, raw: bool) -> bytes:
    """Return csv; for people only texts are disarmed, so that a negative amount stays a number."""
    head = [_public(column.key) if raw else column.title for column in table.columns]
    rows = (
        [
            disarmed(text) if not raw and isinstance(row[column.key], str) else text
            for column in table.columns
            for text in [_plain_value(column.key, row, table.zone, iso=raw)]
        ]
        for row in table.rows
    )
    return csv_bytes(head, rows, mark=not raw)


def _book(shop: Shop, table: _Table) -> Book:
    currencies = {row.get("currency") for row in table.rows} - {None}
    one = str(currencies.pop()) if len(currencies) == 1 else ""
    body = [
        [_cell(column.key, row, table.zone, one) for column in table.columns] for row in table.rows
    ]
    head = [Cell(column.title, look=Look.HEAD) for column in table.columns]
    sheet = Sheet(
        name=table.title,
        widths=[column.width for column in table.columns],
        rows=[head, *body],
        head=1,
        last=len(body) + 1,
    )
    name = shop.config.shop.name
    return Book(f"{name} {table.title}", name, shop.now_ms(), one or "CNY", (sheet,))


def _cell(key: str, row: Row, zone: str, currency: str) -> Cell | None:
    """Return a cell; where a table holds several currencies its amounts are text."""
    value = row[key]
    if value is None or (key.endswith("_ms") and value == NEVER_MS):
        return None
    if key.endswith("_ms"):
        return Cell(local_time(value, zone), Kind.TIME)
    if key.endswith("_minor") and currency:
        return Cell(value, Kind.MONEY)
    if key.endswith("_e5"):
        return Cell(value, Kind.UNIT)
    if isinstance(value, int) and not key.endswith("_minor"):
        return Cell(value, Kind.COUNT)
    return Cell(_plain_value(key, row, zone, iso=False))


def _orders(shop: Shop, asked: Asked) -> list[Row]:
    zone = shop.config.shop.timezone
    since = day_start_ms(asked.since, zone) if asked.since else 0
    until = day_end_ms(asked.until, zone) if asked.until else NEVER_MS
    tails: defaultdict[int, list[str]] = defaultdict(list)
    for row in exports.tails_of_lines(shop.db, since, until):
        tails[row["line_id"]].append(_masked(row["tail"]))
    return [
        {**row, "keys": " ".join(tails[row["line_id"]])}
        for row in exports.orders(shop.db, since, until)
    ]


def _keys(shop: Shop, asked: Asked) -> list[Row]:
    if not asked.reveal:
        return [{**row, "tail": _masked(row["tail"])} for row in exports.keys(shop.db)]
    rows = exports.keys_sealed(shop.db)
    row: Row
    for row in shop.progress(rows, "keys", len(rows)):
        opened = shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"]))
        shown = "[picture]" if is_picture(opened) else opened.text()
        row["key"], row["tail"] = shown, _masked(row["tail"])
    return rows


def _masked(tail: str) -> str:
    return f"…{tail}"


def _stock(shop: Shop, _asked: Asked) -> list[Row]:
    return exports.stock(shop.db)


def _recon(shop: Shop, _asked: Asked) -> list[Row]:
    return exports.recon(shop.db)


def _settlement(shop: Shop, asked: Asked) -> list[Row]:
    """Without a number one row per sheet, with a number its lines."""
    if not asked.number:
        return [_sheet_as_line(row) for row in settlements.sheets(shop.db, "", 10**9)]
    sheet = settlements.sheet(shop.db, asked.number)
    if sheet is None:
        raise NotFound(kind="settle", name=asked.number)
    return [
        {
            **row,
            "number": sheet["number"],
            "supplier": sheet["supplier"],
            "currency": sheet["currency"],
            "status": STATUS[SheetLineKind(row["kind"])],
            "tail": _masked(row["tail"]) if row["tail"] else "",
        }
        for row in settlements.lines(shop.db, sheet["id"])
    ]


def _sheet_as_line(sheet: Mapping[str, object]) -> Row:
    """A sheet in the columns of its lines: what it sums to."""
    return {
        "number": sheet["number"],
        "supplier": sheet["supplier"],
        "seq": None,
        "status": "合计",
        "batch": "",
        "line_no": None,
        "tail": "",
        "sku": "",
        "delivered_ms": sheet["closed_ms"],
        "quantity": sheet["keys"],
        "cost_e5": None,
        "amount_minor": sheet["payable_minor"],
        "currency": sheet["currency"],
        "order_tail": "",
        "ref_number": "",
        "reason": f"{sheet['period_from']}/{sheet['period_to']}",
    }


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    columns: tuple[Column, ...]
    rows: Callable[[Shop, Asked], list[Row]]


KINDS: dict[str, _Kind] = {
    "orders": _Kind(
        "订单",
        (
            Column("channel", "渠道"), Column("number", "订单号", 24), Column("line_no", "行", 8),
            Column("status", "渠道状态", 10), Column("refund", "退款", 10),
            Column("created_ms", "下单时间", 20), Column("paid_ms", "付款时间", 20),
            Column("buyer_name", "买家", 18), Column("title", "商品", 30), Column("sku", "SKU", 16),
            Column("quantity", "数量", 8), Column("amount_minor", "金额"),
            Column("cost_minor", "成本"), Column("total_minor", "订单金额"),
            Column("refunded_minor", "已退金额"), Column("currency", "币种", 8),
            Column("state", "发货状态", 12), Column("gate", "关卡", 10),
            Column("delivered_ms", "发货时间", 20), Column("keys", "卡密", 18),
            Column("ext_txn_id", "交易号", 30),
        ),
        _orders,
    ),
    "keys": _Kind(
        "卡密",
        (
            Column("sku", "SKU", 16), Column("tail", "尾号", 10), Column("state", "状态", 12),
            Column("batch", "批次", 18), Column("line_no", "行号", 8),
            Column("supplier", "供应商"), Column("mode", "模式", 12), Column("cost_e5", "单价"),
            Column("currency", "币种", 8), Column("imported_ms", "入库时间", 20),
            Column("expires_ms", "到期", 20), Column("state_ms", "状态时间", 20),
            Column("channel", "渠道"), Column("number", "订单号", 24),
            Column("delivered_ms", "发货时间", 20), Column("amount_minor", "成本"),
        ),
        _keys,
    ),
    "stock": _Kind(
        "库存",
        (
            Column("sku", "SKU", 16), Column("title", "商品", 30), Column("state", "状态", 8),
            Column("price_minor", "售价"), Column("currency", "币种", 8),
            Column("free", "可售", 10), Column("moving", "在途", 10),
            Column("delivered", "已售", 10), Column("other", "其他", 10),
            Column("low_stock", "预警线", 10), Column("cost_e5", "可售成本"),
            Column("expires_ms", "最早到期", 20),
        ),
        _stock,
    ),
    "recon": _Kind(
        "对账",
        (
            Column("account", "账户"), Column("occurred_ms", "时间", 20),
            Column("kind", "类型", 10), Column("ext_txn_id", "流水号", 30),
            Column("order_ref", "账单订单号", 26), Column("refund_ref", "退款号", 26),
            Column("gross_minor", "金额"), Column("adjust_minor", "调整"),
            Column("fee_minor", "手续费"), Column("net_minor", "净额"),
            Column("currency", "币种", 8), Column("bucket", "结果", 18), Column("code", "差异", 22),
            Column("pass", "匹配方式", 10), Column("channel", "渠道"),
            Column("number", "订单号", 24), Column("note", "备注", 30),
        ),
        _recon,
    ),
    "settlement": _Kind(
        "结算",
        (
            Column("number", "结算单", 24), Column("supplier", "供应商"), Column("seq", "序号", 8),
            Column("status", "状态", 10), Column("batch", "批次", 18),
            Column("line_no", "供应商行号", 12), Column("tail", "后四位", 10),
            Column("sku", "SKU", 16), Column("delivered_ms", "时间", 20),
            Column("quantity", "数量", 8), Column("cost_e5", "单价"),
            Column("amount_minor", "金额"), Column("currency", "币种", 8),
            Column("order_tail", "订单尾号", 10), Column("ref_number", "原结算单", 24),
            Column("reason", "说明", 24),
        ),
        _settlement,
    ),
}  # fmt: skip
