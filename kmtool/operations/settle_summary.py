"""The first sheet of a settlement workbook: parties, balance, what is to be paid, signatures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kmtool.domain import hanzi
from kmtool.operations.settle_cells import Frozen, Part, box, figure, head, label
from kmtool.sheets_write import Cell, Kind, Look, Sheet
from kmtool.store.db import Row

SUMMARY = "汇总"
_Fact = tuple[str, str | int | date, Kind]
_DATE = "日期：      年    月    日"
_GAP: tuple[Cell | None, ...] = ()


def summary(frozen: Frozen, detail: list[Part], adjustments: Part, left: Part) -> Sheet:
    """Return the first sheet."""
    sheet = frozen.sheet
    rows: list[Sequence[Cell | None]] = [
        (Cell("供应商结算单", look=Look.TITLE, span=4),),
        _GAP,
        *_parties(frozen),
        _GAP,
        (head("项目"), head("金额"), head("说明", 2)),
    ]
    first = len(rows) + 1
    rows += _identity(sheet, first)
    rows += [_GAP, (head("本次结算"), head("金额"), head("说明", 2))]
    rows += _settled(sheet, detail, adjustments, left, len(rows) + 1)
    rows += [
        (label("大写金额"), box(_capital(sheet), 3)),
        (label("收款账户"), box(_payee(sheet["payee_tail"]), 3)),
        _GAP,
        (head("制单"), head("审核"), head("供应商确认（签字盖章）", 2)),
        (box(""), box(""), box("", 2)),
        (box(_DATE), box(_DATE), box(_DATE, 2)),
    ]
    return Sheet(
        name=SUMMARY,
        widths=(22, 26, 18, 26),
        rows=rows,
        landscape=False,
        heights=((1, 32), (len(rows) - 1, 72), (len(rows), 22)),
    )


def _parties(frozen: Frozen) -> list[tuple[Cell, ...]]:
    sheet = frozen.sheet
    day, text = Kind.DAY, Kind.TEXT
    facts: list[tuple[_Fact, _Fact]] = [
        (("结算单号", sheet["number"], text), ("版本", "R0", text)),
        (
            ("甲方（店铺）", sheet["shop_name"], text),
            ("乙方（供应商）", sheet["supplier_name"], text),
        ),
        (("供应商编号", sheet["supplier"], text), ("币种", sheet["currency"], text)),
        (
            ("结算期间", f"{sheet['period_from']} 至 {sheet['period_to']}", text),
            ("截止日", date.fromisoformat(sheet["cut"]), day),
        ),
        (
            ("结算规则", f"T+{sheet['settle_days']} 自然日", text),
            ("规则版本", sheet["rule"], text),
        ),
        (
            ("结算时间（UTC+8）", sheet["closed_ms"], Kind.TIME),
            ("上一单号", frozen.previous or "无", text),
        ),
    ]
    return [
        tuple(
            cell
            for name, value, kind in pair
            for cell in (label(name), Cell(value, kind, Look.BOX, wrap=True))
        )
        for pair in facts
    ]


def _identity(sheet: Row, at: int) -> list[tuple[Cell, ...]]:
    """The balance, row by row from row `at`; the ledger's figure at closing is its last but one."""
    b = [f"B{at + n}" for n in range(11)]
    due = sheet["cost_minor"] - sheet["returned_minor"] + sheet["adjusted_minor"]
    difference = f"=ROUND({b[8]}-{b[9]},2)"
    return [
        figure("期初未结", sheet["opening_minor"], "上一单期末未结"),
        figure("销售成本", sheet["cost_minor"], "代销：发货；买断：入库验收"),
        figure("退/失效", sheet["returned_minor"], "失效卡密扣回、批次撤回"),
        figure("费用/调整", sheet["adjusted_minor"], ""),
        figure("本期应付", due, "销售成本 - 退/失效 + 费用/调整", f"={b[1]}-{b[2]}+{b[3]}"),
        figure("本期结算", sheet["settled_minor"], "本期内已付款"),
        figure("优惠", sheet["discount_minor"], ""),
        figure("扣点", sheet["commission_minor"], ""),
        figure(
            "期末未结",
            sheet["closing_minor"],
            "期初未结 + 本期应付 - 本期结算 - 优惠 - 扣点",
            f"={b[0]}+{b[4]}-{b[5]}-{b[6]}-{b[7]}",
        ),
        figure("台账余额", sheet["closing_minor"], "应付供应商账户"),
        figure("差额", 0, "期末未结 - 台账余额，必须为 0", difference, red=True),
    ]


def _settled(
    sheet: Row, detail: list[Part], adjustments: Part, left: Part, at: int
) -> list[tuple[Cell, ...]]:
    total = sum(part.total_minor for part in detail)
    whole = total + adjustments.total_minor + sheet["carried_in_minor"]
    sums = "+".join(part.total for part in detail)
    b = [f"B{at + n}" for n in range(5)]
    return [
        figure("明细合计", total, "见《卡密明细》", f"={sums}"),
        figure("扣回调整", adjustments.total_minor, "见《扣回调整》", f"={adjustments.total}"),
        figure("上期结转", sheet["carried_in_minor"], "上一单扣回超出应付的部分"),
        figure(
            "核对差额",
            whole - sheet["payable_minor"] - sheet["carried_out_minor"],
            "明细 + 扣回 + 结转 - 应付 - 转下期，必须为 0",
            f"=ROUND({b[0]}+{b[1]}+{b[2]}-B{at + 4}-B{at + 5},2)",
            red=True,
        ),
        figure("本次应付", sheet["payable_minor"], "不足 0 时为 0，差额转下期", bold=True),
        figure("转下期", sheet["carried_out_minor"], ""),
        figure("未结挂账", left.total_minor, "见《未结挂账》，不在本单", f"={left.total}"),
        figure("前期结算单未付", sheet["unpaid_before_minor"], "以前结算单尚未付清的金额"),
    ]


def _capital(sheet: Row) -> str:
    return hanzi.write(sheet["payable_minor"]) if sheet["currency"] == "CNY" else "—"


def _payee(tail: str) -> str:
    return f"尾号 {tail}" if tail else "未登记"
