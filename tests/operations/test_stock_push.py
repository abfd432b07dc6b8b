"""Stock figures for channels: free − open demand − buffer, after a sync, only what changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.clock import ManualClock
from kmtool.errors import Retriable
from kmtool.operations.deliver import deliver
from kmtool.operations.stock_push import PushResult, push_stock
from kmtool.operations.sync import ChannelResult, sync_channel
from kmtool.shop import Shop
from tests.fakes import Fake, order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000


def pulled(shop: Shop, clock: ManualClock, *facts: object) -> ChannelResult:
    for fact in facts:
        world().orders[fact.number] = fact  # type: ignore[attr-defined]
    clock.advance(15_000)
    return sync_channel(shop, "shop1")


def told(item: str = "i1") -> int | None:
    return world().stock.get((item, ""))


def test_open_demand_of_all_channels_and_the_buffer_are_kept_back(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=20)
    with shop.db.tx():
        shop.db.run("UPDATE products SET buffer = 2")
    synced = pulled(shop, clock, order("A1", quantity=3, at_ms=START + 1))
    with shop.db.tx():  # the same product was sold elsewhere, not delivered yet
        shop.db.run("UPDATE orders SET channel = 'other'")
    world().orders.clear()
    assert push_stock(shop, synced) == PushResult("shop1", 1)
    assert told() == 20 - 3 - 2
    deliver(shop)
    assert push_stock(shop, pulled(shop, clock)) == PushResult("shop1", 0)
    assert told() == 15


def test_a_reserved_key_is_not_counted_twice(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=20)
    world().faults = ["down"]
    pulled(shop, clock, order("A1", at_ms=START + 1))
    deliver(shop)
    push_stock(shop, pulled(shop, clock))
    assert told() == 19


def test_units_divide_and_nothing_goes_below_zero(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=10, units=3)
    push_stock(shop, pulled(shop, clock))
    assert told() == 3
    push_stock(shop, pulled(shop, clock, order("A1", quantity=9, at_ms=START + 20_000)))
    assert told() == 0


def test_a_bundle_is_as_many_as_its_scarcest_part(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, "S1", n=10, item=None)
    shelf(shop, "S2", n=3, item=None)
    with shop.db.tx():
        shop.db.run(
            "INSERT INTO products SELECT 'B1', 'bundle', 'bundle', state, currency, NULL, NULL,"
            " NULL, 0, '', created_ms FROM products WHERE sku = 'S1'"
        )
        shop.db.run("INSERT INTO bundle_items VALUES ('B1', 'S1', 4), ('B1', 'S2', 1)")
        shop.db.run(
            "INSERT INTO listings (channel, item_id, variant_id, title, sku, units, state)"
            " VALUES ('shop1', 'b1', '', '', 'B1', 1, 'on')"
        )
    push_stock(shop, pulled(shop, clock))
    assert told("b1") == 2


def test_only_changes_are_told_and_what_sold_meanwhile(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=10)
    assert push_stock(shop, pulled(shop, clock)).pushed == 1
    assert push_stock(shop, pulled(shop, clock)).pushed == 0
    world().stock["i1", ""] = 9  # the channel counted a sale down by itself
    synced = pulled(shop, clock, order("A1", at_ms=START + 40_000))
    shelf(shop, n=1, prefix="KEY-more")
    assert push_stock(shop, synced).pushed == 1
    assert told() == 10


def test_a_product_that_is_off_is_told_as_none(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=10)
    with shop.db.tx():
        shop.db.run("UPDATE products SET state = 'off'")
    push_stock(shop, pulled(shop, clock))
    assert told() == 0


def test_nothing_is_told_without_a_sync_just_before(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=10)
    synced = pulled(shop, clock)
    assert push_stock(shop, replace(synced, error="time-out")).skipped
    clock.advance(61_000)
    assert push_stock(shop, synced).skipped
    off = replace(shop.config, sync=replace(shop.config.sync, push_stock=False))
    assert push_stock(replace(shop, config=off), pulled(shop, clock)).skipped
    assert told() is None


def test_a_failed_push_is_tried_again_next_time(
    shop: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=10)

    def down(_self: Fake, _items: object) -> None:
        assert not shop.db.in_tx
        raise Retriable(who="fake", detail="no route")

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "push_stock", down)
        result = push_stock(shop, pulled(shop, clock))
        assert (result.pushed, result.failed) == (0, 1)
        assert "no route" in result.error
    assert push_stock(shop, pulled(shop, clock)).pushed == 1
    assert told() == 10
