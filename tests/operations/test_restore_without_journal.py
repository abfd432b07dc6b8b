"""A backup put back while the send journal is gone: no key is sold until a person gives a proof."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.errors import NotFound, UsageError
from kmtool.operations import doctor, home
from kmtool.operations.deliver import deliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.stock_back import reconcile_stock
from kmtool.ports import RefundFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, run_on, tick
from tests.operations.import_kit import bring
from tests.operations.stock import shelf
from tests.operations.test_restore import Opener, back, saved
from tests.operations.test_restore import dump_tools as dump_tools


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


def test_without_a_journal_all_free_keys_wait_for_a_proof(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    keys = shelf(shop, n=4)
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    sold = tmp_path / "sold.txt"
    sold.write_text("\n".join(keys_at("A1")) + "\n", encoding="utf-8")
    shop.journal.path.unlink()
    home.home_path(shop.journal.path).unlink()
    done = back(shop, file, opener)
    assert not done.settled.journal and done.settled.quarantined == 4
    outside().orders.clear()
    run_on(shop)
    pull(shop, order("A2", at_ms=shop.now_ms()))
    assert deliver(shop).held == {"stock": 1}
    with pytest.raises(UsageError, match="proof"):
        reconcile_stock(shop, [sold], " ")
    found = reconcile_stock(shop, [sold], "compared with the channel's orders")
    assert (found.freed, found.sold, found.stay) == (3, 1, 0)
    with pytest.raises(NotFound):
        reconcile_stock(shop, [], "again")
    assert deliver(shop).delivered == 1
    assert keys_at("A2") <= set(keys) - keys_at("A1")
    assert broken(shop) == []


def test_without_a_journal_a_file_brought_in_again_waits_for_the_proof_too(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """It came after the backup: unknown here, and one of its keys was sold."""
    text = "\n".join(f"KEY-S1-0900{n}" for n in range(4)) + "\n"
    shelf(shop, n=0)
    file = saved(shop)
    bring(shop, text)
    pull(shop, order("A1"))
    deliver(shop)
    assert keys_at("A1") == {"KEY-S1-09000"}
    shop.journal.path.unlink()
    home.home_path(shop.journal.path).unlink()
    assert not back(shop, file, opener).settled.journal
    assert "stock_back" in {check.name for check in doctor.house_checks(shop) if not check.ok}
    again = bring(shop, text).files[0]
    assert (again.accepted, again.out_of_sale) == (4, 4)
    sold = tmp_path / "sold.txt"
    sold.write_text("KEY-S1-09000\n", encoding="utf-8")
    found = reconcile_stock(shop, [sold], "compared with the channel's orders")
    assert (found.freed, found.sold, found.stay) == (3, 1, 0)
    assert bring(shop, "KEY-S1-09009\n").files[0].out_of_sale == 0
    assert "stock_back" not in {c.name for c in doctor.house_checks(shop) if not c.ok}
    assert broken(shop) == []


def test_a_replacement_that_waited_in_the_backup_keeps_no_key(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """Its key went back to the shelf and to another buyer since, and left a second time."""
    shelf(shop, n=4)
    one = order("A1")
    pull(shop, one)
    deliver(shop)
    replace(shop, "A1", ReplaceWish(reason="dead"))
    file = saved(shop)
    tick(shop, 10_000)
    facts = (RefundFact("R1", 1000, "open", shop.now_ms()),)
    asked = changed(one, revision_ms=shop.now_ms(), refund=RefundState.OPEN, refunds=facts)
    pull(shop, asked)
    pull(shop, order("B1"))
    deliver(shop)
    assert len(keys_at("B1")) == 1
    tick(shop, 10_000)
    pull(shop, changed(one, revision_ms=shop.now_ms()))
    shop.journal.path.unlink()
    home.home_path(shop.journal.path).unlink()
    assert not back(shop, file, opener).settled.journal
    with opener(shop.config) as again:
        pull(again)
        run_on(again)
        assert keys_at("A1").isdisjoint(keys_at("B1"))
        assert line(again, "A1")["state"] == "human"
        assert broken(again) == []
        sold = tmp_path / "sold.txt"
        sold.write_text("\n".join(keys_at("A1") | keys_at("B1")) + "\n", encoding="utf-8")
        reconcile_stock(again, [sold], "compared with the channel's orders")
        run_on(again)
        assert line(again, "A1")["state"] == "delivered", "the buyer still gets another key"
        assert keys_at("A1").isdisjoint(keys_at("B1"))
