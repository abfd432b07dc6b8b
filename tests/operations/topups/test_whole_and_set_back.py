"""Top-ups in a shop that was set back: lines, numbers and orders that the send journal names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.demo_shop import DemoShop, Good
from kmtool.domain.states import RefundState
from kmtool.operations import topup
from kmtool.operations.deliver import deliver
from kmtool.operations.order_add import OrderWish, add
from kmtool.operations.order_changes import redeliver
from kmtool.operations.status import status
from kmtool.ports import LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, bought, refunded, settled, wish
from tests.operations.topups.test_lost_and_refunded import (
    OTHER,
    must_know_its_cost,
    sold_out,
)
from tests.operations.topups.test_lost_journal import lost
from tests.operations.topups.test_set_back import Opener
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier


def wanted(number: str, account: str) -> LineFact:
    return LineFact(number, "t1", "", "话费 10 元", 1, 1000, account)


@pytest.mark.parametrize(
    ("numbers", "journal"),
    [(("1", "2"), "here"), (("1", "2"), "lost"), (("900000000001", "900000000002"), "here")],
)
def test_lines_that_come_in_another_order_are_charged_once_each(
    shop: Shop, lab: DemoShop, opener: Opener, numbers: tuple[str, str], journal: str
) -> None:
    """A number names the place of its line: one account was charged twice, the other not at all."""
    one, two = wanted(numbers[0], PHONE), wanted(numbers[1], OTHER)
    file = saved(shop)
    pull(shop, order("A1", lines=(one,)))
    settled(shop, 2)
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1", lines=(two, one), revision_ms=again.now_ms()))
        settled(again, 14)
        assert (lab.supply.charged(PHONE), lab.supply.charged(OTHER)) == (1, 1)
        assert balances(again)["cost:topup"] == 1960 and broken(again) == []


@pytest.mark.parametrize(
    ("numbers", "journal"),
    [(("1", "2"), "here"), (("1", "2"), "lost"), (("900000000001", "900000000002"), "here")],
)
def test_a_line_whose_neighbour_left_the_order_is_charged_once(
    shop: Shop, lab: DemoShop, opener: Opener, numbers: tuple[str, str], journal: str
) -> None:
    """The second line had become the first: asked about by a wrong number, it was charged twice."""
    one, two = wanted(numbers[0], "13800138009"), wanted(numbers[1], PHONE)
    file = saved(shop)
    lab.supply.add_good(Good("TEL-10", "话费 10 元", 980, takes=r"1[0-9]{9}[0-8]"))
    pull(shop, order("A1", lines=(one, two)))
    settled(shop, 2)
    (before,) = lab.supply.orders.values()
    assert before.our_no.endswith("-2-1")
    without = (replace(one, quantity=0), two)
    pull(shop, order("A1", lines=without, revision_ms=shop.now_ms()))
    if journal == "lost":
        lost(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1", lines=without, revision_ms=again.now_ms()))
        settled(again, 14)
        assert [row["our_no"] for row in bought(again)] == [before.our_no]
        assert lab.supply.charged(PHONE) == 1 and balances(again)["cost:topup"] == 980
        assert broken(again) == []


def test_a_refunded_line_is_asked_about_though_its_account_does_not_fit(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """A person had given the account that was charged: its cost was missing after the refund."""
    file = saved(shop)
    pull(shop, wish(account="123"))
    deliver(shop)
    topup.set_account(shop, "A1", PHONE)
    settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, replace(refunded(again, RefundState.FULL), lines=wish(account="123").lines))
        settled(again, 14)
        assert lab.supply.charged(PHONE) == 1 and balances(again)["cost:topup"] == 980
        assert broken(again) == []


def test_what_an_earlier_refund_had_stopped_is_asked_about_too(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """The refund was withdrawn after the backup and it was bought: its cost was missing."""
    sold_out(shop, lab)
    pull(shop, refunded(shop, RefundState.OPEN))
    assert line(shop)["state"] == "refund_case"
    file = saved(shop)
    tick(shop, 1000)
    pull(shop, wish(revision_ms=shop.now_ms()))
    redeliver(shop, "A1")
    settled(shop, 2)
    back(shop, file, opener)
    with opener(shop.config) as again:
        must_know_its_cost(again, lab)


def test_an_order_that_no_channel_brings_again_is_told_of(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """The account was charged, its order is not here, and nobody was told."""
    file = saved(shop)
    pull(shop, wish())
    settled(shop, 2)
    back(shop, file, opener)
    outside().orders.clear()
    with opener(shop.config) as again:
        pull(again)
        assert not any("A1" in item.command for item in status(again).needs_you)
        tick(again, 86_400_000)
        assert [item.command for item in status(again).needs_you if "A1" in item.command] == [
            "kmtool order add --channel shop1 --number A1 --sku SKU --amount AMOUNT"
        ]
        add(again, OrderWish("shop1", "TEL", 1000, number="A1"))
        topup.set_account(again, "A1", PHONE)
        settled(again, 14)
        assert lab.supply.charged(PHONE) == 1 and balances(again)["cost:topup"] == 980
        assert broken(again) == []
