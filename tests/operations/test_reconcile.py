"""Reconcile: statements against orders, exactly, and twice as once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
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
