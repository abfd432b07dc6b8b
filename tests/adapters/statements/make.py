"""Invented statements for every shipped profile, and the ways in which a vendor varies them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.statements import reader, synthetic
from adapters.statements.synthetic import AlipayMove, Printed, WechatTrade
from kmtool.domain.statements import Code, ParsedStatement, StatementLine, StatementRefusal

ACCOUNT = "2088000000000156"
HOSTILE = ("=1+1", "a,b", 'say "hi"', "two\nlines")


def _cells(text: str) -> list[str]:
    return text.split(",")


def at(text: str) -> int:
    """Return a Shanghai time as UTC ms."""
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo(synthetic.ZONE))
    return int(moment.timestamp()) * 1000


NOVEMBER = (at("2025-11-01 00:00:00"), at("2025-12-01 00:00:00"))


def serial(number: int) -> str:
    """Return a 28-digit vendor id."""
    return f"20251101{number:020d}"


def alipay_moves() -> list[AlipayMove]:
    """Return a month of an Alipay wallet: sales, refund, fees, a withdrawal."""

    def move(number: int, when: str, amount: int, kind: str, **more: str) -> AlipayMove:
        txn = more.pop("txn", serial(100 + number))
        order_no = more.pop("order_no", f"A{number:05d}")
        return AlipayMove(at(when), amount, kind, serial(number), txn, order_no, **more)

    return [
        move(1, "2025-11-02 10:00:00", 1990, "在线支付", item="激活码"),
        move(2, "2025-11-02 10:00:00", 1990, "交易付款", order_no="T200P1234567890123456789"),
        move(3, "2025-11-03 09:30:00", -1990, "交易退款", txn=serial(101), order_no="A00001"),
        move(4, "2025-11-03 12:00:00", -12, "服务费", order_no="", note="手续费"),
        move(
            5, "2025-11-04 08:00:00", -40, "代扣款", order_no="", note="佣金【1234567890123456789】"
        ),
        move(6, "2025-11-05 08:00:00", -500, "交易付款", note="买货"),
        move(7, "2025-11-29 23:59:59", -1000, "提现", order_no=serial(900)),
    ]


def alipay_flow() -> Printed:
    """Return 账务明细."""
    return synthetic.alipay_flow(ACCOUNT, NOVEMBER, alipay_moves(), opening_minor=10_000)


def alipay_trade() -> Printed:
    """Return 业务明细: three trades, a partial refund, and a refund printed positive."""
    header = (
        "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,"
        "终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,"
        "支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
        "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
    )

    def row(number: int, kind: str, amount: str, settled: str, refund: str = "") -> list[str]:
        when = f"2025-11-0{number} 1{len(refund) % 10}:00:00"
        tail = ["0.00"] * 5 + ["", "0.00", "0.00", f"{refund}\t", "-0.12", "0.00", ""]
        head = [f"{serial(number)}\t", f"A{number}\t", f"{kind}\t", "激活码", when, when]
        return [*head, "\t", "\t", "\t", "\t", "买家\t", amount, settled, *tail]

    return Printed(
        header.split(","),
        [
            row(1, "交易", "10.00", "10.00"),
            row(2, "交易", "20.00", "18.50"),
            row(2, "退款", "-5.00", "-5.00", "re_1"),
            row(3, "交易", "30.00", "30.00"),
            row(3, "退款", "30.00", "30.00", "re_2"),
        ],
        preamble=[
            "#支付宝业务明细查询",
            f"#账号：[{ACCOUNT}]",
            "#起始日期：[2025年11月01日 00:00:00]   终止日期：[2025年12月01日 00:00:00]",
            "#-----业务明细列表-----",
        ],
        footer=[
            "#-----业务明细列表结束-----",
            "#交易合计：3笔，商家实收共58.50元，商家优惠共0.00元",
            "#退款合计：2笔，商家实收退款共-35.00元，商家优惠退款共0.00元",
            "#导出时间：[2025年12月01日 05:00:00]",
        ],
    )


def wechat_trades() -> list[WechatTrade]:
    """Return trades and refunds of WeChat, with fees below one cent."""
    return [
        WechatTrade(at("2025-11-02 10:00:00"), serial(1), "W1", 1990, fee_e5=11_940, item="卡, 密"),
        WechatTrade(at("2025-11-02 10:00:01"), serial(2), "W2", 3, fee_e5=18, attach="a,b"),
        WechatTrade(at("2025-11-02 11:00:00"), serial(3), "W3", 2000, 1900, fee_e5=11_400),
        WechatTrade(
            *(at("2025-11-03 11:00:00"), serial(1), "W1", 1990),
            status="REFUND",
            refund_id=serial(71),
            refund_no="R1",
            refund_minor=990,
            fee_e5=-5_940,
            refund_status="PROCESSING",
        ),
    ]


def wechat_flow() -> Printed:
    """Return 资金账单 with counts written as floats."""
    header = (
        "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额（元）,"
        "账户结余（元）,资金变更提交申请人,备注,业务凭证号"
    )

    def row(number: int, kind: str, way: str, amount: str, balance: str) -> list[str]:
        cells = [
            *(f"2025-11-0{number} 10:00:00", serial(number), serial(50 + number), kind, kind, way),
            *(amount, balance, "system", "缺货", f"REF{number}"),
        ]
        return [f"`{cell}" for cell in cells]

    return Printed(
        header.split(","),
        [
            row(1, "交易", "收入", "19.90", "19.90"),
            row(2, "扣除交易手续费", "支出", "0.12", "19.78"),
            row(3, "退款", "支出", "9.90", "9.88"),
            row(4, "提现", "支出", "9.00", "0.88"),
        ],
        footer=[
            "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额",
            "`4.0,`1.0,`19.90,`3.0,`19.02",
        ],
    )


def alipay_personal() -> Printed:
    """Return a personal Alipay bill with its trailing comma and padded cells."""

    def row(when: str, kind: str, way: str, amount: str, status: str, txn: str) -> list[str]:
        return [
            *(f"{when} ", kind, "张三   ", "/", "旧游戏账号   ", way, amount, "余额", status),
            *(f"{txn}\t", "M1\t", "", ""),
        ]

    return Printed(
        _cells(
            "交易时间,交易分类,交易对方,对方账号,商品说明,收/支,金额,收/付款方式,"
            "交易状态,交易订单号,商家订单号,备注,"
        ),
        [
            row("2025-11-02 10:00:00", "商业服务", "收入", "28.50", "交易成功", serial(1)),
            row("2025-11-03 10:00:00", "日用百货", "支出", "10.00", "交易成功", serial(2)),
            row("2025-11-04 10:00:00", "日用百货", "支出", "6.00", "交易关闭", serial(3)),
            row("2025-11-05 10:00:00", "退款", "不计收支", "10.00", "退款成功", f"{serial(2)}_9"),
        ],
        preamble=[
            "导出信息：",
            "支付宝账户：zhang@example.org",
            "起始时间：[2025-11-01 00:00:00]    终止时间：[2025-11-30 23:59:59]",
            "导出时间：[2025-12-01 09:00:00]",
            "共4笔记录",
            "收入：1笔 28.50元",
            "支出：2笔 16.00元",
            "不计收支：1笔 10.00元",
            "-----支付宝（中国）网络技术有限公司  电子客户回单-----",
        ],
    )


def wechat_personal() -> Printed:
    """Return a personal WeChat bill (CSV)."""

    def row(when: str, kind: str, way: str, amount: str, txn: str, note: str = "/") -> list[str]:
        return [
            when,
            kind,
            "张三",
            "卡",
            way,
            f"¥{amount}",
            "零钱",
            "已存入",
            f"{txn}\t",
            "/\t",
            note,
        ]

    return Printed(
        _cells(
            "交易时间,交易类型,交易对方,商品,收/支,金额(元),支付方式,当前状态,交易单号,"
            "商户单号,备注"
        ),
        [
            row("2025-11-02 10:00:00", "二维码收款", "收入", "19.90", serial(1)),
            row("2025-11-03 10:00:00", "商户消费", "支出", "5.00", serial(2)),
            row("2025-11-04 10:00:00", "某店-退款", "收入", "5.00", serial(3)),
            row("2025-11-05 10:00:00", "零钱提现", "/", "10.10", serial(4), "服务费¥0.10"),
            row("2025-11-06 10:00:00", "信用卡还款", "/", "9.00", serial(5)),
        ],
        preamble=[
            "微信支付账单明细,,,,,,,,,,",
            "起始时间：[2025-11-01 00:00:00] 终止时间：[2025-11-30 23:59:59],,,,,,,,,,",
            "共5笔记录,,,,,,,,,,",
            "收入：2笔 24.90元,,,,,,,,,,",
            "支出：1笔 5.00元,,,,,,,,,,",
            "中性交易：2笔 19.10元,,,,,,,,,,",
            "-----微信支付账单明细列表-----,,,,,,,,,,",
        ],
    )


def pdd_flow() -> Printed:
    """Return 拼多多 账务明细."""

    def row(order: str, when: str, came: str, went: str, kind: str, code: str) -> list[str]:
        return [order, when, came, went, kind, "-", code]

    return Printed(
        _cells("商户订单号,发生时间,收入金额（+元）,支出金额（-元）,账务类型,备注,业务描述"),
        [
            row("251102-1", "2025-11-02 10:00:00", "61.80", "0", "交易收入", "0010002|订单收入"),
            row("251102-1", "2025-11-03 10:00:00", "0", "-1.80", "优惠券结算", "0020005|补贴扣回"),
            row("251102-1", "2025-11-04 10:00:00", "0", "-0.37", "技术服务费", "0030002|服务费"),
            row("", "2025-11-05 10:00:00", "0", "-50.00", "提现", "0080001|提现"),
        ],
        preamble=[
            "拼多多店铺账务明细查询",
            "",
            "起始时间：2025-11-01 00:00:00  终止时间：2025-11-30 23:59:59",
            "----------交易记录明细列表---------",
        ],
        footer=["#导出时间：2025-12-01 09:00:00"],
    )


def stripe() -> Printed:
    """Return a Stripe balance in two currencies."""
    return Printed(
        _cells(
            "balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,"
            "net,reporting_category,charge_id,description"
        ),
        [
            _cells(
                "txn_1,2025-11-02 10:00:00,2025-11-09 00:00:00,usd,12.00,0.65,11.35,charge,ch_1,k"
            ),
            _cells(
                "txn_2,2025-11-03 10:00:00,2025-11-09 00:00:00,usd,-12.00,0.00,-12.00,refund,ch_1,"
            ),
            _cells("txn_3,2025-11-04 10:00:00,2025-11-09 00:00:00,jpy,900,33,867,charge,ch_2,"),
            _cells("txn_4,2025-11-05 10:00:00,2025-11-09 00:00:00,usd,-1.00,0.00,-1.00,payout,,"),
        ],
    )


def shopify() -> Printed:
    """Return Shopify Payments transactions."""
    return Printed(
        _cells(
            "Transaction Date,Type,Order,Payout Status,Payout Date,Payout ID,Amount,"
            "Fee,Net,Checkout,Currency"
        ),
        [
            _cells("2025-11-02 10:00:00 +0100,charge,#1001,pending,,,6.99,0.45,6.54,#c1,EUR"),
            _cells("2025-11-03 10:00:00 +0100,refund,#1001,pending,,,-6.99,0.00,-6.99,#c1,EUR"),
        ],
    )


def paypal() -> Printed:
    """Return PayPal activity (month first; day 22 decides)."""
    return Printed(
        _cells(
            "Date,Time,TimeZone,Name,Type,Status,Currency,Gross,Fee,Net,Transaction ID,"
            "Reference Txn ID,Invoice Number,Item Title"
        ),
        [
            _cells(
                "10/01/2025,03:46:20,PDT,B,Website Payment,Completed,USD,10.00,-0.59,9.41,"
                "P1,,1001,k"
            ),
            _cells(
                "10/02/2025,03:46:20,PDT,B,Payment Refund,Completed,USD,-4.00,0.20,-3.80,P2,P1,,k"
            ),
            _cells(
                "10/22/2025,03:46:20,PDT,B,General Authorization,Pending,USD,1.00,0.00,1.00,P3,,,k"
            ),
        ],
    )


def douyin() -> Printed:
    """Return 抖店 动账明细 with 出账 printed positive."""
    return Printed(
        _cells("动账时间,动账方向,动账金额,动账场景,备注,平台服务费,订单实付应结,订单号"),
        [
            _cells("2025-11-02,入账,11.00,订单结算,,-1.00,12.00,'6900000000000000001"),
            _cells("2025-11-03,出账, 5.00,提现,,0,0,"),
            _cells("2025-11-04,出账,1.80,消费者赔付,,0,0,"),
        ],
    )


def quoted(printed: Printed) -> Printed:
    """Return the same table with every cell quoted."""

    def one(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    return replace(
        printed,
        header=[one(cell) for cell in printed.header],
        rows=[[one(cell) for cell in row] for row in printed.rows],
    )


def shuffled(printed: Printed, seed: int) -> Printed:
    """Return the same table with its columns moved and an unknown one added."""
    order = list(range(len(printed.header)))
    if not printed.header[-1]:
        order.pop()
    random.Random(seed).shuffle(order)
    return replace(
        printed,
        header=[printed.header[place] for place in order] + ["神秘列"],
        rows=[[row[place] for place in order] + ["?"] for row in printed.rows],
    )


def without(printed: Printed, place: int) -> Printed:
    """Return the same table without one column."""
    return replace(
        printed,
        header=[name for at_, name in enumerate(printed.header) if at_ != place],
        rows=[[cell for at_, cell in enumerate(row) if at_ != place] for row in printed.rows],
    )


def save(
    folder: Path, printed: Printed | str, encoding: str = "utf-8", name: str = "s.csv"
) -> Path:
    """Write a statement and return its path."""
    path = folder / name
    path.write_bytes((printed if isinstance(printed, str) else printed.text()).encode(encoding))
    return path


def one(path: Path, **answers: object) -> ParsedStatement:
    """Read a file that is one unit."""
    (parsed,) = reader.read(path, **answers)  # type: ignore[arg-type]
    return parsed


def refused(path: Path, code: Code, **answers: object) -> StatementRefusal:
    """Read a file that must be refused, and return the refusal."""
    parsed = one(path, **answers)
    assert parsed.refusal is not None
    assert parsed.refusal.code is code, parsed.refusal.text
    assert len(parsed.sha256) == 64
    return parsed.refusal


def identity(parsed: ParsedStatement) -> list[tuple[object, ...]]:
    """Return what must stay the same however a file is printed."""

    def facts(line: StatementLine) -> tuple[object, ...]:
        return (line.row_key, line.occ, line.content)

    return sorted(map(facts, parsed.lines))
