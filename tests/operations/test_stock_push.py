"""Stock figures for channels: free − open demand − buffer, after a sync, only what changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus
from kmtool.errors import Retriable
from kmtool.operations.deliver import deliver
from kmtool.operations.stock_push import PushResult, push_stock
from kmtool.operations.sync import ChannelResult, sync_channel
from kmtool.shop import Shop
from kmtool.store import holds
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
            "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
            " VALUES ('B1', 'bundle', 'bundle', 'on', 'CNY', 0, '', 1)"
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


def kind_of(shop: Shop, sku: str, kind: str, item: str) -> None:
    """Put a product of another kind on offer."""
    with shop.db.tx():
        shop.db.run(
            "INSERT INTO products (sku, title, kind, state, currency, buffer, guide, created_ms)"
            " VALUES (:sku, :sku, :kind, 'on', 'CNY', 0, '', 1)",
            sku=sku,
            kind=kind,
        )
        shop.db.run(
            "INSERT INTO listings (channel, item_id, variant_id, title, sku, units, state)"
            " VALUES ('shop1', :item, '', '', :sku, 1, 'on')",
            item=item,
            sku=sku,
        )


def test_a_text_without_limit_is_told_as_the_figure_that_is_set(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=3, item=None)
    kind_of(shop, "T1", "text", "t1")
    kind_of(shop, "B1", "bundle", "b1")
    kind_of(shop, "B2", "bundle", "b2")
    kind_of(shop, "B3", "bundle", "b3")
    kind_of(shop, "U1", "topup", "u1")
    with shop.db.tx():
        shop.db.run(
            "INSERT INTO bundle_items VALUES ('B1', 'S1', 1), ('B1', 'T1', 5), ('B2', 'T1', 1)"
        )
    nothing = replace(shop.config, sync=replace(shop.config.sync, unlimited=0))
    push_stock(replace(shop, config=nothing), pulled(shop, clock))
    assert (told("t1"), told("b1"), told("b2"), told("b3")) == (None, 3, None, 0)
    push_stock(shop, pulled(shop, clock))
    assert (told("t1"), told("b1"), told("b2"), told("u1")) == (999, 3, 999, None)


def test_a_key_with_several_uses_counts_as_many(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=2)
    with shop.db.tx():
        shop.db.run("UPDATE keys SET uses_left = 5, uses = 5")
        shop.db.run("UPDATE stock SET free = 10")
    push_stock(shop, pulled(shop, clock))
    assert told() == 10


@pytest.mark.parametrize(("lowered", "here"), [(True, 7), (False, 10)])
def test_unpaid_orders_are_left_out_unless_their_channel_keeps_them_apart(
    lowered: bool, here: int, shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=10)
    unpaid = order("A1", quantity=3, status=OrderStatus.UNPAID, stock_lowered=lowered)
    push_stock(shop, pulled(shop, clock, unpaid))
    assert told() == here
    assert holds.unpaid(shop.db, "shop2", shop.now_ms()) == {"S1": 3}, "others leave it out"
    paid = order("A1", quantity=3, at_ms=START + 15_000)
    push_stock(shop, pulled(shop, clock, paid))
    assert told() == 7, "paid, it is open demand, once"


def test_an_unpaid_order_that_was_not_paid_in_time_is_on_offer_again(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=10)
    unpaid = order("A1", quantity=3, status=OrderStatus.UNPAID, stock_lowered=True)
    push_stock(shop, pulled(shop, clock, unpaid))
    clock.advance(900_000)
    push_stock(shop, pulled(shop, clock))
    assert told() == 10
    assert shop.db.value("SELECT held FROM stock") == 0
