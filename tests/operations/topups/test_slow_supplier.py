"""Top-ups at a supplier that is at work for longer than a day, or for ever."""

from __future__ import annotations

import pytest

from adapters.demo_shop import DemoShop
from kmtool.domain.states import RefundState
from kmtool.errors import Refused
from kmtool.operations import purchase_records
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.shop import Shop
from tests.operations.delivery_kit import broken, line, outside, pull, tick
from tests.operations.import_kit import balances
from tests.operations.topups.kit import PHONE, bought, refunded, settled, wish

DAY = 86_400_000


def at_work(shop: Shop, lab: DemoShop, days: int) -> None:
    """The supplier took the order, and is not done with it for some days."""
    lab.supply.delay_ms = days * DAY
    pull(shop, wish())
    deliver(shop)
    assert bought(shop)[0]["state"] == "accepted"


def one_day_later(shop: Shop) -> None:
    tick(shop, DAY + 60_000)
    settled(shop, 2)


@pytest.mark.parametrize("when", ["on the first day", "at a person"])
def test_a_refund_does_not_end_the_questions_to_a_supplier_that_is_at_work(
    shop: Shop, lab: DemoShop, when: str
) -> None:
    """Nobody asked any more after a day: the account was charged, its cost was never booked."""
    at_work(shop, lab, 2)
    if when == "on the first day":
        pull(shop, refunded(shop, RefundState.FULL))
    one_day_later(shop)
    if when == "at a person":
        assert line(shop)["state"] == "human"
        pull(shop, refunded(shop, RefundState.FULL))
    tick(shop, 2 * DAY)
    settled(shop, 6)
    assert lab.supply.charged(PHONE) == 1 and line(shop)["state"] == "refund_case"
    assert balances(shop)["cost:topup"] == 980
    with pytest.raises(Refused, match="0 purchases of order A1 are unclear"):
        purchase_records.settle_charged(shop, "A1", "seen there", 980)
    with pytest.raises(Refused, match="has a refund or is closed"):
        redeliver(shop, "A1")
    assert balances(shop)["cost:topup"] == 980 and broken(shop) == []


def test_a_person_can_say_what_came_of_what_a_supplier_never_ends(
    shop: Shop, lab: DemoShop
) -> None:
    """Nobody could: it was asked about again after each word, and its cost was never booked."""
    at_work(shop, lab, 90)
    one_day_later(shop)
    assert line(shop)["state"] == "human" and "is not done" in line(shop)["reason"]
    redeliver(shop, "A1")
    settled(shop, 2)
    assert line(shop)["state"] == "human" and lab.calls.count("place") == 1
    assert purchase_records.settle_charged(shop, "A1", "seen there", 980).purchases == 1
    settled(shop, 2)
    assert line(shop)["state"] == "delivered" and bought(shop)[0]["state"] == "done"
    assert balances(shop)["cost:topup"] == 980 and "A1" in outside().shipped
    assert lab.calls.count("place") == 1 and broken(shop) == []


def test_what_a_supplier_never_made_can_be_bought_again(shop: Shop, lab: DemoShop) -> None:
    """Nobody could say that it was not made: the buyer's credit could not be bought any more."""
    at_work(shop, lab, 90)
    one_day_later(shop)
    purchase_records.settle_charged(shop, "A1", "it will not be made", 0)
    assert line(shop)["state"] == "human" and bought(shop)[0]["state"] == "rejected"
    assert "cost:topup" not in balances(shop)
    lab.supply.delay_ms = 0
    redeliver(shop, "A1")
    settled(shop, 2)
    assert [row["state"] for row in bought(shop)] == ["rejected", "done"]
    assert line(shop)["state"] == "delivered" and balances(shop)["cost:topup"] == 980
    assert broken(shop) == []
