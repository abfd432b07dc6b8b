"""What the operator stops and lets go again between reserve, intent and outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.states import Mode
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import hold, release
from kmtool.operations.order_close import release_all
from kmtool.operations.reserve import reserve_due
from kmtool.shop import Shop
from kmtool.store import house, orders
from tests.fakes import order
from tests.operations.delivery_kit import (
    START,
    keys_at,
    line,
    outside,
    pull,
    states,
    tick,
)
from tests.operations.stock import shelf

AT = START + 1000


def pause(shop: Shop, scope: str) -> None:
    with shop.db.tx():
        house.pause(shop.db, scope, "test", shop.now_ms())


def resume(shop: Shop, scope: str) -> None:
    with shop.db.tx():
        house.resume(shop.db, scope)


@pytest.mark.parametrize("scope", ["all", "channel:shop1", "sku:S1"])
def test_a_pause_stops_what_is_reserved_already(shop: Shop, scope: str) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    pause(shop, scope)
    assert deliver(shop).delivered == 0
    assert outside().received == {}
    resume(shop, scope)
    assert deliver(shop).delivered == 1


def test_a_pause_of_a_part_stops_the_bundle(shop: Shop) -> None:
    shelf(shop)
    shelf(shop, "S2", item=None)
    with shop.db.tx():
        shop.db.run("UPDATE products SET kind = 'bundle' WHERE sku = 'S1'")
        shop.db.run("INSERT INTO bundle_items (bundle_sku, sku, units) VALUES ('S1', 'S2', 2)")
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    pause(shop, "sku:S2")
    assert deliver(shop).delivered == 0
    resume(shop, "sku:S2")
    tick(shop, 20_000)
    assert deliver(shop).delivered == 1
    assert {key.split("-")[1] for key in keys_at("A1")} == {"S2"}
    assert len(keys_at("A1")) == 2


@pytest.mark.parametrize("mode", ["watch", "ask"])
def test_a_channel_that_stops_being_automatic_keeps_what_is_reserved(
    shop: Shop, clock: ManualClock, mode: str
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT), order("A2", at_ms=AT))
    outside().faults = ["down"]
    deliver(shop, ["A2"])
    reserve_due(shop)
    path = shop.config.path
    path.write_text(path.read_text("utf-8").replace('"auto"', f'"{mode}"'), "utf-8")
    clock.advance(10_000)
    with open_shop(load(path), clock=clock) as changed:
        deliver(changed)
        assert deliver(changed).held == {"mode": 1}
        assert (line(changed)["state"], line(changed, "A2")["state"]) == ("held", "human")
        assert outside().received == {}
        release(changed, "A1")
        assert deliver(changed).delivered == (1 if mode == "ask" else 0)


def test_a_hold_reaches_what_is_reserved_but_not_what_was_seen(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    assert hold(shop, "A1", "look").lines == 1
    assert deliver(shop).held == {"risk": 1}
    assert states(shop) == {"free": 5}
    release(shop, "A1")
    deliver(shop)
    with pytest.raises(Exception, match="nothing of order A1 is waiting"):
        hold(shop, "A1", "too late")


def test_a_release_opens_a_hold_at_which_what_is_on_its_way_stops(shop: Shop) -> None:
    """A restored order: held when the copy was made, sent afterwards, to be sent again."""
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    outside().faults = ["down"]
    deliver(shop)
    with shop.db.tx():
        orders.set_hold(shop.db, line(shop)["order_id"], "odd", shop.now_ms())
        shop.db.run("UPDATE effects SET tries = 1")
    tick(shop, 60_000)
    deliver(shop)
    assert line(shop)["state"] in {"reserved", "held"}
    assert release(shop, "A1").lines == 1
    tick(shop, 60_000)
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    with pytest.raises(Exception, match="nothing of order A1 is waiting"):
        release(shop, "A1")


def test_what_was_held_by_word_is_not_let_go_with_its_channel(shop: Shop) -> None:
    """Simulator, seed 1000388: the hold was a moment old, the gate still told of the channel."""
    shelf(shop)
    channel = replace(shop.config.channels["shop1"], mode=Mode.ASK)
    asks = replace(shop, config=replace(shop.config, channels={"shop1": channel}))
    pull(asks, order("A1", at_ms=AT), order("A2", at_ms=AT))
    reserve_due(asks)
    hold(asks, "A1", "odd")
    assert release_all(asks, "shop1").orders == ("A2",)
    deliver(asks)
    assert keys_at("A1") == set() and len(keys_at("A2")) == 1
