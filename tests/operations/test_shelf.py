"""A listing that ran out is taken off the shelf and comes back; what the owner hid stays hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.errors import Retriable
from kmtool.operations import shelf as guard
from kmtool.operations.shelf import ShelfResult
from kmtool.operations.sync import sync_channel
from kmtool.ports import Item
from kmtool.shop import Shop
from tests.fakes import Fake, order, world
from tests.operations.stock import shelf

I1 = ("i1", "")
ON_SHELF = "shelf = true"


@pytest.fixture
def guarded(make_config: Any, shop: Shop) -> Shop:
    """A shop whose channel has its shelf kept."""
    return replace(shop, config=make_config(ON_SHELF))


def look(shop: Shop, clock: ManualClock, *facts: Any) -> ShelfResult:
    """Sync and let the guard look."""
    for fact in facts:
        world().orders[fact.number] = fact
    clock.advance(15_000)
    return guard.guard(shop, sync_channel(shop, "shop1"))


def is_on() -> bool:
    return I1 not in world().hidden


def free(shop: Shop, n: int) -> None:
    with shop.db.tx():
        shop.db.run("UPDATE stock SET free = :n", n=n)


def moves(shop: Shop) -> list[tuple[str, str]]:
    rows = shop.db.all("SELECT wanted, state FROM shelf_moves ORDER BY id")
    return [(row["wanted"], row["state"]) for row in rows]


def test_it_goes_at_the_floor_and_comes_back_above_it(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=2)
    assert look(guarded, clock) == ShelfResult("shop1")
    free(guarded, 0)
    assert look(guarded, clock).taken_off == 1
    assert not is_on()
    assert "stock ran out" in guard.off_now(guarded)["listing:shop1:i1"]
    assert look(guarded, clock).taken_off == 0, "once"
    free(guarded, 1)
    assert look(guarded, clock).brought_back == 1
    assert is_on()
    assert guard.off_now(guarded) == {}
    assert moves(guarded) == [("off", "ok"), ("on", "ok")]


def test_floor_and_hysteresis_are_settings_of_shop_and_product(
    make_config: Any, shop: Shop, clock: ManualClock
) -> None:
    config = make_config(ON_SHELF + "\n[sync]\nshelf_floor = 3\nshelf_back = 2")
    own = replace(shop, config=config)
    shelf(own, n=3)
    assert look(own, clock).taken_off == 1
    free(own, 4)
    assert look(own, clock).brought_back == 0
    free(own, 5)
    assert look(own, clock).brought_back == 1
    with own.db.tx():
        own.db.run("UPDATE products SET shelf_floor = 5")
    assert look(own, clock).taken_off == 1


def test_open_demand_and_unpaid_orders_count(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=2)
    assert look(guarded, clock, order("A1", quantity=2)).taken_off == 1


def test_what_the_owner_hid_is_not_brought_back(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=0)
    world().hidden.add(I1)
    assert look(guarded, clock).taken_off == 0
    free(guarded, 5)
    assert look(guarded, clock).brought_back == 0
    assert not is_on()
    assert moves(guarded) == []
    world().hidden.clear()
    free(guarded, 0)
    assert look(guarded, clock).taken_off == 1, "from now on it is ours to take down again"


def test_what_the_owner_put_back_himself_is_his(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=0)
    assert look(guarded, clock).taken_off == 1
    world().hidden.clear()
    free(guarded, 5)
    assert look(guarded, clock).brought_back == 0
    assert guard.off_now(guarded) == {}
    assert moves(guarded) == [("off", "ok")]


def test_a_lost_reply_is_settled_by_reading_the_listing(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=0)
    world().shelf_faults = ["lost"]
    found = look(guarded, clock)
    assert (found.taken_off, found.unclear) == (0, 1)
    assert moves(guarded) == [("off", "unknown")]
    assert look(guarded, clock).unclear == 0
    assert moves(guarded) == [("off", "ok")]
    assert not is_on()
    free(guarded, 5)
    assert look(guarded, clock).brought_back == 1


def test_what_was_not_done_is_tried_again_only_when_it_can_come_late_no_more(
    guarded: Shop, clock: ManualClock
) -> None:
    shelf(guarded, n=0)
    world().shelf_faults = ["unknown"]
    assert look(guarded, clock).unclear == 1
    free(guarded, 5)
    assert look(guarded, clock) == ShelfResult("shop1"), "no other move while one is open"
    free(guarded, 0)
    clock.advance(120_000)
    look(guarded, clock)
    assert moves(guarded) == [("off", "rejected")]
    clock.advance(guard.AGAIN_MS)
    assert look(guarded, clock).taken_off == 1
    assert moves(guarded) == [("off", "rejected"), ("off", "ok")]


def test_a_slow_list_is_of_the_moment_it_was_asked_for(
    guarded: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(guarded, n=0)
    world().shelf_faults = ["unknown"]
    assert look(guarded, clock).unclear == 1
    listed = Fake.list_items

    def slow(fake: Fake) -> Any:
        found = listed(fake)
        clock.advance(120_000)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "list_items", slow)
        look(guarded, clock)
    assert moves(guarded) == [("off", "unknown")], "it may have come late, after the list was made"


def test_a_refusal_is_told_and_tried_at_a_slow_pace(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=0)
    world().shelf_faults = ["rejected", "rejected"]
    found = look(guarded, clock)
    assert (found.failed, "not allowed" in found.error) == (1, True)
    assert "not allowed" in guard.off_now(guarded)["listing:shop1:i1"]
    assert look(guarded, clock) == ShelfResult("shop1")
    clock.advance(guard.AGAIN_MS)
    assert look(guarded, clock).failed == 1
    clock.advance(guard.AGAIN_MS)
    assert look(guarded, clock).taken_off == 1
    assert "stock ran out" in guard.off_now(guarded)["listing:shop1:i1"]


def test_a_bug_in_an_adapter_leaves_it_open(guarded: Shop, clock: ManualClock) -> None:
    shelf(guarded, n=0)
    world().shelf_faults = ["bug"]
    found = look(guarded, clock)
    assert (found.unclear, found.error) == (1, "KeyError in the adapter")


def test_a_list_that_cannot_be_read_moves_nothing(
    guarded: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(guarded, n=0)

    def down(_self: Fake) -> list[Item]:
        assert not guarded.db.in_tx
        raise Retriable(who="fake", detail="no route")

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "list_items", down)
        found = look(guarded, clock)
        assert (found.failed, "no route" in found.error) == (1, True)
    assert look(guarded, clock).taken_off == 1


def test_nothing_moves_unless_it_is_asked_for(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=0)
    assert look(shop, clock) == ShelfResult("shop1")
    assert is_on()
    synced = sync_channel(shop, "shop1")
    assert guard.guard(shop, replace(synced, error="time-out")).skipped
    clock.advance(61_000)
    assert guard.guard(shop, synced).skipped


def test_switched_off_later_what_is_down_still_comes_back(
    guarded: Shop, shop: Shop, clock: ManualClock
) -> None:
    shelf(guarded, n=0)
    assert look(guarded, clock).taken_off == 1
    free(shop, 5)
    assert look(shop, clock).brought_back == 1
    free(shop, 0)
    assert look(shop, clock).taken_off == 0


def test_items_are_listed_with_their_product(shop: Shop) -> None:
    shelf(shop, n=1, units=2)
    world().items = [
        Item("i1", "", "item i1", sku_hint="X", price_minor=1000, quantity=3),
        Item("i9", "v", "item i9"),
    ]
    world().hidden.add(("i9", "v"))
    found = guard.items(shop, "shop1")
    assert found.unmapped == 1
    assert [(i.item, i.sku, i.units, i.on_shelf) for i in found.items] == [
        ("i1", "S1", 2, True),
        ("i9", "", 0, False),
    ]
