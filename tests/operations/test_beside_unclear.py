"""What an owner does beside messages of unclear outcome: nothing is forgotten, all ways lead on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as changed
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.errors import Refused
from kmtool.journal import JournalEntry
from kmtool.operations import products
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.order_why import why
from kmtool.operations.replay import replay
from kmtool.operations.resolve import UNCLEAR_GRACES
from kmtool.operations.status import status
from kmtool.ports import Repeat, Verdict
from kmtool.shop import Shop
from tests.fakes import order, world
from tests.operations.delivery_kit import broken, effects, line, lines, outside, pull, tick
from tests.operations.refund_kit import AT, balance, refund
from tests.operations.route_kit import ROUTES, chained, route
from tests.operations.stock import shelf
from tests.operations.test_replace import more
from tests.operations.test_replace_unclear import unclear

ONE = ReplaceWish(reason="dead", line="1", all_keys=True)


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    ROUTES.clear()
    config = make_config(chained("one", deliver="tries_max = 4"), courier="one")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


def two_lines(shop: Shop, n: int) -> Any:
    """Two lines in one message whose outcome is unclear and at a person; n keys of the first."""
    shelf(shop, n=n)
    shelf(shop, "S2", n=2, item="i2", supplier="sup2")
    world = route("one")
    world.declare(repeat=Repeat.NONE)
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1)), at_ms=AT))
    unclear(shop, world)
    return world


def go(shop: Shop, rounds: int = 6) -> None:
    for _ in range(rounds):
        deliver(shop)
        tick(shop, 60_000)


def commands(shop: Shop) -> list[str]:
    return [one.command for one in status(shop).needs_you]


def alter(shop: Shop) -> None:
    """The buyer pays for a second piece of the first line."""
    fact = outside().orders["A1"]
    two = changed(fact.lines[0], quantity=2, amount_minor=2000)
    pull(shop, changed(fact, lines=(two,), total_minor=2000, revision_ms=shop.now_ms()))


def test_redelivery_beside_a_replacement_that_waits_for_stock(shop: Shop) -> None:
    two_lines(shop, 1)
    assert replace(shop, "A1", ONE).waiting == 1
    assert "kmtool order redeliver A1" in commands(shop)
    redeliver(shop, "A1")
    go(shop)
    assert [line(shop, "A1", n)["state"] for n in "12"] == ["human", "delivered"]
    assert world("shop1").shipped == set()
    assert commands(shop) == ["kmtool import FILE --sku S1"]
    more(shop)
    go(shop)
    assert [row["state"] for row in effects(shop, "replace")] == ["done"]
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert world("shop1").shipped == {"A1"}


def test_refund_withdrawn_beside_a_replacement_that_waits_for_stock(shop: Shop) -> None:
    there = two_lines(shop, 2)
    replace(shop, "A1", ONE)
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    there.declare(repeat=Repeat.QUERYABLE)
    there.verdict, there.faults = Verdict.UNCLEAR, ["lost"]
    redeliver(shop, "A1")
    deliver(shop)
    assert replace(shop, "A1", ONE).waiting == 1
    refund(shop, "open", 500)
    refund(shop, "ended", 500)
    there.verdict = None
    go(shop)
    assert [line(shop, "A1", n)["state"] for n in "12"] == ["human", "delivered"]
    more(shop)
    go(shop)
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert [row["state"] for row in effects(shop, "replace")] == ["done", "done"]


def test_parts_sent_again_beside_an_unclear_replacement(shop: Shop) -> None:
    shelf(shop, n=30, prefix="KEY-LONGER")
    shelf(shop, "S2", n=30, item="i2", supplier="sup2", prefix="KEY-LONGER")
    there = route("one")
    there.declare(repeat=Repeat.NONE, text_max=500)
    pull(shop, order("A1", lines=lines(("i1", 15), ("i2", 15)), at_ms=AT))
    there.faults = ["", "lost"]  # two parts: the second is unclear
    go(shop, UNCLEAR_GRACES + 4)
    there.faults = ["unknown"]  # it never arrives
    replace(shop, "A1", ONE, sure=True)
    go(shop, UNCLEAR_GRACES + 4)
    assert effects(shop, "replace")[0]["state"] == "human"
    redeliver(shop, "A1")
    go(shop)
    assert [row["state"] for row in effects(shop, "replace")] == ["done"]
    assert line(shop)["state"] == "delivered" and broken(shop) == []


@pytest.mark.parametrize("rule", [Repeat.QUERYABLE, Repeat.REPEAT_SAFE])
def test_cost_of_two_parcels_of_one_line_after_a_restore(shop: Shop, rule: Repeat) -> None:
    shelf(shop, n=4)
    for n, row in enumerate(shop.db.all("SELECT fingerprint FROM keys ORDER BY line_no")):
        key = bytes(row["fingerprint"]).hex()
        shop.journal.append([JournalEntry("SEND", "shop1", "A1", "1", key, 1, parcel=1 + n // 2)])
    replay(shop)
    route("one").declare(repeat=rule)
    route("one").verdict = Verdict.DONE
    pull(shop, order("A1", quantity=4, amount=4000))
    go(shop)
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    booked = shop.db.value("SELECT CAST(sum(amount_minor) AS BIGINT) FROM allocations")
    assert balance(shop, "cost:keys") == booked == 2000


def test_a_paid_change_is_not_forgotten_by_a_replacement(shop: Shop) -> None:
    shelf(shop, n=5)
    pull(shop, order("A1", lines=lines(("i1", 1)), at_ms=AT))
    deliver(shop)
    alter(shop)
    assert commands(shop) == ["kmtool order release A1"]
    try:
        replace(shop, "A1", ONE)
    except Refused as error:
        assert "order release A1" in error.next_step()
    go(shop)
    assert commands(shop) == ["kmtool order release A1"], "two pieces paid, one sent, nobody asked"


def test_a_change_while_a_replacement_waits_for_stock(shop: Shop) -> None:
    shelf(shop, n=1)
    pull(shop, order("A1", lines=lines(("i1", 1)), at_ms=AT))
    deliver(shop)
    replace(shop, "A1", ONE)
    alter(shop)
    more(shop)
    go(shop)
    (told,) = why(shop, "A1").lines
    assert commands(shop) == [told.command] == ["kmtool order release A1"]
    release(shop, "A1")
    go(shop)
    assert line(shop)["state"] == "delivered" and broken(shop) == []


@pytest.mark.parametrize("how", ["off", "watch"])
def test_a_replacement_that_may_not_leave_is_not_packed_again_and_again(
    shop: Shop, clock: ManualClock, how: str
) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1", lines=lines(("i1", 1)), at_ms=AT))
    deliver(shop)
    replace(shop, "A1", ONE)
    path = shop.config.path
    if how == "off":
        products.change(shop, "S1", products.Fields(state="off"))
    else:
        path.write_text(path.read_text("utf-8").replace('"auto"', '"watch"'), "utf-8")
    with open_shop(load(path), clock=clock) as now:
        go(now, 10)
        assert len(effects(now, "replace")) == 1
        assert "redeliver" not in commands(now)[0]


def test_a_repetition_that_did_not_get_through_is_on_the_morning_screen(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    redeliver(shop, "A1")
    route("one").faults = ["rejected"]
    go(shop)
    assert effects(shop)[-1]["state"] == "human"
    assert commands(shop) == ["kmtool order redeliver A1"]
    (told,) = why(shop, "A1").lines
    assert told.command == "kmtool order redeliver A1"


def test_a_refused_replacement_and_a_refund_withdrawn_beside_an_unclear_message(
    shop: Shop,
) -> None:
    there = two_lines(shop, 6)
    replace(shop, "A1", ONE)
    unclear(shop, there)
    there.declare(repeat=Repeat.REPEAT_SAFE)
    there.faults = ["lost", "rejected"]
    redeliver(shop, "A1")
    deliver(shop)
    refund(shop, "open", 500)
    deliver(shop)
    refund(shop, "ended", 500)
    go(shop, 14)
    assert line(shop)["state"] == "human"
    assert commands(shop) == ["kmtool order redeliver A1"]
    redeliver(shop, "A1")
    go(shop)
    assert line(shop)["state"] == "delivered" and broken(shop) == []
    assert [row["state"] for row in effects(shop, "replace")] == ["done"]


def test_a_message_tried_before_the_watch_names_the_watch(shop: Shop, clock: ManualClock) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1", lines=lines(("i1", 1)), at_ms=AT))
    route("one").faults = ["down"]
    deliver(shop)
    path = shop.config.path
    path.write_text(path.read_text("utf-8").replace('"auto"', '"watch"'), "utf-8")
    with open_shop(load(path), clock=clock) as now:
        go(now)
        assert line(now)["state"] == "human"
        before = commands(now)
        redeliver(now, "A1")
        go(now)
        assert line(now)["state"] == "human" and commands(now) == before
        assert before != ["kmtool order redeliver A1"], "it is told, and does nothing"
