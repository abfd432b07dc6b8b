"""A replacement that was tried, beside a message that was tried: neither is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.resolve import UNCLEAR_GRACES
from kmtool.ports import Repeat
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, effects, line, lines, pull, tick
from tests.operations.route_kit import ROUTES, Route, chained, route
from tests.operations.stock import shelf


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    ROUTES.clear()
    config = make_config(chained("one", deliver="tries_max = 4"), courier="one")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened, n=6)
        shelf(opened, "S2", n=2, item="i2", supplier="sup2")
        yield opened


def unclear(shop: Shop, world: Route, times: int = 1) -> None:
    """Send with a lost answer on a route that cannot be asked: a person is."""
    world.faults = ["lost"] * times
    deliver(shop)
    for _ in range(UNCLEAR_GRACES + 3):
        tick(shop, 60_000)
        deliver(shop)
    assert line(shop)["state"] == "human" and "cannot be asked" in line(shop)["reason"]


@pytest.mark.parametrize("twice", [False, True])
def test_what_is_sent_again_does_not_end_a_line_that_waits_for_another_key(
    shop: Shop, twice: bool
) -> None:
    """Seeds 1300192 and 1206445: the first message made the line delivered, and its replacement
    could not be sent any more, however often a person ordered it."""
    world = route("one")
    world.declare(repeat=Repeat.NONE)
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1))))
    unclear(shop, world)
    for _ in range(2 if twice else 1):
        replace(shop, "A1", ReplaceWish(reason="dead", line="1", all_keys=True))
        unclear(shop, world)
    before = len(world.sent)
    redeliver(shop, "A1")
    for _ in range(4):
        deliver(shop)
        tick(shop, 60_000)
    assert [row["state"] for row in effects(shop, "replace")][-1] == "done"
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert len(world.sent) > before
    rows = shop.db.all("SELECT state FROM allocations WHERE state NOT IN ('replaced', 'delivered')")
    assert rows == []
