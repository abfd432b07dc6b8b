"""Alerts of the brakes: one per brake, product and channel; over when nothing is held by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.operations import alerts, house, order_changes, status
from kmtool.operations.deliver import deliver
from kmtool.ports import Buyer
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import pull
from tests.operations.stock import shelf


@pytest.fixture
def braked(shop: Shop) -> Shop:
    brakes = replace(shop.config.brakes, sku_pieces_per_hour=3, buyer_pieces_per_hour=2)
    shelf(shop, n=20)
    return replace(shop, config=replace(shop.config, brakes=brakes))


def come(shop: Shop, *names: str, amount: int = 1000, buyer: str = "") -> None:
    facts = [
        replace(
            order(name, amount=amount, at_ms=shop.now_ms()), buyer=Buyer(ref=buyer or f"b-{name}")
        )
        for name in names
    ]
    pull(shop, *facts)
    deliver(shop)


def brake_alerts(shop: Shop) -> dict[str, Any]:
    alerts.watch(shop)
    return {a.subject: a.text for a in alerts.listing(shop, None).alerts if a.code == "brake"}


def test_one_alert_for_all_orders_a_brake_holds(braked: Shop) -> None:
    come(braked, "A1", "A2", "A3", "A4", "A5", "A6")
    found = brake_alerts(braked)
    assert set(found) == {"burst:shop1:S1"}
    text = found["burst:shop1:S1"]
    assert "holds 3 orders of S1 at shop1, 3 pieces for ￥30.00" in text
    assert "kmtool order release A" in text
    assert "kmtool pause S1" in text
    come(braked, "A7", "A8")
    assert set(brake_alerts(braked)) == {"burst:shop1:S1"}


def test_each_brake_tells_for_itself(braked: Shop) -> None:
    come(braked, "A1", amount=1)
    come(braked, "A2", "A3", "A4", buyer="b-greedy")
    found = brake_alerts(braked)
    assert set(found) == {"burst:shop1:S1", "price:shop1:S1"}
    assert "this buyer would get 3 keys" in found["burst:shop1:S1"]
    assert "the keys cost" in found["price:shop1:S1"]


def test_it_is_over_when_nothing_is_held(braked: Shop, clock: ManualClock) -> None:
    come(braked, "A1", amount=1)
    assert brake_alerts(braked)
    order_changes.release(braked, "A1")
    deliver(braked)
    assert brake_alerts(braked) == {}
    come(braked, "A2", "A3", "A4", "A5")
    assert set(brake_alerts(braked)) == {"burst:shop1:S1"}
    clock.advance(62 * 60_000)
    deliver(braked)
    assert brake_alerts(braked) == {}, "an hour later it goes by itself"


def test_a_held_order_has_no_second_alert(braked: Shop, clock: ManualClock) -> None:
    come(braked, "A1", amount=1)
    clock.advance(3 * 3_600_000)
    alerts.watch(braked)
    codes = {a.code for a in alerts.listing(braked, None).alerts}
    assert "brake" in codes
    assert "needs_you" not in codes


def test_the_morning_screen_says_why_something_is_paused(braked: Shop) -> None:
    house.pause(braked, "S1", "price typed wrong")
    found = status.status(braked)
    assert [(p.scope, p.reason) for p in found.pauses] == [("sku:S1", "price typed wrong")]
