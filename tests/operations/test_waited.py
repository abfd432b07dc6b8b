"""A try that nobody finds is repeated after a while that passed, whatever the clock shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations import waited
from kmtool.operations.deliver import deliver
from kmtool.ports import Repeat, Verdict
from kmtool.shop import Shop
from kmtool.sim.clocks import SimClock
from kmtool.store import house
from tests.fakes import order
from tests.operations.delivery_kit import line, pull
from tests.operations.route_kit import ROUTES, Route, chained, route
from tests.operations.stock import shelf

GRACE, HOUR = 60_000, 3_600_000


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """A shop on a machine whose wall clock may be set."""
    ROUTES.clear()
    config = make_config(chained("one"), courier="one")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened)
        yield replace(opened, clock=SimClock(clock.now_ms()))


def clock_of(shop: Shop) -> SimClock:
    assert isinstance(shop.clock, SimClock)
    return shop.clock


def sent_and_lost(shop: Shop) -> Route:
    """Send once; the message never arrives, and nobody says so."""
    found = route("one")
    found.declare(repeat=Repeat.QUERYABLE, grace_ms=GRACE)
    found.faults = ["unknown"]
    found.verdict = Verdict.NOT_DONE
    pull(shop, order("A1", at_ms=shop.now_ms()))
    assert deliver(shop).unknown == 1
    return found


def again(shop: Shop, passed_ms: int) -> int:
    """Return how many messages there are after some time and another run."""
    clock_of(shop).advance(passed_ms)
    deliver(shop)
    return len(route("one").sent)


def test_a_clock_set_forward_after_a_try_proves_nothing(shop: Shop) -> None:
    sent_and_lost(shop)
    clock_of(shop).jump(2 * HOUR)
    assert again(shop, 5_000) == 0, "five seconds are no minute"
    assert again(shop, GRACE // 2) == 0
    assert again(shop, GRACE) == 1
    assert line(shop)["state"] == "delivered"


def test_a_clock_that_was_behind_only_at_the_try_proves_nothing(shop: Shop) -> None:
    with shop.db.tx():
        waited.look(shop)
    clock_of(shop).jump(-2 * HOUR)
    sent_and_lost(shop)
    clock_of(shop).jump(2 * HOUR)
    assert again(shop, 20_000) == 0
    assert again(shop, GRACE) == 1


def test_a_clock_that_is_left_alone_is_believed(shop: Shop) -> None:
    sent_and_lost(shop)
    clock_of(shop).jump(900)  # held right by a time server
    assert again(shop, GRACE) == 1


@pytest.mark.parametrize("note", ["", "1", "x y", "1 2 3", "9" * 5_000 + " 1", "0 " + "9" * 30])
def test_a_note_that_was_changed_says_nothing(shop: Shop, note: str) -> None:
    with shop.db.tx():
        waited.look(shop)
        name = str(shop.db.value("SELECT name FROM meta WHERE name LIKE 'wall_clock%'"))
        house.set_meta(shop.db, name, note)
        assert waited.look(shop) == shop.now_ms()
