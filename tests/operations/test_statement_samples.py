"""Real sample statements, where they lie beside the checkout: counts, sums and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations.reconcile import reconcile
from kmtool.operations.statements import Answers, check
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.operations import recon_kit as kit

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "statements"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="there are no sample files here")


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop with one wallet of each kind."""
    config = make_config(kit.ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


CASES = [
    (
        "alipay_merchant_zhangwu_202111_gbk.csv",
        12,
        0,
        {"TRANSFER": 10, "PAYOUT": 2},
        {"TRANSFER": 12},
    ),
    ("wechat_merchant_trade_ALL_27col.csv", 3, 3, {"SALE": 3}, {"EXCEPTION": 3}),
]


@pytest.mark.parametrize(
    ("name", "rows", "net", "kinds", "buckets"), CASES, ids=[c[0][:6] for c in CASES]
)
def test_a_sample_is_taken_whole_and_once(
    shop: Shop, name: str, rows: int, net: int, kinds: dict[str, int], buckets: dict[str, int]
) -> None:
    found = reconcile(shop, [SAMPLES / name])
    facts = found.files[0].to_json()
    assert (facts["rows"], facts["new"], facts["refusal"]) == (rows, rows, None)
    assert facts["sums"]["CNY"]["net"] == net
    assert {kind: sums["CNY"]["rows"] for kind, sums in facts["kinds"].items()} == kinds
    assert found.lines == buckets
    wallet = f"wallet:{found.files[0].into}"
    assert ledger.balance(shop.db, wallet, "CNY") == net
    before = kit.counts(shop.db)
    again = reconcile(shop, [SAMPLES / name])
    assert (again.files[0].new, again.files[0].known) == (0, rows)
    assert kit.counts(shop.db) == before
    assert [a.digest for a in again.accounts] == [a.digest for a in found.accounts]


def test_the_declared_totals_of_the_flow_agree(shop: Shop) -> None:
    facts = check(shop, [SAMPLES / CASES[0][0]], Answers()).files[0].facts
    assert [(t["count"], t["sum"]) for t in facts["declared"]] == [(6, -2513356), (6, 2513356)]


def test_a_sample_whose_totals_disagree_is_refused(shop: Shop) -> None:
    name = "wechat_merchant_fundflow_doc_example.csv"
    found = reconcile(shop, [SAMPLES / name])
    assert found.exit_code == 6
    refusal = found.files[0].refusal
    assert refusal is not None
    assert refusal.code == "SUMMARY_MISMATCH"
    assert shop.db.value("SELECT count(*) FROM statement_lines") == 0
