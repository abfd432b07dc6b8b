"""What reconcile books: payouts, changed orders, trades and flows, late lines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from adapters.statements.synthetic import WechatTrade
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import Broken
from kmtool.operations.statements import Answers, take_in
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.operations import recon_kit as kit
from tests.operations.reconcile_books.runs import run


def test_payouts_and_the_opening_balance(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    config = make_config(kit.ACCOUNTS.replace('"alipay"', '"alipay"\nopening = "5.00"', 1))
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        kit.put_order(shop.db, "A1")
        out = kit.sale("-", -800, type="提现")
        run(shop, kit.flow(tmp_path, kit.sale("A1"), out))
        assert ledger.balance(shop.db, "wallet:main", "CNY") == 500 + 1000 - 800
        assert ledger.balance(shop.db, "transit:main", "CNY") == 800
        assert ledger.balance(shop.db, "equity:opening:main", "CNY") == -500
        assert [a.changes for a in run(shop).accounts] == [0, 0]


def test_an_order_that_changes_is_booked_anew(shop: Shop) -> None:
    kit.put_order(shop.db, "A1")
    run(shop)
    shop.db.run("UPDATE orders SET expected_gross_minor = 1200")
    run(shop)
    assert ledger.balance(shop.db, "income:sales", "CNY") == -1200
    entries = shop.db.all("SELECT event, ref FROM ledger_entries ORDER BY id")
    assert [(e["event"], e["ref"][:9]) for e in entries][::2] == [
        ("order_paid", "shop1:A1"),
        ("order_paid", "shop1:A1@"),
    ]
    assert entries[1]["event"] == "reversal"


def test_orders_of_no_account_are_booked_and_out_of_scope(shop: Shop) -> None:
    kit.put_order(shop.db, "M1", account="", channel="sale")
    assert run(shop).exit_code == 0
    assert kit.bucket(shop, "M1") == ("OUT_OF_SCOPE", "account")
    assert ledger.balance(shop.db, "clearing:sale", "CNY") == 1000
    before = kit.counts(shop.db)
    run(shop)
    assert kit.counts(shop.db) == before


def test_trades_and_flows_of_one_account(
    make_config: Any, clock: ManualClock, tmp_path: Path
) -> None:
    """Trades decide about the order, movements about the wallet; in between nothing stays."""
    config = make_config(kit.ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        kit.put_order(shop.db, "A1")
        move = kit.sale("A1")
        run(shop, kit.flow(tmp_path, move))
        row = WechatTrade(kit.day(0), move.txn, "A1", 1000)
        found = run(
            shop, kit.trades(tmp_path, row), account="main", covers="2026-11-02..2026-11-20"
        )
        assert found.lines["MATCHED_SALE"] == 2
        assert kit.bucket(shop, "A1") == ("SETTLED", "")
        assert ledger.balance(shop.db, "wallet:main", "CNY") == 1000
        assert ledger.balance(shop.db, "wallet_transit:main", "CNY") == 0
        assert ledger.balance(shop.db, "clearing:main", "CNY") == 0


def test_a_broken_invariant_undoes_the_run(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.put_order(shop.db, "A1")
    take_in(shop, [kit.flow(tmp_path, kit.sale("A1"))], Answers())
    before = kit.counts(shop.db)
    entry = shop.db.value(
        "INSERT INTO ledger_entries (at_ms, event, ref, note) VALUES (1, 'x', 'x', '') RETURNING id"
    )
    shop.db.run(
        "INSERT INTO ledger_postings (entry_id, account, currency, amount_minor)"
        " VALUES (:e, 'wallet:main', 'CNY', 1)",
        e=entry,
    )
    with pytest.raises(Broken, match="I5"):
        run(shop)
    shop.db.run("DELETE FROM ledger_postings")
    shop.db.run("DELETE FROM ledger_entries")
    assert kit.counts(shop.db) == before


def test_a_late_line_in_a_large_shop_costs_one_pass(shop: Shop, tmp_path: Path) -> None:
    """What changed must not be looked up row by row among all that did not."""
    with shop.db.tx():
        for n in range(3000):
            kit.put_order(shop.db, f"A{n}")
    run(shop, kit.flow(tmp_path, *(kit.sale(f"A{n}") for n in range(2999))))
    shop.db.run("UPDATE orders SET expected_gross_minor = 1001 WHERE number = 'A1'")
    late = kit.flow(tmp_path, kit.sale("A2999"), kit.sale("A1", 1))
    started = time.perf_counter()
    changed = run(shop, late)
    needed = time.perf_counter() - started
    started = time.perf_counter()
    assert [a.changes for a in run(shop).accounts] == [0, 0]
    idle = time.perf_counter() - started
    assert changed.exit_code == 0
    assert needed < 10 * idle + 1, f"{needed:.1f} s for two lines, {idle:.1f} s for none"
