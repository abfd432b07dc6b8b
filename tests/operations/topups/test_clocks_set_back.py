"""Top-ups after a restore without the journal, where the clock of the machine had been wrong."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.clock import ManualClock
from kmtool.operations import purchase_records
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, line, pull, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, bought, settled, wish
from tests.operations.topups.test_lost_journal import lost
from tests.operations.topups.test_set_back import Opener, must_be_charged_once
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier

HOUR, DAY = 3_600_000, 86_400_000


@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_a_restore_under_a_clock_that_is_ahead_does_not_have_it_asked_without_end(
    shop: Shop, lab: DemoShop, clock: ManualClock, opener: Opener, sort: str
) -> None:
    """The moment of every answer lay before that of the restore: the top-up was never bought."""
    file = saved(shop)
    right = shop.now_ms()
    lost(shop)
    tick(shop, 30 * DAY)
    back(shop, file, opener)
    clock.set(right + HOUR)
    with opener(shop.config) as again:
        pull(again, wish())
        settled(again, 20)
        if sort == "neither":
            assert line(again)["state"] == "human" and lab.supply.orders == {}
            purchase_records.settle_charged(again, "A1", "nothing there", 0)
            redeliver(again, "A1")
            settled(again, 20)
        assert line(again)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
        assert balances(again)["cost:topup"] == 980 and broken(again) == []


@pytest.mark.parametrize("sort", ["neither"], indirect=True)
def test_what_was_tried_under_a_clock_that_was_ahead_is_looked_for_before_it_is_bought(
    shop: Shop, lab: DemoShop, clock: ManualClock, opener: Opener, sort: str
) -> None:
    """A try that seems to lie after the restore must not pass for one that was made since."""
    right = shop.now_ms()
    pull(shop, wish())
    tick(shop, DAY)
    with lab.offline():
        deliver(shop)
    assert bought(shop)[0]["state"] == "planned"
    file = saved(shop)
    settled(shop, 25)
    (before,) = bought(shop)
    assert lab.supply.charged(PHONE) == 1
    clock.set(right + HOUR)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        settled(again, 14)
        tick(again, DAY)
        must_be_charged_once(again, lab, sort, before["our_no"])


@pytest.mark.parametrize("sort", ["neither"], indirect=True)
def test_a_word_given_under_a_clock_that_was_ahead_does_not_stand_after_the_next_loss(
    shop: Shop, lab: DemoShop, clock: ManualClock, opener: Opener, sort: str
) -> None:
    """Who had looked before the first loss must not have spoken of what was bought since."""
    file = saved(shop)
    right = shop.now_ms()
    lost(shop)
    tick(shop, DAY)
    back(shop, file, opener)
    with opener(shop.config) as first:
        pull(first, wish(revision_ms=first.now_ms()))
        settled(first, 4)
        purchase_records.settle_charged(first, "A1", "nothing there", 0)
        file = saved(first)
        redeliver(first, "A1")
        settled(first, 2)
        assert lab.supply.charged(PHONE) == 1
        before = bought(first)[-1]
    lost(shop)
    clock.set(right + HOUR)
    back(shop, file, opener)
    with opener(shop.config) as again:
        redeliver(again, "A1")
        settled(again, 14)
        tick(again, DAY)
        must_be_charged_once(again, lab, sort, before["our_no"])
