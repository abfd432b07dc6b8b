"""Drains by bursts, of one buyer or many, and by the clock: the brakes stop them in time.

Every scenario has plenty of stock, drives pull and delivery as the daemon does, and counts at the
buyers how many keys left (limits in drain_kit.py). Honest orders still go, before and after.
"""

from __future__ import annotations

from functools import partial

import pytest

from kmtool.app import open_shop
from tests.operations import test_drains
from tests.operations.drain_kit import (
    BUYER_MAX,
    HOUR_MS,
    MINUTE_MS,
    SKU_MAX,
    Drain,
    Scenario,
    stops,
)
from tests.operations.drain_kit import drain as drain
from tests.operations.drain_kit import scenario as added

SCENARIOS: list[Scenario] = []
scenario = partial(added, SCENARIOS)


@scenario(BUYER_MAX, BUYER_MAX, in_one_page=True, one_after_the_other=False)
def burst_of_one_buyer(drain: Drain, at_once: bool) -> None:
    drain.stock()
    drain.flood(20, at_once=at_once, buyer="b-greedy")
    drain.honest()


@scenario(BUYER_MAX, 2)
def burst_of_one_buyer_in_pairs(drain: Drain) -> None:
    drain.stock()
    drain.flood(10, buyer="b-greedy", quantity=2, amount=2000)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_over_products(drain: Drain) -> None:
    for i in (1, 2, 3, 4):
        drain.stock(f"S{i}", item=f"i{i}")
    for i in (1, 2, 3, 4):
        drain.flood(5, buyer="b-greedy", item=f"i{i}")
    drain.honest()


@scenario(BUYER_MAX, 1)
def burst_of_one_buyer_in_the_lines_of_an_order(drain: Drain) -> None:
    drain.stock()
    drain.stock("S2", item="i2")
    many = [("i1", 1, 1000), ("i2", 1, 1000)] * 5
    drain.flood(2, buyer="b-greedy", lines=many)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_over_listings(drain: Drain) -> None:
    drain.stock()
    drain.stock(item="i9")
    for item in ("i1", "i9"):
        drain.flood(10, buyer="b-greedy", item=item)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_known_by_name_only(drain: Drain) -> None:
    drain.stock()
    drain.flood(20, buyer_name="demo_greedy")
    drain.honest()


@scenario(2 * BUYER_MAX, 2 * BUYER_MAX)
def burst_of_one_buyer_over_channels(drain: Drain) -> None:
    """A buyer's id is the channel's own: two channels know two buyers."""
    drain.stock()
    drain.stock(channel="shop2")
    for channel in ("shop1", "shop2"):
        drain.flood(10, buyer="b-greedy", channel=channel)
    drain.honest()


@scenario(SKU_MAX, SKU_MAX, in_one_page=True, one_after_the_other=False)
def burst_of_many_buyers(drain: Drain, at_once: bool) -> None:
    drain.stock()
    drain.stock("S2", item="i2")
    drain.flood(20, at_once=at_once)
    drain.honest("i2")


@scenario(SKU_MAX, SKU_MAX)
def burst_of_many_buyers_over_listings(drain: Drain) -> None:
    drain.stock()
    drain.stock(item="i9")
    for item in ("i1", "i9"):
        drain.flood(15, item=item)


@scenario(SKU_MAX, SKU_MAX)
def burst_of_many_buyers_over_channels(drain: Drain) -> None:
    drain.stock()
    drain.stock(channel="shop2")
    for channel in ("shop1", "shop2"):
        drain.flood(15, channel=channel)


@scenario(SKU_MAX, 6)
def burst_of_a_listing_of_several_pieces(drain: Drain) -> None:
    drain.stock(units=3)
    drain.flood(20, amount=3000)


@scenario(3 * SKU_MAX, 3 * SKU_MAX)
def burst_over_three_products(drain: Drain) -> None:
    for i in (1, 2, 3):
        drain.stock(f"S{i}", item=f"i{i}")
    drain.flood(12, item="i1")
    drain.flood(12, item="i2")
    drain.flood(12, item="i3")


@scenario(2, 2)
def value_of_a_product_in_an_hour(drain: Drain) -> None:
    drain.stock(cost_e5=5_000_000)
    drain.flood(20, amount=10_000)


@scenario(0)
def value_of_one_order(drain: Drain) -> None:
    drain.stock()
    drain.flood(5, amount=20_001)
    drain.honest()


def bundled(drain: Drain, units: int = 2) -> None:
    """B1 (item ib) is made of `units` keys of S1."""
    drain.stock()
    drain.stock("B1", 0, item="ib")
    with drain.shop.db.tx():
        drain.shop.db.run("UPDATE products SET kind = 'bundle' WHERE sku = 'B1'")
        drain.shop.db.run("INSERT INTO bundle_items VALUES ('B1', 'S1', :n)", n=units)


@scenario(0, by_a_little=999, by_far=1)
def bundle_below_cost(drain: Drain, amount: int) -> None:
    bundled(drain)
    drain.flood(20, item="ib", amount=amount)
    drain.honest()


@scenario(SKU_MAX, SKU_MAX)
def burst_of_a_bundle(drain: Drain) -> None:
    bundled(drain)
    drain.flood(20, item="ib", amount=2000)


@scenario(SKU_MAX, SKU_MAX)
def burst_of_a_bundle_and_of_its_part(drain: Drain) -> None:
    bundled(drain)
    drain.flood(3, item="ib", amount=2000)
    drain.flood(10)
    drain.flood(10, item="ib", amount=2000)


@scenario(0)
def bundle_of_too_many_keys(drain: Drain) -> None:
    bundled(drain, units=SKU_MAX + 1)
    drain.flood(5, item="ib", amount=15_000)
    drain.honest()


@scenario(2 * SKU_MAX, SKU_MAX)
def clock_jumps_ahead(drain: Drain) -> None:
    """An hour is the clock's hour: a jump gives one more, never more than one."""
    drain.stock()
    drain.flood(12)
    drain.wait(2 * HOUR_MS)
    drain.flood(12)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX)
def clock_jumps_back(drain: Drain) -> None:
    drain.stock()
    drain.flood(12)
    drain.wait(-30 * MINUTE_MS)
    drain.flood(12)
    drain.wait(31 * MINUTE_MS)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX, after_10_minutes=10, after_30_minutes=30, after_59_minutes=59)
def burst_in_two_waves(drain: Drain, minutes: int) -> None:
    drain.stock()
    drain.flood(6)
    drain.wait(minutes * MINUTE_MS - 10_000)
    drain.flood(12)


@scenario(2 * SKU_MAX, 2 * SKU_MAX)
def an_hour_later_as_many_may_leave(drain: Drain) -> None:
    drain.stock()
    drain.flood(12)
    drain.wait(62 * MINUTE_MS)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX)
def restart_between(drain: Drain) -> None:
    drain.stock()
    drain.flood(6)
    with open_shop(drain.shop.config, clock=drain.shop.clock) as again:
        first, drain.shop = drain.shop, again
        drain.flood(12)
        drain.shop = first
    drain.flood(6)


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.name)
def test_a_drain_stops_within_the_limit(drain: Drain, case: Scenario) -> None:
    stops(drain, case)


def test_there_are_fifty_of_them() -> None:
    names = [case.name for case in (*SCENARIOS, *test_drains.SCENARIOS)]
    assert len(names) == len(set(names)) >= 50
