"""Quotas are counted before anything is sent; what is used up goes by the next route, or waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.domain.packing import Quota
from kmtool.operations import order_changes
from kmtool.operations.alerts import listing, watch
from kmtool.operations.deliver import deliver
from kmtool.operations.order_why import why
from kmtool.operations.quotas import Rooms
from kmtool.operations.reserve import reserve_due
from kmtool.ports import Repeat
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, pull, states, tick
from tests.operations.route_kit import ROUTES, open_chain, parcels, route, tries
from tests.operations.stock import shelf

HOUR = 3_600_000
DAY = 24 * HOUR
Opener = Callable[..., Shop]


@pytest.fixture
def chain(make_config: Any, clock: ManualClock) -> Iterator[Opener]:
    """Return a function that opens a shop with a chain of routes and twenty keys."""
    with ExitStack() as stack:

        def opened(*names: str, **more: str) -> Shop:
            shop: Shop = stack.enter_context(open_chain(make_config, clock, *names, **more))
            shelf(shop, n=20)
            return shop

        yield opened
    ROUTES.clear()


def orders(shop: Shop, count: int, first: int = 0) -> None:
    pull(shop, *(order(f"A{n}") for n in range(first, first + count)))


def uses(shop: Shop) -> list[tuple[str, str]]:
    rows = shop.db.all("SELECT route, state FROM route_uses ORDER BY id")
    return [(row["route"], row["state"]) for row in rows]


def test_what_is_used_up_goes_by_the_next_route(chain: Opener) -> None:
    shop = chain("one", "two", settings="per_day = 2")
    orders(shop, 5)
    assert deliver(shop).delivered == 5
    assert (len(route("one").sent), len(route("two").sent)) == (2, 3)
    assert uses(shop) == [("one", "used")] * 2, "a route without a quota is not counted"
    assert broken(shop) == []


def test_without_a_next_route_it_waits_until_the_quota_opens(chain: Opener) -> None:
    shop = chain("one", settings="per_day = 2")
    orders(shop, 3)
    told = deliver(shop)
    assert (told.delivered, told.held) == (2, {"route": 1})
    assert states(shop) == {"delivered": 2, "free": 18}, "nothing is bound that cannot leave"
    (held,) = [f"A{n}" for n in range(3) if line(shop, f"A{n}")["state"] == "held"]
    reason = why(shop, held).lines[0].answer
    assert "one: it has carried all it may until 11-23 08:00" in reason
    tick(shop, DAY - 10_000)
    assert deliver(shop).delivered == 0
    tick(shop, 10_000)
    assert deliver(shop).delivered == 1
    assert broken(shop) == []


def test_what_is_bound_takes_its_room(chain: Opener) -> None:
    shop = chain("one", "two", settings="per_hour = 2")
    for first in (0, 1, 2, 3):
        orders(shop, 1, first=first)
        reserve_due(shop)
    assert [one["route"] for one in parcels(shop)] == ["one", "one", "two", "two"]
    assert uses(shop) == [], "packing alone uses nothing up"
    assert deliver(shop).delivered == 4
    assert broken(shop) == []


def test_bound_before_there_was_a_quota_waits_at_the_intent(chain: Opener) -> None:
    shop = chain("one")
    orders(shop, 4)
    reserve_due(shop)
    route("one").declare(quota=(Quota(2, HOUR, "route"),))
    assert deliver(shop).delivered == 2
    waiting = [one for one in parcels(shop) if one["state"] == "retry_at"]
    assert {one["due_ms"] - shop.now_ms() for one in waiting} == {HOUR}
    assert all("until" in one["reason"] for one in waiting)
    assert len(route("one").sent) == 2
    tick(shop, HOUR)
    assert deliver(shop).delivered == 2
    assert broken(shop) == []


def test_bound_before_there_was_a_quota_goes_by_the_next_route(chain: Opener) -> None:
    shop = chain("one", "two")
    orders(shop, 4)
    reserve_due(shop)
    route("one").declare(quota=(Quota(2, HOUR, "route"),))
    assert {one["route"] for one in parcels(shop)} == {"one"}
    assert deliver(shop).delivered == 4
    assert (len(route("one").sent), len(route("two").sent)) == (2, 2)
    assert broken(shop) == []


@pytest.mark.parametrize(
    ("fault", "left"), [("rejected", 1), ("login", 1), ("down", 1), ("unknown", 0), ("lost", 0)]
)
def test_a_use_is_given_back_only_when_nothing_was_sent(
    chain: Opener, fault: str, left: int
) -> None:
    shop = chain("one", settings="per_day = 1")
    route("one").faults = [fault]
    orders(shop, 1)
    deliver(shop)
    assert Rooms(shop, ()).left("one", "shop1", 0).left == left
    assert uses(shop) == [("one", "given_back" if left else "used")]


def test_a_probe_that_finds_nothing_gives_the_use_back(chain: Opener) -> None:
    shop = chain("one", settings="per_day = 1")
    route("one").declare(grace_ms=60_000)
    route("one").faults = ["unknown"]
    orders(shop, 1)
    assert deliver(shop).unknown == 1
    tick(shop, 70_000)
    assert deliver(shop).delivered == 1
    assert uses(shop) == [("one", "given_back"), ("one", "used")]
    assert broken(shop) == []


def test_a_repeat_is_a_use_too_and_an_unclear_one_waits_for_room(chain: Opener) -> None:
    shop = chain("one", "two", settings="per_day = 1")
    route("one").declare(repeat=Repeat.REPEAT_SAFE, repeat_max=3)
    route("one").faults = ["lost"]
    orders(shop, 1)
    deliver(shop)
    for _ in range(5):
        tick(shop, HOUR)
        deliver(shop)
    assert tries(shop) == [("one", "unknown")], "no room, and no other route for what is unclear"
    tick(shop, DAY)
    assert deliver(shop).delivered == 1
    assert len(set(route("one").texts())) == 1
    assert route("two").sent == []
    assert broken(shop) == []


def test_a_quota_per_order_counts_what_the_order_got(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").declare(quota=(Quota(2, 10 * DAY, "order"),))
    orders(shop, 2)
    assert deliver(shop).delivered == 2
    for _ in range(2):
        order_changes.redeliver(shop, "A0")
        deliver(shop)
    assert [name for name, state in tries(shop) if state == "ok"] == ["one", "one", "one", "two"]
    assert line(shop, "A0")["state"] == "delivered"
    assert broken(shop) == []


def test_the_owner_hears_once_of_a_route_that_is_used_up(chain: Opener) -> None:
    shop = chain("one", "two", settings="per_day = 2")
    orders(shop, 5)
    deliver(shop)
    for _ in range(3):
        watch(shop)
    found = [one for one in listing(shop, None).alerts if one.code == "quota"]
    assert [(one.subject, one.state) for one in found] == [("one", "open")]
    assert "until 11-23" in found[0].text
    tick(shop, DAY)
    watch(shop)
    assert [one for one in listing(shop, None).alerts if one.code == "quota"] == []


def test_two_senders_never_take_the_last_use_together(chain: Opener, clock: ManualClock) -> None:
    shop = chain("one")
    orders(shop, 2)
    reserve_due(shop)
    route("one").declare(quota=(Quota(1, DAY, "route"),))
    rows = shop.db.all("SELECT * FROM effects WHERE kind = 'hand_over' ORDER BY id")
    got: list[int] = []
    gate = threading.Barrier(2)

    def take(n: int) -> None:
        with open_shop(shop.config, clock=clock) as mine:
            gate.wait(10)
            with mine.db.tx():
                rooms = Rooms(mine, [rows[n]["order_id"]])
                rooms.hold([("one", "shop1")])
                left = rooms.left("one", "shop1", rows[n]["order_id"]).left
                got.append(left)
                if left:
                    rooms.use("one", "shop1", rows[n], 1)
                    rooms.write()

    threads = [threading.Thread(target=take, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == [0, 1]
    assert uses(shop) == [("one", "used")]
