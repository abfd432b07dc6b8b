"""Writes invented statements in the vendors' true form, for the demo shop and the tests.

Alipay: GBK, ids end in TAB, expenses negative, totals in the footer, ZIP members with GBK names and
the summary first. WeChat: a backtick before every value, commas in texts as backslash-space, totals
as a second table.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmtool.clock import local_text
from kmtool.domain import money

ZONE = "Asia/Shanghai"
_SECONDS = "%Y-%m-%d %H:%M:%S"
_CHINESE = "%Y年%m月%d日 %H:%M:%S"
_RULE = "-" * 41


@dataclass(slots=True)
class Printed:
    """A statement as it is printed: lines before, header, rows of finished cells, lines after."""

    header: list[str]
    rows: list[list[str]]
    preamble: list[str] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)

    def text(self, newline: str = "\n") -> str:
        """Return the whole text, unquoted, with a line end after every line."""
        table = [",".join(cells) for cells in (self.header, *self.rows)]
        return "".join(line + newline for line in (*self.preamble, *table, *self.footer))


@dataclass(frozen=True, slots=True)
class AlipayMove:
    """One movement of an Alipay wallet; `amount_minor` is signed, `type` is the 业务类型."""

    at_ms: int
    amount_minor: int
    type: str
    serial: str
    txn: str
    order_no: str = ""
    item: str = ""
    counterparty: str = "买家(***)"
    note: str = ""


@dataclass(frozen=True, slots=True)
class WechatTrade:
    """One row of a WeChat 交易账单. A refund row has a refund id and `refund_minor` > 0.

    `fee_e5` is cost positive; a refund row gives back, so it is negative there.
    """

    at_ms: int
    txn: str
    order_no: str
    amount_minor: int = 0
    settle_minor: int | None = None
    fee_e5: int = 0
    status: str = "SUCCESS"
    refund_id: str = ""
    refund_no: str = ""
    refund_minor: int = 0
    refund_requested_minor: int | None = None
    refund_status: str = ""
    item: str = ""
    attach: str = ""


def write_alipay_flow(
    path: Path,
    account: str,
    period: tuple[int, int],
    rows: Sequence[AlipayMove],
    *,
    opening_minor: int = 0,
    exported_ms: int | None = None,
) -> None:
    """Write 账务明细; a path ending in `.zip` gives the download with the summary before it.

    `period` is `[from, to)` in UTC ms and is printed with the exclusive end, as the vendor does.
    """
    printed = alipay_flow(
        account, period, rows, opening_minor=opening_minor, exported_ms=exported_ms
    )
    if path.suffix != ".zip":
        path.write_bytes(printed.text().encode("gb18030"))
        return
    summary = alipay_summary(account, period, rows)
    name = f"{account}_{local_text(period[0], ZONE, '%Y%m')}"
    write_zip(
        path,
        [
            (f"{name}_账务明细(汇总).csv", summary.text().encode("gb18030")),
            (f"{name}_账务明细_1.csv", printed.text().encode("gb18030")),
        ],
    )


def write_wechat_trade(
    path: Path, rows: Sequence[WechatTrade], *, merchant: str = "1900000109", bill: str = "ALL"
) -> None:
    """Write 交易账单 as downloaded by hand (UTF-8 with BOM); `bill` as for `wechat_trade`."""
    path.write_bytes(wechat_trade(rows, merchant=merchant, bill=bill).text().encode("utf-8-sig"))


def alipay_flow(
    account: str,
    period: tuple[int, int],
    rows: Sequence[AlipayMove],
    *,
    opening_minor: int = 0,
    exported_ms: int | None = None,
) -> Printed:
    """Return 账务明细 with running balances, oldest first as the rows are given."""
    balance = opening_minor
    cells = []
    for row in rows:
        balance += row.amount_minor
        came, went = max(row.amount_minor, 0), min(row.amount_minor, 0)
        cells.append(
            [
                *(_tab(text) for text in (row.serial, row.txn, row.order_no, row.item)),
                local_text(row.at_ms, ZONE, _SECONDS),
                _tab(row.counterparty),
                *(money.format_plain(amount) for amount in (came, went, balance)),
                "支付宝",
                row.type,
                _tab(row.note),
            ]
        )
    out = [row.amount_minor for row in rows if row.amount_minor < 0]
    came_in = [row.amount_minor for row in rows if row.amount_minor > 0]
    exported = local_text(period[1] if exported_ms is None else exported_ms, ZONE, _CHINESE)
    return Printed(
        header=list(_ALIPAY_FLOW),
        rows=cells,
        preamble=_alipay_head("账务明细", account, period),
        footer=[
            f"#{_RULE}账务明细列表结束{_RULE}",
            f"#支出合计：{len(out)}笔，共{money.format_plain(sum(out))}元",
            f"#收入合计：{len(came_in)}笔，共{money.format_plain(sum(came_in))}元",
            f"#导出时间：[{exported}]",
        ],
    )


def alipay_summary(account: str, period: tuple[int, int], rows: Sequence[AlipayMove]) -> Printed:
    """Return 账务汇总: counts and sums of each 业务类型."""
    cells = []
    for name in sorted({row.type for row in rows}):
        moved = [row.amount_minor for row in rows if row.type == name]
        came, went = [m for m in moved if m > 0], [m for m in moved if m < 0]
        cells.append(
            [
                name,
                str(len(came)),
                money.format_plain(sum(came)),
                str(len(went)),
                money.format_plain(sum(went)),
                money.format_plain(sum(moved)),
            ]
        )
    return Printed(
        header=list(_ALIPAY_SUMMARY),
        rows=cells,
        preamble=_alipay_head("账务汇总", account, period),
        footer=[f"#{_RULE}账务汇总列表结束{_RULE}"],
    )


def wechat_trade(
    rows: Sequence[WechatTrade], *, merchant: str = "1900000109", bill: str = "ALL"
) -> Printed:
    """Return 交易账单 as ALL (27 columns), SUCCESS (20), REFUND (29) or EARLY (24)."""
    header = _WECHAT[bill]
    cells = []
    for row in rows:
        values = _wechat_values(row, merchant)
        cells.append([f"`{_wechat_text(values[name])}" for name in header])
    orders = [row for row in rows if row.status == "SUCCESS"]
    sums = {
        "应结订单总金额": sum(_settle(row) for row in orders),
        "总交易额": sum(row.amount_minor for row in orders),
        "退款总金额": sum(row.refund_minor for row in rows),
        "总退款金额": sum(row.refund_minor for row in rows),
        "充值券退款总金额": 0,
        "总企业红包退款金额": 0,
        "订单总金额": sum(row.amount_minor for row in orders),
        "申请退款总金额": sum(_requested(row) for row in rows),
    }
    texts = {name: money.format_plain(value) for name, value in sums.items()}
    texts["总交易单数"] = str(len(rows))
    texts["手续费总金额"] = e5_text(sum(row.fee_e5 for row in rows))
    names = _WECHAT_EARLY_TOTALS if bill == "EARLY" else _WECHAT_TOTALS
    footer = [",".join(names), ",".join(f"`{texts[name]}" for name in names)]
    return Printed(list(header), cells, footer=footer)


def e5_text(value_e5: int) -> str:
    """Return a fee with the five decimals WeChat prints."""
    whole, part = divmod(abs(value_e5), 100_000)
    return f"{'-' if value_e5 < 0 else ''}{whole}.{part:05d}"


def write_zip(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """Write an archive whose member names are GBK without the UTF-8 flag."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = _GbkName(name, (2025, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def _names(text: str) -> list[str]:
    return text.split(",")


class _GbkName(zipfile.ZipInfo):
    """A member whose name is written as the vendor writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


_ALIPAY_FLOW = _names(
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,"
    "支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
)
_ALIPAY_SUMMARY = _names("类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）,总金额（元）")
_WECHAT_ALL = _names(
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,"
    "交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,"
    "商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,"
    "费率,订单金额,申请退款金额,费率备注"
)
_REFUND_ONLY = (
    *("微信退款单号", "商户退款单号", "退款金额", "充值券退款金额"),
    *("退款类型", "退款状态", "申请退款金额"),
)
_EARLY_NAMES = {
    "应结订单金额": "总金额",
    "代金券金额": "企业红包金额",
    "充值券退款金额": "企业红包退款金额",
}
_WECHAT = {
    "ALL": _WECHAT_ALL,
    "SUCCESS": [name for name in _WECHAT_ALL if name not in _REFUND_ONLY],
    "REFUND": [*_WECHAT_ALL[:14], "退款申请时间", "退款成功时间", *_WECHAT_ALL[14:]],
    "EARLY": [_EARLY_NAMES.get(name, name) for name in _WECHAT_ALL[:24]],
}
_WECHAT_TOTALS = _names(
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
_WECHAT_EARLY_TOTALS = _names("总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额")


def _alipay_head(title: str, account: str, period: tuple[int, int]) -> list[str]:
    start, end = (local_text(at, ZONE, _CHINESE) for at in period)
    return [
        f"#支付宝{title}查询",
        f"#账号：[{account}]",
        f"#起始日期：[{start}]   终止日期：[{end}]",
        f"#{_RULE}{title}列表{_RULE}",
    ]


def _tab(text: str) -> str:
    return " ".join(text.split("\n")) + "\t"


def _wechat_text(text: str) -> str:
    return text.replace("\n", " ").replace(",", "\\ ")


def _settle(row: WechatTrade) -> int:
    return row.amount_minor if row.settle_minor is None else row.settle_minor


def _requested(row: WechatTrade) -> int:
    wanted = row.refund_requested_minor
    return row.refund_minor if wanted is None else wanted


def _wechat_values(row: WechatTrade, merchant: str) -> dict[str, str]:
    at = local_text(row.at_ms, ZONE, _SECONDS)
    sold = row.status == "SUCCESS"
    plain = money.format_plain
    return {
        "交易时间": at,
        "公众账号ID": "wx0000000000000000",
        "商户号": merchant,
        "特约商户号": "0",
        "设备号": "",
        "微信订单号": row.txn,
        "商户订单号": row.order_no,
        "用户标识": "oUser",
        "交易类型": "NATIVE",
        "交易状态": row.status,
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "应结订单金额": plain(_settle(row) if sold else 0),
        "总金额": plain(row.amount_minor),
        "代金券金额": "0.00",
        "企业红包金额": "0.00",
        "充值券退款金额": "0.00",
        "企业红包退款金额": "0.00",
        "退款申请时间": at,
        "退款成功时间": at if row.refund_id else "",
        "微信退款单号": row.refund_id or "0",
        "商户退款单号": row.refund_no or "0",
        "退款金额": plain(row.refund_minor),
        "退款类型": "ORIGINAL" if row.refund_id else "",
        "退款状态": row.refund_status,
        "商品名称": row.item,
        "商户数据包": row.attach,
        "手续费": e5_text(row.fee_e5),
        "费率": "0.60%",
        "费率备注": "",
        "订单金额": plain(row.amount_minor if sold else 0),
        "申请退款金额": plain(_requested(row)),
    }
