"""A case for every shipped profile: an invented statement and what its file must give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.statements import synthetic
from adapters.statements.synthetic import Printed
from tests.adapters.statements.make import (
    alipay_flow,
    alipay_personal,
    alipay_trade,
    douyin,
    paypal,
    pdd_flow,
    shopify,
    stripe,
    wechat_flow,
    wechat_personal,
    wechat_trades,
)


@dataclass(frozen=True)
class Case:
    """A profile with a generator, and what its file must give (all in minor units)."""

    profile: str
    printed: Callable[[], Printed]
    net: dict[str, int]
    kinds: str
    quoted: bool = False
    texts: tuple[str, ...] = ()
    declares: str = ""
    chinese: bool = True


CASES = [
    Case(
        *("alipay_merchant_flow", alipay_flow, {"CNY": 438}),
        "SALE SALE REFUND FEE FEE TRANSFER PAYOUT",
        texts=("商品名称", "备注"),
        declares="19.90\t0.00",
    ),
    Case(
        *("alipay_merchant_trade", alipay_trade, {"CNY": 2350}),
        "SALE SALE REFUND SALE REFUND",
        texts=("商品名称", "备注"),
        declares="58.50元",
    ),
    Case(
        "wechat_merchant_trade",
        lambda: synthetic.wechat_trade(wechat_trades()),
        {"CNY": 2886},
        "SALE SALE SALE REFUND",
        texts=("商品名称", "商户数据包"),
        declares="39.93",
    ),
    Case(
        "wechat_merchant_flow",
        wechat_flow,
        {"CNY": 88},
        "SALE FEE REFUND PAYOUT",
        texts=("业务名称", "备注"),
        declares="`19.02",
    ),
    Case("alipay_personal", alipay_personal, {"CNY": 1850}, "SALE TRANSFER TRANSFER NEUTRAL"),
    Case(
        "wechat_personal",
        wechat_personal,
        {"CNY": 1990},
        "SALE TRANSFER REFUND TRANSFER NEUTRAL",
        quoted=True,
        texts=("商品", "交易对方"),
        declares="24.90元",
    ),
    Case(
        *("pdd_mall_flow", pdd_flow, {"CNY": 963}, "SALE SUBSIDY FEE PAYOUT", True),
        texts=("备注",),
    ),
    Case(
        *("stripe_balance", stripe, {"USD": -165, "JPY": 867}, "SALE REFUND SALE PAYOUT", True),
        texts=("description",),
        chinese=False,
    ),
    Case("shopify_payments", shopify, {"EUR": -45}, "SALE REFUND", True, chinese=False),
    Case(
        *("paypal_activity", paypal, {"USD": 561}, "SALE REFUND TRANSFER", True),
        texts=("Name", "Item Title"),
        chinese=False,
    ),
    Case("douyin_flow", douyin, {"CNY": 420}, "SALE PAYOUT ADJUST", True, texts=("备注",)),
]
