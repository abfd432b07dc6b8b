"""A top-up that a person had looked at again: however it ends, its line ends with it."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.operations import purchase_records
from kmtool.operations.order_changes import redeliver
from kmtool.operations.status import status
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, effects, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.topups.kit import PHONE, bought, settled, told, wish
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier

HOUR_MS = 3_600_000


def delivered(shop: Shop, lab: DemoShop) -> bool:
    assert lab.supply.charged(PHONE) == 1 and balances(shop)["cost:topup"] == 980
    assert broken(shop) == []
    return line(shop)["state"] == "delivered" and "A1" in outside().shipped and PHONE in told()


def slow(shop: Shop, lab: DemoShop) -> None:
    """The supplier has it for a day and is not done: 26 hours are what it takes."""
    lab.supply.delay_ms = 26 * HOUR_MS
    pull(shop, wish())
    settled(shop, 2)
    tick(shop, 25 * HOUR_MS)
    settled(shop, 2)
    assert line(shop)["state"] == "human" and "for a day" in line(shop)["reason"]


def test_what_is_done_by_then_is_delivered(shop: Shop, lab: DemoShop) -> None:
    """The purchase was done, and its line stayed reserved for ever, never marked shipped."""
    slow(shop, lab)
    tick(shop, 2 * HOUR_MS)
    redeliver(shop, "A1")
    settled(shop, 3)
    assert delivered(shop, lab)


def test_what_is_still_slow_waits_for_a_person_again(shop: Shop, lab: DemoShop) -> None:
    """The line stayed reserved while nothing looked at it any more, and nobody was told."""
    slow(shop, lab)
    redeliver(shop, "A1")
    settled(shop, 3)
    assert line(shop)["state"] == effects(shop, "purchase")[0]["state"] == "human"
    assert [item.command for item in status(shop).needs_you] == ["kmtool order redeliver A1"]
    tick(shop, 2 * HOUR_MS)
    redeliver(shop, "A1")
    settled(shop, 3)
    assert delivered(shop, lab)


@pytest.mark.parametrize("sort", ["neither"], indirect=True)
@pytest.mark.parametrize("minor", [980, 0])
def test_what_a_person_says_before_the_repetition_ends_it(
    shop: Shop, lab: DemoShop, sort: str, minor: int
) -> None:
    """`order charged` after `order redeliver`: the purchase was done, its line stayed reserved."""
    lab.fail("place", "lost_reply" if minor else "closed_before")
    pull(shop, wish())
    settled(shop, 3)
    assert line(shop)["state"] == "human" and bought(shop)[0]["state"] == "unknown"
    redeliver(shop, "A1")
    purchase_records.settle_charged(shop, "A1", "looked there", minor)
    settled(shop, 3)
    if not minor:
        assert line(shop)["state"] == "human" and lab.supply.orders == {}
        redeliver(shop, "A1")
        settled(shop, 3)
    assert delivered(shop, lab) and len(lab.supply.orders) == 1
