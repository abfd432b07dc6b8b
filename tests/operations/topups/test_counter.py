"""Top-ups of orders that were written by hand for the counter, in a shop that was set back."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import COUNTER
from kmtool.operations import order_add, topup
from kmtool.operations.order_add import OrderWish
from kmtool.operations.status import status
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, line, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, settled
from tests.operations.topups.test_lost_journal import lost
from tests.operations.topups.test_set_back import Opener
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier

OTHER = "13800138002"
LATER_MS = 3_600_000


def by_hand(shop: Shop, account: str, number: str = "", rounds: int = 14) -> str:
    wish = OrderWish(sku="TEL", channel=COUNTER, amount_minor=1000, number=number)
    made = order_add.add(shop, wish)
    topup.set_account(shop, made.number, account)
    settled(shop, rounds)
    return made.number


@pytest.mark.parametrize("journal", ["here", "lost"])
def test_the_next_order_by_hand_is_not_the_one_that_was_lost(
    shop: Shop, lab: DemoShop, opener: Opener, journal: str
) -> None:
    """It got the lost one's number, so the other buyer's charge was taken for its own."""
    file = saved(shop)
    first = by_hand(shop, PHONE)
    assert line(shop, first)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        second, third = by_hand(again, OTHER, rounds=2), by_hand(again, OTHER, rounds=2)
        assert len({first, second, third}) == 3
        assert {line(again, one)["state"] for one in (second, third)} == {"delivered"}
        assert (lab.supply.charged(PHONE), lab.supply.charged(OTHER)) == (1, 2)


def test_no_number_is_given_twice_though_the_journal_is_lost_twice(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """The second loss forgets what was bought since the first."""
    file, numbers = saved(shop), []
    for _ in range(3):
        with opener(shop.config) as again:
            numbers.append(by_hand(again, PHONE, rounds=2))
            assert line(again, numbers[-1])["state"] == "delivered"
        lost(shop)
        back(shop, file, opener)
    assert len(set(numbers)) == 3 and lab.supply.charged(PHONE) == 3


def test_an_order_that_is_gone_is_asked_for_and_found_by_its_number(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """Nobody told the owner of a charge whose order no channel brings again."""
    file = saved(shop)
    first = by_hand(shop, PHONE)
    back(shop, file, opener)
    with opener(shop.config) as again:
        command = f"kmtool order add --number {first} --sku SKU --amount AMOUNT"
        (found,) = [one for one in status(again).needs_you if one.command == command]
        assert "toplab may have charged" in found.what and found.amount_minor == 980
        assert by_hand(again, PHONE, first) == first
        assert line(again, first)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
        assert balances(again)["cost:topup"] == 980 and broken(again) == []
        assert all(one.command != command for one in status(again).needs_you)


@pytest.mark.parametrize("sort", ["asked", "neither"], indirect=True)
def test_an_order_written_down_again_without_a_journal_is_asked_about(
    shop: Shop, lab: DemoShop, opener: Opener, sort: str
) -> None:
    """An hour after the restore it was taken for a new one, and charged once more."""
    file = saved(shop)
    first = by_hand(shop, PHONE)
    lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        tick(again, LATER_MS)
        by_hand(again, PHONE, first)
        expected = "delivered" if sort == "asked" else "human"
        assert line(again, first)["state"] == expected and lab.supply.charged(PHONE) == 1
