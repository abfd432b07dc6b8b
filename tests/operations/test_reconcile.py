"""Reconcile: statements against orders, exactly, and twice as once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.statements.synthetic import WechatTrade
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.recon import EXCEPTIONS
from kmtool.operations import recon
from kmtool.operations.reconcile import Reconciliation, reconcile
from kmtool.operations.statements import Answers
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.operations import recon_kit as kit


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop with one wallet that prints flows and one that prints trades."""
    config = make_config(kit.ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


def run(shop: Shop, *paths: Path, **answers: Any) -> Reconciliation:
    return reconcile(shop, paths, Answers(**answers))


def test_money_and_order_meet(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1")))
    assert found.exit_code == 0
    assert (found.lines, found.orders) == ({"MATCHED_SALE": 1}, {"SETTLED": 1})
    assert (found.money.due_minor, found.money.received_minor) == (1000, 1000)
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    assert ledger.balance(shop.db, "wallet:main", "CNY") == 1000
    assert ledger.balance(shop.db, "clearing:main", "CNY") == 0
    assert ledger.balance(shop.db, "income:sales", "CNY") == -1000


def test_a_second_run_changes_no_row(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    kit.put_order(shop.db, "A2", refunds=(300,))
    path = kit.flow(
        tmp_path, kit.sale("A1"), kit.sale("A2"), kit.sale("X9", 77), kit.refund("A2", 300)
    )
    first = run(shop, path)
    before, total = kit.counts(shop.db), getattr(shop.db.raw, "total_changes", 0)
    again = run(shop, path)
    assert (again.files[0].new, again.files[0].known) == (0, 4)
    assert [a.changes for a in again.accounts] == [0, 0]
    assert [a.digest for a in again.accounts] == [a.digest for a in first.accounts]
    assert kit.counts(shop.db) == before
    assert getattr(shop.db.raw, "total_changes", 0) == total


# ---------------------------------------------------------------- orders: one case per condition

ORDERS: list[tuple[str, dict[str, Any], list[tuple[str, int]], tuple[str, str], list[str]]] = [
    ("settled", {}, [("sale", 1000)], ("SETTLED", ""), []),
    ("nothing expected", {"amount": 0}, [], ("OUT_OF_SCOPE", ""), []),
    ("seen before kmtool", {"history": 1}, [], ("OUT_OF_SCOPE", ""), []),
    ("not due", {"at": kit.day(20)}, [], ("NOT_DUE", "lag"), []),
    ("never paid", {"paid": False, "delivered": False}, [], ("OUT_OF_SCOPE", "unpaid"), []),
    ("missing", {}, [], ("EXCEPTION", "MISSING_PAYOUT"), ["MISSING_PAYOUT"]),
    ("unpaid", {"paid": False}, [], ("EXCEPTION", "DELIVERED_UNPAID"), ["DELIVERED_UNPAID"]),
    (
        "undelivered, money there",
        {"delivered": False},
        [("sale", 1000)],
        ("EXCEPTION", "PAID_UNDELIVERED"),
        ["PAID_UNDELIVERED"],
    ),
    (
        "undelivered, no money",
        {"delivered": False},
        [],
        ("EXCEPTION", "PAID_UNDELIVERED"),
        ["PAID_UNDELIVERED"],
    ),
    (
        "too little",
        {},
        [("sale", 999)],
        ("EXCEPTION", "AMOUNT_MISMATCH"),
        ["AMOUNT_MISMATCH"],
    ),
    (
        "too much",
        {},
        [("sale", 1001)],
        ("EXCEPTION", "AMOUNT_MISMATCH"),
        ["AMOUNT_MISMATCH"],
    ),
    ("in two parts", {}, [("sale", 400), ("sale", 600)], ("SETTLED", ""), []),
    (
        "paid twice",
        {},
        [("sale", 1000), ("again", 1000)],
        ("EXCEPTION", "DUPLICATE_PAYOUT"),
        ["AMOUNT_MISMATCH", "DUPLICATE_PAYOUT"],
    ),
    (
        "more back than came",
        {"refunds": (1500,)},
        [("sale", 1000), ("refund", 1500)],
        ("EXCEPTION", "AMOUNT_MISMATCH"),
        ["AMOUNT_MISMATCH"],
    ),
    (
        "refund unknown here",
        {},
        [("sale", 1000), ("refund", 1000)],
        ("EXCEPTION", "REFUND_NOT_RECORDED"),
        ["REFUND_NOT_RECORDED"],
    ),
    (
        "refund missing there",
        {"refunds": (300,)},
        [("sale", 1000)],
        ("EXCEPTION", "REFUND_MISSING"),
        ["REFUND_MISSING"],
    ),
    ("partly back", {"refunds": (300,)}, [("sale", 1000), ("refund", 300)], ("SETTLED", ""), []),
    ("all back", {"refunds": (1000,)}, [("sale", 1000), ("refund", 1000)], ("REFUNDED", ""), []),
    (
        "refunded figure without numbers",
        {"refunded_minor": 1000, "refund": "full"},
        [("sale", 1000), ("refund", 1000)],
        ("REFUNDED", ""),
        [],
    ),
    (
        "unpaid here, paid there",
        {"paid": False},
        [("sale", 1000)],
        ("EXCEPTION", "STATUS_MISMATCH"),
        ["STATUS_MISMATCH"],
    ),
    (
        "closed here, paid there",
        {"status": "closed"},
        [("sale", 1000)],
        ("EXCEPTION", "STATUS_MISMATCH"),
        ["STATUS_MISMATCH"],
    ),
    ("closed before the money", {"status": "closed", "delivered": False}, [],
     ("OUT_OF_SCOPE", "cancelled"), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "lines", "bucket", "codes"), [c[1:] for c in ORDERS], ids=[c[0] for c in ORDERS]
)
def test_an_order_is_in_one_bucket_with_its_codes(
    shop: Shop,
    tmp_path: Path,
    order: dict[str, Any],
    lines: list[tuple[str, int]],
    bucket: tuple[str, str],
    codes: list[str],
) -> None:
    kit.put_order(shop.db, "A1", **order)
    makers = {
        "sale": lambda amount: kit.sale("A1", amount),
        "again": lambda amount: kit.sale("A1", amount, txn="T-second"),
        "refund": lambda amount: kit.refund("A1", amount),
    }
    moves = [makers[what](amount) for what, amount in lines]
    found = run(shop, kit.flow(tmp_path, *moves))
    assert kit.bucket(shop, "A1") == bucket
    assert kit.open_codes(shop) == codes
    assert found.exit_code == (8 if codes else 0)
    assert all(EXCEPTIONS[p.code].severity == p.severity and p.command for p in found.problems)
    _adds_up(found)
    _zero(shop)


def _adds_up(found: Reconciliation) -> None:
    m = found.money
    parts = (m.received_minor, m.fees_minor, m.refunded_minor, m.not_due_minor, m.missing_minor)
    assert m.due_minor == sum(parts) + m.unexplained_minor


def _zero(shop: Shop) -> None:
    """Every entry sums to zero per currency."""
    assert not shop.db.all(
        "SELECT entry_id FROM ledger_postings GROUP BY entry_id, currency"
        " HAVING sum(amount_minor) <> 0"
    )


def test_split_settlement_waits_for_the_rest(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    config = make_config(kit.ACCOUNTS.replace('"alipay"', '"alipay"\nsplit_settlement = true', 1))
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        kit.put_order(shop.db, "A1")
        clock.set(kit.day(1))
        run(shop, kit.flow(tmp_path, kit.sale("A1", 400), days=(0, 1)))
        assert kit.bucket(shop, "A1") == ("PARTLY_SETTLED", "")
        clock.set(kit.day(3))
        found = run(shop)
        assert kit.bucket(shop, "A1") == ("EXCEPTION", "AMOUNT_MISMATCH")
        assert found.money.unexplained_minor == 600
        found = run(shop, kit.flow(tmp_path, kit.sale("A1", 600, at_ms=kit.day(1)), days=(1, 3)))
        assert kit.bucket(shop, "A1") == ("SETTLED", "")
        assert found.exit_code == 0


# ---------------------------------------------------------------- lines

LINES: list[tuple[str, dict[str, Any], str, str]] = [
    ("fee", {"type": "服务费", "amount_minor": -6}, "FEE", ""),
    ("payout", {"type": "提现", "amount_minor": -500}, "TRANSFER", ""),
    ("transfer", {"type": "转账", "amount_minor": 500}, "TRANSFER", ""),
    ("adjustment", {"type": "交易分账", "amount_minor": -5}, "SUBSIDY_ADJUST", ""),
    ("unknown type", {"type": "外星收费", "amount_minor": -5}, "EXCEPTION", "UNKNOWN_TYPE"),
    ("no order", {}, "EXCEPTION", "MISSING_ORDER"),
    ("destroyed number", {"order_no": "1.23E+17", "txn": ""}, "EXCEPTION", "LOSSY_ID"),
]


@pytest.mark.parametrize(
    ("more", "bucket", "code"), [c[1:] for c in LINES], ids=[c[0] for c in LINES]
)
def test_a_line_is_in_one_bucket(
    shop: Shop, tmp_path: Path, more: dict[str, Any], bucket: str, code: str
) -> None:
    amount = more.pop("amount_minor", 1000)
    found = run(shop, kit.flow(tmp_path, kit.sale("X1", amount, **more)))
    assert found.lines == {bucket: 1}
    assert kit.open_codes(shop) == ([code] if code else [])
    assert ledger.balance(shop.db, "wallet:main", "CNY") == amount
    assert ledger.balance(shop.db, "suspense:recon", "CNY") == (-amount if code else 0)
    _zero(shop)


def test_a_trade_number_finds_its_order_first(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1", ext_txn_id="TX")
    kit.put_order(shop.db, "A2")
    run(shop, kit.flow(tmp_path, kit.sale("A2", txn="TX")))
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    assert shop.db.value("SELECT pass FROM line_matches WHERE ended_ms IS NULL") == "P1"


def test_a_recorded_refund_number_finds_its_order(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "W1", account="wx", refunds=(1000,))
    rows = (
        WechatTrade(kit.day(0), "T1", "W1", 1000, fee_e5=600),
        WechatTrade(kit.day(0), "T9", "", status="REFUND", refund_id="5001", refund_no="RW1-0",
                    refund_minor=1000, fee_e5=-600),
    )  # fmt: skip
    run(shop, kit.trades(tmp_path, *rows), covers="2026-11-02..2026-11-10")
    assert kit.bucket(shop, "W1") == ("REFUNDED", "")
    passes = shop.db.all("SELECT pass FROM line_matches ORDER BY pass")
    assert [row["pass"] for row in passes] == ["P2", "P3"]


def test_two_orders_of_one_number_are_ambiguous(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    kit.put_order(shop.db, "A1", channel="shop2")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1")))
    assert found.lines == {"EXCEPTION": 1}
    assert "AMBIGUOUS" in kit.open_codes(shop)
    line = next(p for p in found.problems if p.code == "AMBIGUOUS")
    assert [c.order for c in recon.show(shop, line.id).candidates] == ["shop1:A1", "shop2:A1"]


def test_a_foreign_currency_is_no_match(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1", currency="USD")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1")))
    assert found.lines == {"EXCEPTION": 1}
    assert "CURRENCY_MISMATCH" in kit.open_codes(shop)


def test_two_identical_rows_settle_two_orders(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    kit.put_order(shop.db, "A2")
    found = run(shop, kit.flow(tmp_path, kit.sale("A1"), kit.sale("A2")))
    assert (found.lines, found.orders) == ({"MATCHED_SALE": 2}, {"SETTLED": 2})


def test_fees_and_coupons_of_trades(shop: Shop, tmp_path: Path) -> None:
    """The order is worth its full amount; coupon and fee are costs; a refund gives some back."""
    kit.put_order(shop.db, "W1", 1000, account="wx")
    kit.put_order(shop.db, "W2", 1000, account="wx", refunds=(400,))
    rows = (
        WechatTrade(kit.day(0), "T1", "W1", 1000, settle_minor=900, fee_e5=540_0),
        WechatTrade(kit.day(0), "T2", "W2", 1000, fee_e5=600_0),
        WechatTrade(kit.day(0), "T2", "W2", status="REFUND", refund_id="5001", refund_no="RW2-0",
                    refund_minor=400, fee_e5=-240_0),
    )  # fmt: skip
    found = run(shop, kit.trades(tmp_path, *rows), covers="2026-11-02..2026-11-10")
    assert found.exit_code == 0
    money = found.money
    assert (money.due_minor, money.refunded_minor) == (2000, 400)
    assert money.fees_minor == 100 + 5 + 6 - 2
    assert money.received_minor == 2000 - 400 - money.fees_minor
    assert ledger.balance(shop.db, "wallet:wx", "CNY") == money.received_minor
    assert ledger.balance(shop.db, "clearing:wx", "CNY") == 0
    assert ledger.balance(shop.db, "expense:discount", "CNY") == 100
    assert ledger.balance(shop.db, "expense:payment_fee", "CNY") == 9
    assert ledger.balance(shop.db, "income:sales", "CNY") == -1600
    _zero(shop)
