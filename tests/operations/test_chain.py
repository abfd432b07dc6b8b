"""A chain of routes: what is certainly not sent goes on by the next one, what is unclear never."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.operations import order_changes, orders
from kmtool.operations.by_hand import Answer, Task, by_hand
from kmtool.operations.deliver import deliver
from kmtool.operations.order_why import why
from kmtool.operations.reserve import reserve_due
from kmtool.ports import Repeat
from kmtool.shop import Shop
from tests.fakes import order, world
from tests.operations.delivery_kit import broken, line, pull, states, tick
from tests.operations.route_kit import ROUTES, open_chain, parcels, route, tries
from tests.operations.stock import shelf

MINUTE = 60_000
Opener = Callable[..., Shop]


@pytest.fixture
def chain(make_config: Any, clock: ManualClock) -> Iterator[Opener]:
    """Return a function that opens a shop with a chain of routes and ten keys."""
    with ExitStack() as stack:

        def opened(*names: str, **more: str) -> Shop:
            shop: Shop = stack.enter_context(open_chain(make_config, clock, *names, **more))
            shelf(shop, n=10)
            return shop

        yield opened
    ROUTES.clear()


def all_well(shop: Shop) -> None:
    assert broken(shop) == []


def test_the_first_route_that_can_carry_it_is_taken(chain: Opener) -> None:
    shop = chain("one", "two")
    pull(shop, order("A1"))
    assert deliver(shop).delivered == 1
    assert tries(shop) == [("one", "ok")]
    assert (len(route("one").sent), len(route("two").sent)) == (1, 0)
    all_well(shop)


@pytest.mark.parametrize("way", ["refuses", "broken", "too long", "no pictures"])
def test_a_route_that_cannot_carry_it_is_passed_over(chain: Opener, way: str) -> None:
    shop = chain("one", "two")
    if way == "refuses":
        route("one").refuses = "the order has no address"
    if way == "broken":
        route("one").broken = "its credential is not there"
    if way == "too long":
        route("one").declare(text_max=30)
    pull(shop, order("A1"))
    assert deliver(shop).delivered == 1
    assert tries(shop) == [("one" if way == "no pictures" else "two", "ok")]
    all_well(shop)


def test_when_no_route_can_carry_it_nothing_is_bound(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").refuses = "the order has no address"
    route("two").broken = "its credential is not there"
    pull(shop, order("A1"))
    assert deliver(shop).held == {"route": 1}
    assert states(shop) == {"free": 10}
    reason = why(shop, "A1").lines[0].answer
    assert "one: the order has no address" in reason
    assert "two: " in reason
    all_well(shop)


@pytest.mark.parametrize("fault", ["rejected", "login"])
def test_a_refusal_sends_the_same_text_by_the_next_route(chain: Opener, fault: str) -> None:
    shop = chain("one", "two")
    route("one").faults = [fault]
    pull(shop, order("A1", quantity=2))
    seen = []
    route("one").during_send = seen.append
    told = deliver(shop)
    assert (told.delivered, told.needs_you) == (1, 0)
    assert tries(shop) == [("one", "rejected"), ("two", "ok")]
    (before,), (after,) = seen, route("two").sent
    assert after.text == before.text
    assert after.effect_id == before.effect_id
    assert route("two").keys() == ["KEY-S1-00000", "KEY-S1-00001"]
    assert len(parcels(shop)) == 1
    shown = orders.show(shop, "A1")
    assert [(one.route, one.outcome) for one in shown.attempts if one.effect == "hand_over"] == [
        ("one", "rejected"),
        ("two", "ok"),
    ]
    assert ("route", "one → two") in {(one.action, one.detail) for one in shown.story}
    all_well(shop)


def test_a_route_that_is_down_gives_way_after_a_while(chain: Opener) -> None:
    shop = chain("one", "two", deliver='fallback_after = "20m"')
    route("one").faults = ["down"] * 20
    pull(shop, order("A1"))
    for _ in range(4):
        assert deliver(shop).delivered == 0
        assert parcels(shop)[0]["route"] == "one"
        tick(shop, 4 * MINUTE)
    tick(shop, 8 * MINUTE)
    assert deliver(shop).delivered == 1
    assert tries(shop)[-1] == ("two", "ok")
    assert {name for name, state in tries(shop) if state != "ok"} == {"one"}
    all_well(shop)


def test_a_route_that_comes_back_in_time_keeps_it(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["down", "down"]
    pull(shop, order("A1"))
    for _ in range(4):
        deliver(shop)
        tick(shop, 5 * MINUTE)
    assert tries(shop) == [("one", "rejected"), ("one", "rejected"), ("one", "ok")]
    all_well(shop)


@pytest.mark.parametrize(
    ("rule", "repeat_max"),
    [(Repeat.QUERYABLE, 1), (Repeat.REPEAT_SAFE, 2), (Repeat.IDEMPOTENT, 1), (Repeat.NONE, 1)],
)
@pytest.mark.parametrize("after", ["unknown", "rejected", "login", "down"])
def test_what_may_have_arrived_never_goes_by_another_route(
    chain: Opener, rule: Repeat, repeat_max: int, after: str
) -> None:
    shop = chain("one", "two", "by_hand")
    route("one").declare(repeat=rule, repeat_max=repeat_max)
    route("one").faults = ["lost", *[after] * 30]
    route("one").away = rule is Repeat.QUERYABLE
    pull(shop, order("A1"))
    for _ in range(30):
        deliver(shop)
        tick(shop, 20 * MINUTE)
    assert {name for name, _ in tries(shop)} == {"one"}
    assert route("two").sent == []
    assert parcels(shop)[0]["route"] == "one"
    assert line(shop)["state"] in {"unknown", "human", "reserved"}
    all_well(shop)


def test_what_certainly_did_not_arrive_after_all_goes_on(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").declare(grace_ms=MINUTE)
    route("one").faults = ["unknown", "rejected"]
    pull(shop, order("A1"))
    assert deliver(shop).unknown == 1
    tick(shop, 2 * MINUTE)
    assert deliver(shop).delivered == 1
    assert tries(shop) == [("one", "rejected"), ("one", "rejected"), ("two", "ok")]
    all_well(shop)


def test_only_the_end_of_the_chain_needs_a_person(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["rejected"] * 2
    route("two").faults = ["rejected"]
    pull(shop, order("A1"))
    assert deliver(shop).needs_you == 1
    assert line(shop)["state"] == "human"
    order_changes.redeliver(shop, "A1")
    assert parcels(shop)[0]["route"] == "one", "a person begins at the first route again"
    assert deliver(shop).delivered == 1
    assert [name for name, _ in tries(shop)] == ["one", "two", "one", "two"]
    all_well(shop)


def test_by_hand_at_the_end_of_the_chain_waits_for_the_person(chain: Opener) -> None:
    shop = chain("one", "by_hand")
    route("one").faults = ["rejected"]
    pull(shop, order("A1"))
    told = deliver(shop)
    assert (told.delivered, told.needs_you) == (0, 0)
    assert parcels(shop)[0]["route"] == "by_hand"
    assert why(shop, "A1").lines[0].command == "kmtool deliver --by-hand A1"
    shown: list[Task] = []

    def person(task: Task) -> Answer:
        shown.append(task)
        return Answer.SENT

    assert by_hand(shop, [], person).sent == 1
    assert tries(shop) == [("one", "rejected"), ("by_hand", "ok")]
    assert not shown[0].again
    all_well(shop)


def test_a_route_that_breaks_after_packing_gives_way(chain: Opener) -> None:
    shop = chain("one", "two")
    pull(shop, order("A1"))
    reserve_due(shop)
    assert parcels(shop)[0]["route"] == "one"
    route("one").broken = "its credential is gone"
    with open_shop(shop.config, clock=shop.clock) as later:
        assert deliver(later).delivered == 1
    assert tries(shop) == [("two", "ok")]
    all_well(shop)


def test_a_refund_after_a_refusal_stops_the_next_route(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["rejected"]
    route("two").faults = ["down"]
    fact = order("A1")
    pull(shop, fact)
    assert deliver(shop).delivered == 0
    assert parcels(shop)[0]["route"] == "two"
    pull(shop, replace(fact, refund=RefundState.FULL, revision_ms=fact.revision_ms + 6_000))
    assert line(shop)["state"] == "refund_case"
    tick(shop, 60 * MINUTE)
    deliver(shop)
    assert route("two").sent == []
    assert states(shop) == {"exposed": 1, "free": 9}
    all_well(shop)


def test_a_refund_that_races_the_fall_back_stops_it(chain: Opener) -> None:
    shop = chain("one", "two", deliver='reread_after = "0s"')
    fact = order("A1")
    route("one").faults = ["rejected"]

    def refunded(_message: object) -> None:
        tick(shop, MINUTE)
        world("shop1").orders["A1"] = replace(
            fact, refund=RefundState.OPEN, revision_ms=fact.revision_ms + 6_000
        )

    route("one").during_send = refunded
    pull(shop, fact)
    deliver(shop)
    assert line(shop)["state"] == "refund_case"
    assert route("two").sent == []
    all_well(shop)


def test_a_crash_between_the_refusal_and_the_next_route_loses_nothing(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["rejected"]
    route("two").faults = ["crash"]
    pull(shop, order("A1"))
    with pytest.raises(KeyboardInterrupt):
        deliver(shop)
    tick(shop, 10 * MINUTE)
    assert deliver(shop).delivered == 1
    assert len(route("two").sent) == 1
    assert tries(shop) == [("one", "rejected"), ("two", "ok")]
    all_well(shop)


def test_many_orders_share_a_chain_in_one_run(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["", "rejected", "", "rejected", "login"]
    pull(shop, *(order(f"A{n}") for n in range(6)))
    assert deliver(shop).delivered == 6
    both = [*route("one").keys(), *route("two").keys()]
    assert (len(route("two").sent), len(set(both)), len(both)) == (3, 6, 6)
    all_well(shop)
