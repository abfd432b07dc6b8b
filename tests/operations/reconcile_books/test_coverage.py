"""Nothing is accused of missing before a statement covers its day."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.statements.synthetic import WechatTrade
from kmtool.clock import ManualClock
from kmtool.errors import UsageError
from kmtool.operations.statements import Answers, take_in
from kmtool.shop import Shop
from tests.operations import recon_kit as kit
from tests.operations.reconcile_books.runs import run


def test_no_accusation_without_coverage(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1")
    found = run(shop)
    assert kit.bucket(shop, "A1") == ("NOT_DUE", "coverage")
    assert [(p.code, p.subject) for p in found.problems] == [
        ("COVERAGE_GAP", "days:main:2026-11-02..2026-11-04")
    ]
    assert found.money.not_due_minor == 1000
    found = run(shop, kit.flow(tmp_path, days=(0, 2)))
    assert [p.subject for p in found.problems] == ["days:main:2026-11-04..2026-11-04"]
    assert kit.bucket(shop, "A1") == ("NOT_DUE", "coverage")
    found = run(shop, kit.flow(tmp_path, days=(2, 3)))
    assert kit.open_codes(shop) == ["MISSING_PAYOUT"]
    assert found.money.missing_minor == 1000


def test_gaps_of_neighbouring_days_are_one(shop: Shop) -> None:
    kit.put_order(shop.db, "A1", at=kit.day(0))
    kit.put_order(shop.db, "A2", at=kit.day(2))
    kit.put_order(shop.db, "A3", at=kit.day(10))
    subjects = sorted(p.subject for p in run(shop).problems)
    assert subjects == ["days:main:2026-11-02..2026-11-06", "days:main:2026-11-12..2026-11-14"]


def test_a_refund_waits_for_coverage_too(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "A1", refunds=(300,))
    shop.db.run("UPDATE refunds SET at_ms = :at", at=kit.day(8))
    run(shop, kit.flow(tmp_path, kit.sale("A1"), days=(0, 9)))
    assert kit.bucket(shop, "A1") == ("SETTLED", "")
    assert kit.open_codes(shop) == ["COVERAGE_GAP"]
    run(shop, kit.flow(tmp_path, days=(9, 11)))
    assert kit.open_codes(shop) == ["REFUND_MISSING"]


def test_the_day_of_payment_is_the_shops(shop: Shop, tmp_path: Path, clock: ManualClock) -> None:
    """Paid at 23:59:30 of the 3rd and settled 00:00:20 of the 4th: the 3rd decides what is due."""
    late = kit.day(2, 0) - 30_000
    kit.put_order(shop.db, "A1", at=late)
    clock.set(kit.day(3, 0) - 1)
    run(shop, kit.flow(tmp_path, days=(1, 2)))
    assert kit.bucket(shop, "A1") == ("NOT_DUE", "lag")
    clock.set(kit.day(3, 0))
    run(shop)
    assert kit.bucket(shop, "A1") == ("NOT_DUE", "coverage")
    run(shop, kit.flow(tmp_path, kit.sale("A1", at_ms=late + 50_000), days=(2, 3)))
    assert kit.bucket(shop, "A1") == ("SETTLED", "")


def test_a_bill_without_period_covers_what_is_stated(shop: Shop, tmp_path: Path) -> None:
    kit.put_order(shop.db, "W1", account="wx", at=kit.day(1))
    path = kit.trades(tmp_path, WechatTrade(kit.day(1), "T1", "other", 5))
    run(shop, path)
    assert kit.bucket(shop, "W1") == ("NOT_DUE", "coverage")
    run(shop, path, covers="2026-11-03..2026-11-04")
    assert kit.bucket(shop, "W1") == ("NOT_DUE", "coverage"), "a day of lag, a day to publish"
    run(shop, path, covers="2026-11-05")
    assert kit.bucket(shop, "W1") == ("EXCEPTION", "MISSING_PAYOUT")
    with pytest.raises(UsageError):
        run(shop, path, covers="yesterday")


def test_a_day_that_was_not_over_is_not_covered(shop: Shop, tmp_path: Path) -> None:
    kit.flow(tmp_path)
    path = kit.flow(tmp_path, days=(0, 5), exported_ms=kit.day(3))
    take_in(shop, [path], Answers())
    days = [row["day"] for row in shop.db.all("SELECT day FROM coverage ORDER BY day")]
    assert days == ["2026-11-02", "2026-11-03", "2026-11-04"]
