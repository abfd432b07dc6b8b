"""A channel is set to ask when an order of it was tried already: one word lets it go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import Mode
from kmtool.operations import order_why
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.status import status
from kmtool.ports import LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, tick
from tests.operations.stock import shelf
from tests.operations.test_restore import back, saved
from tests.operations.test_restore import dump_tools as dump_tools
from tests.operations.topups.kit import PHONE, settled, wish
from tests.operations.topups.test_set_back import Opener
from tests.operations.topups.test_set_back import opener as opener


def in_mode(shop: Shop, mode: Mode) -> Shop:
    channels = dict(shop.config.channels)
    channels["shop1"] = replace(channels["shop1"], mode=mode)
    return replace(shop, config=replace(shop.config, channels=channels))


def tried(shop: Shop, lab: DemoShop, kind: str) -> None:
    """One order whose first try did not get through."""
    if kind == "key":
        shelf(shop, n=1)
        outside().faults = ["down"]
        pull(shop, order("A1"))
        deliver(shop)
    else:
        pull(shop, wish())
        with lab.offline():
            deliver(shop)
    assert line(shop)["state"] == "reserved"


def stopped(shop: Shop) -> None:
    settled(shop, 3)
    assert line(shop)["state"] == "human" and "by itself" in line(shop)["reason"]


def commands(shop: Shop) -> set[str]:
    (why,) = order_why.why(shop, "A1").lines
    return {why.command, *(item.command for item in status(shop).needs_you)}


@pytest.mark.parametrize("word", [redeliver, release])
@pytest.mark.parametrize("kind", ["key", "topup"])
def test_either_word_lets_it_go(
    shop: Shop, lab: DemoShop, kind: str, word: Callable[[Shop, str], object]
) -> None:
    """Every delivery stopped it again, and the release was refused: it was stuck for ever."""
    tried(shop, lab, kind)
    asking = in_mode(shop, Mode.ASK)
    stopped(asking)
    assert commands(asking) == {"kmtool order release A1"}
    word(asking, "A1")
    settled(asking, 3)
    assert line(asking)["state"] == "delivered" and broken(asking) == []
    assert lab.supply.charged(PHONE) == (kind == "topup")
    assert len(keys_at("A1")) == (kind == "key")


def test_the_word_stands_for_later_tries(shop: Shop, lab: DemoShop) -> None:
    """What does not get through the second time needs no third word."""
    tried(shop, lab, "topup")
    asking = in_mode(shop, Mode.ASK)
    stopped(asking)
    redeliver(asking, "A1")
    with lab.offline():
        deliver(asking)
    settled(asking, 3)
    assert line(asking)["state"] == "delivered" and lab.supply.charged(PHONE) == 1


def test_no_word_sends_on_a_channel_that_is_watched(shop: Shop, lab: DemoShop) -> None:
    """On watch somebody else delivers, whatever a person says here."""
    tried(shop, lab, "topup")
    watching = in_mode(shop, Mode.WATCH)
    stopped(watching)
    redeliver(watching, "A1")
    stopped(watching)
    assert lab.supply.orders == {} and line(watching)["state"] == "human"
    settled(shop, 2)
    redeliver(shop, "A1")
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and lab.supply.charged(PHONE) == 1


def test_a_line_at_a_gate_is_asked_about_as_before(shop: Shop, lab: DemoShop) -> None:
    """The word for one line is not the word for a sale below cost of another line."""
    shelf(shop, n=1)
    lines = (
        LineFact("1", "t1", "", "话费 10 元", 1, 1000, PHONE),
        LineFact("2", "i1", "", "item", 1, 1),
    )
    with lab.offline():
        pull(shop, order("A1", lines=lines, amount=1001))
        deliver(shop)
    asking = in_mode(shop, Mode.ASK)
    settled(asking, 3)
    assert (line(asking)["state"], line(asking, line_no="2")["gate"]) == ("human", "price")
    redeliver(asking, "A1")
    settled(asking, 3)
    assert line(asking)["state"] == "human" and line(asking, line_no="2")["state"] == "held"
    assert {item.command for item in status(asking).needs_you} == {"kmtool order release A1"}
    release(asking, "A1")
    settled(asking, 3)
    assert line(asking)["state"] == line(asking, line_no="2")["state"] == "delivered"
    assert lab.supply.charged(PHONE) == 1 and len(keys_at("A1")) == 1 and broken(asking) == []


@pytest.mark.parametrize("kind", ["key", "topup"])
def test_a_word_that_a_restore_forgot_is_given_again(
    shop: Shop, lab: DemoShop, opener: Opener, kind: str
) -> None:
    """Released and tried after the backup, nothing arrived: no word helped after the restore."""
    shop = in_mode(shop, Mode.ASK)
    fact = order("A1") if kind == "key" else wish()
    if kind == "key":
        shelf(shop, n=1)
        outside().faults = ["unknown"]
    else:
        lab.fail("place", "closed_before")
    file = saved(shop)
    pull(shop, fact)
    deliver(shop)
    release(shop, "A1")
    deliver(shop)
    assert line(shop)["state"] == "unknown" and lab.supply.orders == {} == outside().received
    back(shop, file, opener)
    with opener(shop.config) as again:
        again = in_mode(again, Mode.ASK)
        pull(again, fact)
        tick(again, 130_000)
        settled(again, 4, 130_000)
        assert line(again)["state"] == "human" and "by itself" in line(again)["reason"]
        release(again, "A1")
        settled(again, 3, 130_000)
        assert line(again)["state"] == "delivered" and broken(again) == []
        assert lab.supply.charged(PHONE) == (kind == "topup")
        assert len(keys_at("A1")) == (kind == "key")
