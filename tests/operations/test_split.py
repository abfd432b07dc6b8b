"""A text too long for its route goes in parts: every key in one of them, each part by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.packing import Quota
from kmtool.domain.states import RefundState
from kmtool.operations import order_changes
from kmtool.operations.deliver import deliver
from kmtool.operations.order_why import why
from kmtool.operations.reserve import reserve_due
from kmtool.ports import Message, Repeat
from kmtool.shop import Shop
from tests.fakes import order, world
from tests.operations.delivery_kit import broken, line, lines, pull, states, tick
from tests.operations.route_kit import ROUTES, open_chain, parcels, route, tries
from tests.operations.stock import shelf

MINUTE = 60_000
KEYS = 200
Opener = Callable[..., Shop]


@pytest.fixture
def chain(make_config: Any, clock: ManualClock) -> Iterator[Opener]:
    """Return a function that opens a shop with a chain of routes, 200 keys and 1,000 characters."""
    with ExitStack() as stack:

        def opened(*names: str, **more: str) -> Shop:
            shop: Shop = stack.enter_context(open_chain(make_config, clock, *names, **more))
            shelf(shop, n=KEYS, prefix="KEY-LONGER")
            route("one").declare(text_max=1_000, quota=(Quota(5, 0, "order"),))
            return shop

        yield opened
    ROUTES.clear()


def big(quantity: int = KEYS) -> Any:
    return order("A1", quantity=quantity, amount=100_000 * quantity)


def whole(shop: Shop, wanted: int = KEYS) -> None:
    """Every key arrived, once, in order, and the books say so."""
    keys = route("one").keys()
    assert len(keys) == wanted
    assert keys == sorted(set(keys))
    assert line(shop)["state"] == "delivered"
    assert states(shop) == {"delivered": wanted} | (
        {"free": KEYS - wanted} if wanted < KEYS else {}
    )
    assert broken(shop) == []
    cost = shop.db.value("SELECT CAST(sum(amount_minor) AS BIGINT) FROM allocations")
    assert cost == wanted * 500
    assert world("shop1").shipped == {"A1"}


def test_a_part_that_never_arrived_is_named_by_the_doctor(chain: Opener) -> None:
    shop = chain("one")
    pull(shop, big())
    deliver(shop)
    third = "(SELECT id FROM parcels WHERE part = 3)"
    shop.db.run(
        "UPDATE attempts SET state = 'rejected' WHERE effect_id IN"
        f" (SELECT id FROM effects WHERE parcel_id = {third})"
    )
    assert broken(shop) == ["parts_arrived: shop1:A1 line 1 lacks part 3 of 5"]


def test_200_keys_go_in_5_messages_of_1000_characters(chain: Opener) -> None:
    shop = chain("one")
    pull(shop, big())
    told = deliver(shop)
    assert (told.delivered, told.shipped) == (1, 1)
    texts = route("one").texts()
    assert [len(text) <= 1_000 for text in texts] == [True] * 5
    assert [f"（第 {n}/5 条）" in text for n, text in enumerate(texts, 1)] == [True] * 5
    assert len({message.marker for message in route("one").sent}) == 5
    assert tries(shop) == [("one", "ok")] * 5
    held = shop.db.all(
        "SELECT p.part, count(a.id) AS n FROM parcels p JOIN allocations a ON a.parcel_id = p.id"
        " GROUP BY p.part ORDER BY p.part"
    )
    assert [row["part"] for row in held] == [1, 2, 3, 4, 5]
    assert sum(row["n"] for row in held) == KEYS
    whole(shop)


def test_a_text_that_fits_is_one_message(chain: Opener) -> None:
    shop = chain("one")
    pull(shop, big(30))
    assert deliver(shop).delivered == 1
    (text,) = route("one").texts()
    assert "条）" not in text
    assert [(one["part"], one["parts"]) for one in parcels(shop)] == [(1, 1)]
    whole(shop, 30)


def test_more_parts_than_the_order_may_have_go_by_the_next_route(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").declare(quota=(Quota(4, 0, "order"),))
    pull(shop, big())
    assert deliver(shop).delivered == 1
    assert (len(route("one").sent), len(route("two").sent)) == (0, 1)
    assert len(set(route("two").keys())) == KEYS


def test_more_parts_than_any_route_bears_bind_nothing(chain: Opener) -> None:
    shop = chain("one")
    route("one").declare(quota=(Quota(4, 0, "order"),))
    pull(shop, big())
    assert deliver(shop).held == {"route": 1}
    assert "5 messages" in why(shop, "A1").lines[0].answer
    assert states(shop) == {"free": KEYS}


def test_a_key_longer_than_a_message_refuses_the_route(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").declare(text_max=60)
    pull(shop, big(2))
    assert deliver(shop).delivered == 1
    assert tries(shop) == [("two", "ok")]


def test_several_lines_share_the_parts(chain: Opener) -> None:
    shop = chain("one")
    shelf(shop, "S2", n=60, item="i2", prefix="KEY-OTHERS")
    pull(shop, order("A1", lines=lines(("i1", 70), ("i2", 50))))
    assert deliver(shop).delivered == 2
    keys = route("one").keys()
    assert len(keys) == len(set(keys)) == 120
    assert len(route("one").sent) == 3
    assert {line(shop, "A1", n)["state"] for n in "12"} == {"delivered"}
    assert broken(shop) == []


@pytest.mark.parametrize("fault", ["crash", "crash_before"])
@pytest.mark.parametrize("part", [1, 2, 3, 5])
def test_a_crash_between_parts_loses_and_doubles_nothing(
    chain: Opener, part: int, fault: str
) -> None:
    shop = chain("one")
    route("one").declare(grace_ms=MINUTE)
    route("one").faults = [""] * (part - 1) + [fault]
    pull(shop, big())
    with pytest.raises(KeyboardInterrupt):
        deliver(shop)
    assert line(shop)["state"] == "unknown"
    assert broken(shop) == []
    for _ in range(4):
        tick(shop, 2 * MINUTE)
        deliver(shop)
    assert len(route("one").sent) == 5
    whole(shop)


@pytest.mark.parametrize("fault", ["lost", "unknown", "down"])
def test_a_part_in_doubt_holds_the_ones_after_it(chain: Opener, fault: str) -> None:
    shop = chain("one")
    route("one").declare(grace_ms=MINUTE)
    route("one").faults = ["", fault]
    pull(shop, big())
    assert deliver(shop).delivered == 0
    assert len(route("one").sent) == (2 if fault == "lost" else 1)
    assert [one["state"] for one in parcels(shop)] == [
        "done",
        "retry_at",
        "pending",
        "pending",
        "pending",
    ]
    tick(shop, 2 * MINUTE)
    assert deliver(shop).delivered == 1
    assert len(route("one").sent) == 5
    whole(shop)


def test_one_part_may_go_by_the_next_route(chain: Opener) -> None:
    shop = chain("one", "two")
    route("one").faults = ["", "rejected"]
    pull(shop, big())
    assert deliver(shop).delivered == 1
    assert [name for name, _ in tries(shop)] == ["one", "one", "two", "one", "one", "one"]
    both = [*route("one").keys(), *route("two").keys()]
    assert len(both) == len(set(both)) == KEYS
    assert broken(shop) == []


def test_a_use_that_is_in_doubt_counts_against_the_order(chain: Opener) -> None:
    shop = chain("one", "by_hand")
    route("one").declare(repeat=Repeat.REPEAT_SAFE, repeat_max=3)
    route("one").faults = ["lost"]
    pull(shop, big())
    for _ in range(5):
        deliver(shop)
        tick(shop, 2 * MINUTE)
    assert len(route("one").sent) == 5, "the first part twice, then no room for the fifth"
    assert [one["route"] for one in parcels(shop)] == ["one"] * 4 + ["by_hand"]
    assert line(shop)["state"] == "reserved"
    assert broken(shop) == []


def test_a_refund_between_parts_sends_no_further_part(chain: Opener) -> None:
    shop = chain("one", deliver='reread_after = "0s"')
    fact = big()

    def refunded(_message: Message) -> None:
        tick(shop, MINUTE)
        if len(route("one").sent) == 1:
            world("shop1").orders["A1"] = replace(
                fact, refund=RefundState.OPEN, revision_ms=fact.revision_ms + 6_000
            )

    route("one").during_send = refunded
    pull(shop, fact)
    for _ in range(3):
        deliver(shop)
        tick(shop, 20 * MINUTE)
    assert len(route("one").sent) == 2
    assert line(shop)["state"] == "refund_case"
    arrived = len(route("one").keys())
    assert states(shop) == {"delivered": arrived, "exposed": KEYS - arrived}, (
        "all keys of a line that was begun may be seen"
    )
    assert broken(shop) == []
    gone = replace(fact, refund=RefundState.NONE, revision_ms=fact.revision_ms + 99_000)
    route("one").during_send = None
    pull(shop, gone)
    order_changes.redeliver(shop, "A1")
    for _ in range(3):
        deliver(shop)
        tick(shop, 20 * MINUTE)
    whole(shop)


def test_a_hold_before_the_first_part_undoes_all_of_them(chain: Opener) -> None:
    shop = chain("one")
    pull(shop, big())
    reserve_due(shop)
    assert len(parcels(shop)) == 5
    order_changes.hold(shop, "A1", "look at it")
    assert states(shop) == {"free": KEYS}
    assert {one["state"] for one in parcels(shop)} == {"cancelled"}
    assert broken(shop) == []
    order_changes.release(shop, "A1")
    assert deliver(shop).delivered == 1
    assert len(route("one").sent) == 5
    whole(shop)


def test_a_change_at_the_channel_before_the_first_part_undoes_all_of_them(chain: Opener) -> None:
    shop = chain("one")
    pull(shop, big())
    reserve_due(shop)
    fewer = replace(big(10), revision_ms=big().revision_ms + 6_000)
    pull(shop, fewer)
    assert states(shop) == {"free": KEYS}
    order_changes.release(shop, "A1")
    assert deliver(shop).delivered == 1
    assert len(route("one").sent) == 1
    assert broken(shop) == []


def test_parts_are_sent_again_when_a_person_says_so(chain: Opener) -> None:
    shop = chain("one")
    route("one").declare(quota=())
    pull(shop, big())
    deliver(shop)
    order_changes.redeliver(shop, "A1")
    deliver(shop)
    assert len(route("one").sent) == 10
    assert len(set(route("one").keys())) == KEYS
    assert line(shop)["state"] == "delivered"
    assert broken(shop) == []


def test_a_part_that_needs_a_person_is_sent_by_them_and_the_rest_follows(chain: Opener) -> None:
    shop = chain("one")
    route("one").faults = ["", "rejected"]
    pull(shop, big())
    assert deliver(shop).needs_you == 1
    assert line(shop)["state"] == "human"
    tick(shop, 60 * MINUTE)
    assert deliver(shop).delivered == 0
    assert len(route("one").sent) == 1
    order_changes.redeliver(shop, "A1")
    assert deliver(shop).delivered == 1
    assert len(route("one").sent) == 5
    whole(shop)
