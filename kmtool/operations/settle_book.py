"""The workbook of a closed sheet: which of its six sheets shows what. Chinese, for the supplier.

All of it comes from the frozen rows, nothing from the present state of the shop, so that the same
sheet is the same file at any time. `kmtool.sheets_write` turns it into bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kmtool.domain import settlement as rules
from kmtool.domain.settlement import SheetLine
from kmtool.operations.settle_cells import Frozen, Part, head, table, with_note
from kmtool.operations.settle_summary import summary
from kmtool.sheets_write import Book, Cell, Kind, Look, Sheet, fitting
from kmtool.store.db import Row

PRODUCTS, DETAIL, ADJUSTMENTS, LEFT, CHECKS = (
    "按商品", "卡密明细", "扣回调整", "未结挂账", "校验",
)  # fmt: skip
MODES = {"consignment": "代销", "buyout": "买断"}
ROWS_PER_SHEET = 1_000_000
_GAP: tuple[Cell | None, ...] = ()


def book(frozen: Frozen) -> Book:
    """Return the workbook of a closed sheet."""
    sheet = frozen.sheet
    products = _products(frozen)
    detail = _detail(frozen)
    adjustments = _adjustments(frozen)
    left = _left(frozen)
    parts = [products, *detail, adjustments, left]
    return Book(
        title=f"供应商结算单 {sheet['number']}",
        author=sheet["shop_name"],
        created_ms=sheet["closed_ms"],
        currency=sheet["currency"],
        sheets=(
            summary(frozen, detail, adjustments, left),
            *(part.sheet for part in parts),
            _checks(frozen, parts),
        ),
    )


def _products(frozen: Frozen) -> Part:
    rows = [
        (
            Cell(row["sku"]),
            Cell(row["title"]),
            Cell(row["batch"]),
            Cell(MODES[row["mode"]]),
            *(
                Cell(row[name], Kind.COUNT)
                for name in ("opening", "received", "sold", "ended", "closing")
            ),
            Cell(row["cost_e5"], Kind.UNIT),
            Cell(row["amount_minor"], Kind.MONEY),
            Cell(_rest(row, frozen.sheet["currency"]), Kind.MONEY),
        )
        for row in frozen.batches
    ]
    wide = fitting((row["title"] for row in frozen.batches), 30, 60)
    part = table(
        PRODUCTS,
        (
            ("SKU", 16), ("商品", wide), ("批次", 18), ("模式", 8), ("期初", 8), ("入库", 8),
            ("售出", 8), ("退/失效", 9), ("期末", 8), ("单价", 12), ("应结金额", 14), ("尾差", 8),
        ),
        rows,
        total=10,
        empty="本期无商品",
    )  # fmt: skip
    note = "代销的售出 = 本单结算数，期末含已发货未到结算日的卡密；买断的售出 = 实际发货数。"
    return with_note(part, note)


def _rest(row: Row, currency: str) -> int:
    """尾差: the booked amount less quantity × unit cost rounded as a whole."""
    return int(row["amount_minor"]) - rules.line_amount(row["quantity"], row["cost_e5"], currency)


def _detail(frozen: Frozen) -> list[Part]:
    lines = frozen.paid_for
    starts = range(0, len(lines), ROWS_PER_SHEET) if lines else (0,)
    return [
        table(
            DETAIL if nth == 1 else f"{DETAIL}_{nth}",
            (
                ("序号", 8), ("批次", 18), ("供应商行号", 12), ("后四位", 10), ("状态", 8),
                ("发货时间 UTC+8", 21), ("数量", 8), ("成本", 12), ("订单尾号", 12),
            ),
            [_detail_row(line) for line in lines[start : start + ROWS_PER_SHEET]],
            total=7,
            empty="本期无卡密明细",
        )
        for nth, start in enumerate(starts, 1)
    ]  # fmt: skip


def _detail_row(line: SheetLine) -> tuple[Cell, ...]:
    return (
        Cell(line.seq, Kind.COUNT),
        Cell(line.batch),
        Cell(line.line_no, Kind.COUNT),
        Cell(line.tail),
        Cell(rules.STATUS[line.kind]),
        Cell(line.delivered_ms, Kind.TIME),
        Cell(line.quantity, Kind.COUNT),
        Cell(line.amount_minor, Kind.MONEY),
        Cell(line.order_tail),
    )


def _adjustments(frozen: Frozen) -> Part:
    rows = [
        (
            Cell(line.seq, Kind.COUNT),
            Cell(rules.STATUS[line.kind]),
            Cell(line.ref_number),
            Cell(line.ref_seq, Kind.COUNT),
            Cell(line.batch),
            Cell(line.line_no, Kind.COUNT),
            Cell(line.tail),
            Cell(line.amount_minor, Kind.MONEY),
            Cell(line.reason),
            Cell(line.order_tail),
        )
        for line in frozen.adjusted
    ]
    return table(
        ADJUSTMENTS,
        (
            ("序号", 8), ("类型", 10), ("原结算单", 24), ("原行号", 9), ("批次", 18), ("行号", 8),
            ("后四位", 10), ("金额", 14), ("原因", 24), ("凭据", 14),
        ),
        rows,
        total=7,
        empty="本期无扣回调整",
    )  # fmt: skip


def _left(frozen: Frozen) -> Part:
    rows = [
        (
            Cell(row["batch"]),
            Cell(row["line_no"], Kind.COUNT),
            Cell(row["tail"]),
            Cell(row["delivered_ms"], Kind.TIME),
            Cell(date.fromisoformat(row["eligible_on"]), Kind.DAY),
            Cell(row["amount_minor"], Kind.MONEY),
            Cell(row["reason"]),
        )
        for row in frozen.left
    ]
    return table(
        LEFT,
        (
            ("批次", 18), ("行号", 9), ("后四位", 10), ("发货时间 UTC+8", 21), ("可结日", 13),
            ("金额", 14), ("挂账原因", 32),
        ),
        rows,
        total=5,
        empty="本期无未结挂账",
    )  # fmt: skip


def _checks(frozen: Frozen, parts: Sequence[Part]) -> Sheet:
    sheet = frozen.sheet
    files = {row["batch"]: (row["file_name"], row["file_sha256"]) for row in frozen.batches}
    for line in frozen.lines:
        files.setdefault(line.batch, ("", line.batch_sha256))
    rows: list[Sequence[Cell | None]] = [(head("工作表"), head("行数"), head("合计"))]
    rows += [
        (
            Cell(part.sheet.name),
            Cell(part.rows, Kind.COUNT),
            Cell(part.total_minor, Kind.MONEY, formula=f"={part.total}"),
        )
        for part in parts
    ]
    rows += [_GAP, (head("批次"), head("来源文件", 2), head("文件 SHA-256"))]
    rows += [
        (Cell(name), Cell(file, span=2), Cell(digest)) for name, (file, digest) in files.items()
    ]
    rows += [_GAP, (head("校验项"), head("值", 3))]
    rows += [
        (Cell(label), Cell(value, span=3, wrap=True))
        for label, value in (
            ("明细 SHA-256", sheet["detail_sha256"]),
            ("上一单哈希", sheet["prev_hash"]),
            ("本单哈希", sheet["hash"]),
            ("单头", rules.head_json(sheet)),
            ("明细列", rules.DETAIL_HEADER),
            ("程序版本", sheet["program"]),
        )
    ]
    heights = ((len(rows) - 2, 64.0), (len(rows) - 1, 34.0))
    rows += [_GAP, *((Cell(text, look=Look.NOTE, span=4),) for text in _HOW)]
    return Sheet(name=CHECKS, widths=(20, 12, 24, 76), rows=rows, heights=heights)


_HOW = (
    "1. 把《卡密明细》与《扣回调整》逐行还原为上列“明细列”的 CSV（UTF-8，换行 LF，金额以分计，"
    "时间以 UTC 计），其 SHA-256 应等于明细 SHA-256。",
    "2. 本单哈希 = SHA-256（上一单哈希 + 换行 + 单头 + 换行 + 明细 SHA-256）；"
    "第一单的上一单哈希为 64 个 0。",
    "3. 卡密以“批次文件 SHA-256 + 供应商行号 + 后四位”核对，双方无需出示完整卡密；"
    "店铺可运行 kmtool settle verify 核对本文件。",
)
