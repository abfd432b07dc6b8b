"""Runs public sample files, where they lie beside the checkout, against what they must give.

The samples are not part of the project: `KMTOOL_SAMPLES` names their folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.statements import reader
from kmtool.domain.statements import Code
from tests.adapters.statements.make import one

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = Path(
    os.environ.get("KMTOOL_SAMPLES") or ROOT.parent / "shared" / "samples" / "statements"
)

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here")

Kinds = dict[str, tuple[int, int]]

ORACLES: list[tuple[str, str, int, int, Code | None, Kinds, dict[str, tuple[int, int, int]]]] = [
    (
        *("alipay_merchant_zhangwu_202111_gbk.csv", "alipay_merchant_flow", 5, 12, None),
        {"TRANSFER": (10, 2_300_000), "PAYOUT": (2, -2_300_000)},
        {"CNY": (0, 0, 0)},
    ),
    (
        *("alipay_merchant_yewu_20190916_gbk.csv", "alipay_merchant_trade", 5, 10, None),
        {"SALE": (6, 6), "REFUND": (4, -4)},
        {"CNY": (2, 0, 2)},
    ),
    (
        *("alipay_personal_2023_gbk.csv", "alipay_personal", 25, 10, None),
        {"SALE": (1, 22_222_850), "TRANSFER": (4, -16_164), "NEUTRAL": (3, 0)},
        {"CNY": (22_206_686, 0, 22_206_686)},
    ),
    (
        *("wechat_personal_utf8.csv", "wechat_personal", 17, 27, Code.SUMMARY_MISMATCH),
        {"SALE": (5, 2849), "TRANSFER": (19, -290_453), "NEUTRAL": (3, 0)},
        {"CNY": (-287_604, 0, -287_604)},
    ),
    (
        *("wechat_merchant_trade_ALL_27col.csv", "wechat_merchant_trade", 1, 3, None),
        {"SALE": (3, 3)},
        {"CNY": (3, 0, 3)},
    ),
    (
        "wechat_merchant_fundflow_doc_example.csv",
        *("wechat_merchant_flow", 1, 1, Code.SUMMARY_MISMATCH),
        {"REFUND": (1, -2)},
        {"CNY": (-2, 0, -2)},
    ),
    (
        *("pdd_mall_bill_detail_gb18030.csv", "pdd_mall_flow", 5, 1, None),
        {"SALE": (1, 6180)},
        {"CNY": (6180, 0, 6180)},
    ),
    (
        *("douyin_dongzhang_funds.csv", "douyin_flow", 1, 4, None),
        {"SALE": (1, 120_000), "PAYOUT": (1, -30_000), "ADJUST": (1, -1800), "FEE": (1, -600)},
        {"CNY": (87_600, 0, 87_600)},
    ),
    (
        *("paypal_activity_19col.csv", "paypal_activity", 1, 7, None),
        {"SALE": (1, 1000), "TRANSFER": (3, -1599)},
        {"USD": (-599, 59, -658)},
    ),
    (
        *("stripe_balance_itemized.csv", "stripe_balance", 1, 2, None),
        {"SALE": (1, 1200), "REFUND": (1, -77)},
        {"USD": (1123, 0, 1123)},
    ),
    (
        *("shopify_payments_transactions_18col.csv", "shopify_payments", 1, 2, None),
        {"SALE": (1, 699), "REFUND": (1, -699)},
        {"EUR": (0, 45, -45)},
    ),
]


@pytest.mark.parametrize(
    ("name", "profile", "header", "rows", "code", "kinds", "sums"),
    ORACLES,
    ids=[oracle[0] for oracle in ORACLES],
)
def test_sample_gives_its_oracle(
    name: str,
    profile: str,
    header: int,
    rows: int,
    code: Code | None,
    kinds: Kinds,
    sums: dict[str, tuple[int, int, int]],
) -> None:
    parsed = one(SAMPLES / name)
    assert (parsed.refusal.code if parsed.refusal else None) is code
    assert (parsed.profile, parsed.header_line, len(parsed.lines)) == (profile, header, rows)
    found = {
        kind.value: next((part.rows, part.gross) for part in parts.values())
        for kind, parts in parsed.kinds().items()
    }
    assert found == kinds
    assert {c: (s.gross, s.fee, s.net) for c, s in parsed.sums().items()} == sums
    assert len({(line.row_key, line.occ) for line in parsed.lines}) == rows
    assert reader.to_json(parsed)["rows"] == rows


def test_personal_samples_in_detail() -> None:
    alipay = one(SAMPLES / "alipay_personal_2023_gbk.csv")
    assert [(t.name, t.parsed_count) for t in alipay.declared] == [
        ("记录", 10),
        ("收入", 1),
        ("支出", 5),
        ("不计收支", 4),
    ]
    assert [total.parsed_sum_e5 for total in alipay.declared[1:]] == [
        *(22_222_850_000, 21_164_000, 24_737_000)
    ]
    assert alipay.ignored == 2
    assert "2023xxxxx88" in {line.parent_ref for line in alipay.lines}
    wechat = one(SAMPLES / "wechat_personal_utf8.csv", accept_summary_mismatch=True)
    assert wechat.refusal is None
    assert wechat.sums()["CNY"].neutral == 2_610_089
    assert "KEY_FALLBACK" in {warning.code for warning in wechat.warnings}


def test_flow_sample_in_detail() -> None:
    flow = one(SAMPLES / "alipay_merchant_zhangwu_202111_gbk.csv")
    assert [(t.count, t.sum_e5) for t in flow.declared] == [
        (6, -2_513_356_000),
        (6, 2_513_356_000),
    ]
    assert not flow.warnings
    assert {line.order_ref for line in flow.lines if line.kind == "PAYOUT"} == {""}
    assert len({line.ext_txn_id for line in flow.lines}) == 8
