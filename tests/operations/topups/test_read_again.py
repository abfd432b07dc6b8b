"""An order is read again at its channel right before money leaves for it, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import RefundState
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from tests.fakes import FEATURES, Fake, order, world
from tests.operations.delivery_kit import keys_at, line, pull, tick
from tests.operations.stock import shelf
from tests.operations.topups.kit import PHONE, bought, refunded, settled, wish
from tests.operations.topups.test_set_back import Opener
from tests.operations.topups.test_set_back import opener as opener
from tests.operations.topups.test_set_back import sort as sort
from tests.operations.topups.test_set_back import supplier as supplier


def refund_there(shop: Shop, *numbers: str) -> None:
    """The channel refunds orders; the next pull would tell of it."""
    facts = refunded(shop).refunds
    for number in numbers:
        one = world("shop1").orders[number]
        world("shop1").orders[number] = replace(
            one, revision_ms=shop.now_ms(), refund=RefundState.FULL, refunds=facts
        )


def test_a_refund_that_only_the_channel_knows_yet(shop: Shop, lab: DemoShop) -> None:
    """The key stayed, and the top-up of a refunded order was bought on facts an hour old."""
    shelf(shop, n=1)
    pull(shop, wish("A1"), order("K1"))
    tick(shop, 3_600_000)
    refund_there(shop, "A1", "K1")
    deliver(shop)
    assert keys_at("K1") == set() and lab.supply.orders == {}
    assert line(shop)["state"] == "cancelled"


def test_fresh_facts_are_not_read_again(shop: Shop, lab: DemoShop) -> None:
    """Each purchase would cost its channel a call more, right after a pull."""
    pull(shop, wish())
    before = world("shop1").reads
    deliver(shop)
    assert lab.supply.charged(PHONE) == 1 and world("shop1").reads == before


@pytest.mark.parametrize("limits", [("9.80", "100.00")])
def test_only_what_is_about_to_be_bought_is_read_again(shop: Shop, lab: DemoShop) -> None:
    """What waits for the limit of a day would cost a call with each look."""
    pull(shop, wish("A1"), wish("A2", "13800138002"))
    with lab.offline():
        deliver(shop)
    settled(shop, 2, 600_000)
    assert len(lab.supply.orders) == 1
    before = world("shop1").reads
    settled(shop, 10, 300_000)
    assert len(lab.supply.orders) == 1 and world("shop1").reads == before


def test_an_order_that_cannot_be_read_waits(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a look at the order no money leaves."""
    pull(shop, wish())
    tick(shop, 3_600_000)

    def is_down(_self: Fake, _number: str) -> None:
        raise OSError("down")

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "get_order", is_down)
        settled(shop, 3)
        assert lab.supply.orders == {} and line(shop)["state"] == "reserved"
    settled(shop, 3)
    assert lab.supply.charged(PHONE) == 1 and line(shop)["state"] == "delivered"


def test_a_channel_that_cannot_be_asked_for_one_order(
    shop: Shop, lab: DemoShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its orders are bought on what the last pull said, as its keys are sent."""
    monkeypatch.setattr(Fake, "features", replace(FEATURES, reread=False))
    pull(shop, wish())
    tick(shop, 3_600_000)
    assert deliver(shop).delivered == 1 and lab.supply.charged(PHONE) == 1


def test_an_order_of_a_channel_that_is_gone_waits_for_a_person(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """It can be read nowhere, so nobody knows whether it was refunded."""
    pull(shop, wish())
    with lab.offline():
        deliver(shop)
    tick(shop, 3_600_000)
    with opener(replace(shop.config, channels={})) as gone:
        deliver(gone)
        assert line(gone)["state"] == "human" and "[channels.shop1]" in line(gone)["reason"]
        assert lab.supply.orders == {}


@pytest.mark.parametrize("sort", ["replays"], indirect=True)
def test_what_is_unclear_is_not_placed_again_for_an_order_refunded_meanwhile(
    shop: Shop, lab: DemoShop, sort: str
) -> None:
    """It was placed again under its number after the refund: what was not made was made then."""
    lab.fail("place", "closed_before")
    pull(shop, wish())
    deliver(shop)
    assert line(shop)["state"] == "unknown" and lab.supply.orders == {}
    tick(shop, 3_600_000)
    refund_there(shop, "A1")
    settled(shop, 3)
    assert lab.supply.orders == {} and line(shop)["state"] == "refund_case"
    assert bought(shop)[0]["state"] == "unknown"


def test_a_channel_that_cannot_be_used_now_lets_its_purchases_wait(
    shop: Shop, lab: DemoShop, opener: Opener
) -> None:
    """A message would go by the next way of its chain; a purchase has no other way."""
    pull(shop, wish())
    with lab.offline():
        deliver(shop)
    tick(shop, 3_600_000)
    world("shop1").broken = "no such file"
    with opener(shop.config) as again:
        assert "no such file" in "".join(deliver(again).notes)
        assert line(again)["state"] == "reserved" and lab.supply.orders == {}
    world("shop1").broken = ""
    with opener(shop.config) as again:
        settled(again, 3, 600_000)
        assert line(again)["state"] == "delivered" and lab.supply.charged(PHONE) == 1
