"""Drains by prices, quantities and orders: whatever goes wrong, the brakes stop it in time.

Every scenario has plenty of stock, drives pull and delivery as the daemon does, and counts at the
buyers how many keys left (limits in drain_kit.py). Honest orders still go, before and after.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations import house, order_changes
from tests.fakes import world
from tests.operations.delivery_kit import KEY
from tests.operations.drain_kit import (
    BUYER_MAX,
    HOUR_MS,
    SKU_MAX,
    Drain,
    Scenario,
    stops,
)
from tests.operations.drain_kit import drain as drain
from tests.operations.drain_kit import scenario as added

SCENARIOS: list[Scenario] = []
scenario = partial(added, SCENARIOS)


def priced(drain: Drain, *, price: int | None = None, floor: int | None = None) -> None:
    """Set the price agreed for the listing, or the product's floor."""
    with drain.shop.db.tx():
        drain.shop.db.run("UPDATE listings SET price_minor = :p", p=price)
        drain.shop.db.run("UPDATE products SET floor_minor = :f", f=floor)


@scenario(0, by_3=3, by_10=10, by_100=100, by_1000=1000)
def price_typed_wrong_below_cost(drain: Drain, factor: int) -> None:
    drain.stock()
    drain.honest()
    drain.flood(20, amount=1000 // factor)
    drain.honest()


@scenario(0, by_2=2, by_10=10, by_100=100)
def price_typed_wrong_with_a_floor(drain: Drain, factor: int) -> None:
    drain.stock(cost_e5=100)
    priced(drain, floor=800)
    drain.flood(20, amount=1000 // factor)
    drain.honest()


@scenario(0, by_2=2, by_10=10)
def price_typed_wrong_with_a_listing_price(drain: Drain, factor: int) -> None:
    drain.stock(cost_e5=100)
    priced(drain, price=1000)
    drain.flood(20, amount=1000 // factor)
    drain.honest()


@scenario(SKU_MAX, 1)
def price_halved_still_above_cost(drain: Drain) -> None:
    """No loss on a key: only the burst brake stops it."""
    drain.stock()
    drain.flood(40, amount=501)


@scenario(0, to_499=499, to_1=1)
def coupon_stacked_below_cost(drain: Drain, paid: int) -> None:
    drain.stock()
    drain.flood(20, amount=paid)
    drain.honest()


@scenario(0)
def coupon_over_several_pieces(drain: Drain) -> None:
    drain.stock()
    drain.flood(20, quantity=3, amount=1499)
    drain.honest()


@scenario(0)
def free_item(drain: Drain) -> None:
    drain.stock()
    drain.flood(20, amount=0)
    drain.honest()


@scenario(SKU_MAX)
def free_item_of_unknown_cost(drain: Drain) -> None:
    """Nobody knows what it cost: the burst brake alone stands."""
    drain.stock(cost_e5=0)
    drain.flood(40, amount=0)


@scenario(SKU_MAX, 1)
def unknown_cost_at_a_wrong_price(drain: Drain) -> None:
    drain.stock(cost_e5=0)
    drain.flood(40, amount=1)


@scenario(0, known=500_000, unknown=0)
def negative_amount(drain: Drain, cost: int) -> None:
    drain.stock(cost_e5=cost)
    drain.flood(20, amount=-1000)
    drain.honest()


@scenario(0, fifty=50, thousand=1_000, million=10**6, billions=10**10)
def quantity_absurd(drain: Drain, quantity: int) -> None:
    drain.stock()
    drain.flood(3, quantity=quantity, amount=1000 * quantity)
    drain.honest()


@scenario(0, zero=0, negative=-5)
def quantity_of_no_pieces(drain: Drain, quantity: int) -> None:
    drain.stock()
    drain.flood(5, quantity=quantity)
    drain.honest()


@scenario(0)
def quantity_just_above_the_buyers_limit(drain: Drain) -> None:
    drain.stock()
    drain.flood(10, quantity=BUYER_MAX + 1, amount=4000)
    drain.honest()


@scenario(0, usd="USD", jpy="JPY", krw="KRW")
def currency_confused(drain: Drain, currency: str) -> None:
    drain.stock()
    drain.flood(10, currency=currency)
    drain.honest()


@scenario(0)
def below_floor_above_cost(drain: Drain) -> None:
    drain.stock()
    priced(drain, floor=900)
    drain.flood(20, amount=899)
    drain.honest(amount=900)


@scenario(4, 4)
def the_next_keys_cost_more(drain: Drain) -> None:
    """At 6.00 the keys of the old batch go, those of the dearer one do not."""
    drain.stock(n=4, cost_e5=500_000)
    drain.stock(n=40, cost_e5=800_000, supplier="sup2")
    drain.flood(7, amount=600)
    drain.honest(amount=1000)


@scenario(1, 1)
def released_by_the_operator_one_by_one(drain: Drain) -> None:
    drain.stock()
    drain.flood(10, amount=1)
    order_changes.release(drain.shop, "D1")
    drain.come()
    drain.honest()


@scenario(SKU_MAX + 1, SKU_MAX + 1)
def a_release_opens_the_burst_brake_for_one_order_only(drain: Drain) -> None:
    drain.stock()
    drain.flood(12)
    held = drain.shop.db.value(
        "SELECT min(o.number) FROM orders o JOIN lines l ON l.order_id = o.id"
        " WHERE l.state = 'held'"
    )
    order_changes.release(drain.shop, held)
    drain.come()
    drain.flood(5)


@scenario(SKU_MAX, 1)
def refunded_and_bought_again(drain: Drain) -> None:
    """Keys that left stay counted when their orders are refunded."""
    drain.stock()
    for _ in range(3):
        facts = [drain.make() for _ in range(6)]
        drain.come(*facts)
        back = [
            replace(
                fact, refund=RefundState.FULL, revision_ms=drain.shop.now_ms(),
            )
            for fact in facts
        ]  # fmt: skip
        drain.come(*back)


@scenario(1, 1)
def quantity_raised_after_payment(drain: Drain) -> None:
    drain.stock()
    fact = drain.make()
    drain.come(fact)
    more = replace(fact.lines[0], quantity=50, amount_minor=50_000)
    drain.come(replace(fact, lines=(more,), revision_ms=drain.shop.now_ms()))
    drain.honest()


@scenario(0)
def quantity_raised_before_delivery(drain: Drain) -> None:
    drain.stock()
    house.pause(drain.shop, "all", "")
    fact = drain.make()
    drain.come(fact)
    more = replace(fact.lines[0], quantity=50, amount_minor=50_000)
    drain.come(replace(fact, lines=(more,), revision_ms=drain.shop.now_ms()))
    house.resume(drain.shop, "all")
    drain.honest()


@scenario(4, 4, all="all", channel="shop1", sku="S1")
def paused_in_the_middle(drain: Drain, target: str) -> None:
    drain.stock()
    drain.flood(4)
    house.pause(drain.shop, target, "price typed wrong")
    drain.flood(10, at_once=False)
    drain.wait(2 * HOUR_MS)
    drain.come()


@scenario(0, unpaid=OrderStatus.UNPAID, closed=OrderStatus.CLOSED, review=OrderStatus.REVIEW)
def orders_that_are_not_paid(drain: Drain, status: OrderStatus) -> None:
    drain.stock()
    drain.flood(10, status=status)
    drain.honest()


@scenario(0)
def the_cheap_line_beside_an_honest_one(drain: Drain) -> None:
    """What is stopped is the line, not its order."""
    drain.stock()
    drain.stock("S2", item="i2")
    drain.honest(lines=[("i1", 1, 1000), ("i2", 1, 1)])
    got = world().received[drain.honest_numbers[0]]
    assert [key.startswith("KEY-S1") for key in KEY.findall("\n".join(got))] == [True]


@scenario(30, 30)
def nothing_holds_without_brakes(drain: Drain) -> None:
    """Without limits all of it leaves: it is the brakes that hold the others."""
    brakes = replace(
        drain.shop.config.brakes, below_cost=False, sku_pieces_per_hour=0,
        sku_value_per_hour_minor=0, buyer_pieces_per_hour=0,
    )  # fmt: skip
    drain.shop = replace(drain.shop, config=replace(drain.shop.config, brakes=brakes))
    drain.stock()
    drain.flood(10, amount=1)
    drain.flood(20, buyer="b-greedy")


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.name)
def test_a_drain_stops_within_the_limit(drain: Drain, case: Scenario) -> None:
    stops(drain, case)
