"""Drains: whatever goes wrong with prices, coupons, quantities or buyers, the brakes stop it.

Every scenario has plenty of stock, drives pull and delivery as the daemon does, and counts at the
buyers how many keys left. The limits here: 8 keys of a product, 200.00 of it, 3 pieces per buyer,
each within an hour, and nothing below cost or floor. Honest orders still go, before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations import house, order_changes
from kmtool.operations.deliver import deliver
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, LineFact, OrderFact
from kmtool.shop import Shop
from tests.fakes import WORLDS, order, world
from tests.operations.delivery_kit import KEY
from tests.operations.stock import shelf

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SKU_MAX, BUYER_MAX = 8, 3
BRAKES = """[channels.shop2]
adapter = "tests.fakes"
mode = "auto"
couriers = ["tests.fakes"]
[brakes]
sku_pieces_per_hour = 8
sku_value_per_hour = "200.00"
buyer_pieces_per_hour = 3
"""


class Drain:
    """A shop with plenty of stock at 10.00 (cost 5.00), and somebody who drains it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.n = 0
        self.honest_numbers: list[str] = []

    def stock(self, sku: str = "S1", n: int = 60, **more: Any) -> None:
        """Put keys on the shelf; the listing of S1 is item i1."""
        shelf(self.shop, sku, n, prefix=f"KEY-{sku}{self.n}", **more)

    def make(
        self,
        *,
        item: str = "i1",
        quantity: int = 1,
        amount: int = 1000,
        buyer: str = "",
        lines: Sequence[tuple[str, int, int]] = (),
        **more: Any,
    ) -> OrderFact:
        """Return an order; without a buyer it is somebody new. Lines: (item, quantity, amount)."""
        self.n += 1
        number = f"D{self.n}"
        facts = tuple(
            LineFact(str(i), *((of, "", f"item {of}")), pieces, money)
            for i, (of, pieces, money) in enumerate(lines or [(item, quantity, amount)], 1)
        )
        changes = {k: more.pop(k) for k in ("currency", "buyer_name") if k in more}
        made = order(number, lines=facts, at_ms=self.shop.now_ms(), **more)
        name = changes.get("buyer_name", f"demo_buyer_{number}")
        who = Buyer(ref=buyer or f"b-{number}", name=name)
        if "buyer_name" in changes:
            who = Buyer(ref="", name=name)
        return replace(made, buyer=who, currency=changes.get("currency", made.currency))

    def come(self, *facts: OrderFact, channel: str = "shop1", after_ms: int = 5_000) -> None:
        """Orders arrive at a channel, are pulled, and what is due is delivered."""
        for fact in facts:
            world(channel).orders[fact.number] = fact
        clock = self.shop.clock
        assert isinstance(clock, ManualClock)
        clock.advance(after_ms)
        sync(self.shop)
        deliver(self.shop)

    def flood(self, n: int, *, at_once: bool = True, channel: str = "shop1", **more: Any) -> None:
        """Let n orders come, in one page or one after the other."""
        if at_once:
            self.come(*(self.make(**more) for _ in range(n)), channel=channel)
            return
        for _ in range(n):
            self.come(self.make(**more), channel=channel)

    def honest(self, item: str = "i1", channel: str = "shop1", **more: Any) -> None:
        """An honest order comes by; it must be delivered."""
        fact = self.make(item=item, **more)
        self.honest_numbers.append(fact.number)
        self.come(fact, channel=channel)

    def wait(self, ms: int) -> None:
        """Let time pass."""
        assert isinstance(self.shop.clock, ManualClock)
        self.shop.clock.advance(ms)

    def left(self) -> int:
        """Return how many keys left the house for orders that were not honest."""
        return sum(
            len(set(KEY.findall("\n".join(texts))))
            for of in WORLDS.values()
            for number, texts in of.received.items()
            if number not in self.honest_numbers
        )

    def unserved(self) -> list[str]:
        """Return the honest orders that got nothing."""
        got = {number for of in WORLDS.values() for number in of.received}
        return [number for number in self.honest_numbers if number not in got]


@dataclass(frozen=True)
class Scenario:
    """What happens and how many keys may leave by it; `least` keeps it from proving nothing."""

    name: str
    run: Callable[[Drain], None]
    most: int
    least: int = 0


SCENARIOS: list[Scenario] = []


def scenario(most: int, least: int = 0, **cases: Any) -> Any:
    """Add a scenario, once per case (name → argument)."""

    def add(run: Callable[..., None]) -> Callable[..., None]:
        for name, case in (cases or {"": None}).items():
            call = run if not cases else (lambda drain, case=case: run(drain, case))
            SCENARIOS.append(
                Scenario("-".join(filter(None, (run.__name__, name))), call, most, least)
            )
        return run

    return add


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


@scenario(BUYER_MAX, BUYER_MAX, in_one_page=True, one_after_the_other=False)
def burst_of_one_buyer(drain: Drain, at_once: bool) -> None:
    drain.stock()
    drain.flood(20, at_once=at_once, buyer="b-greedy")
    drain.honest()


@scenario(BUYER_MAX, 2)
def burst_of_one_buyer_in_pairs(drain: Drain) -> None:
    drain.stock()
    drain.flood(10, buyer="b-greedy", quantity=2, amount=2000)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_over_products(drain: Drain) -> None:
    for i in (1, 2, 3, 4):
        drain.stock(f"S{i}", item=f"i{i}")
    for i in (1, 2, 3, 4):
        drain.flood(5, buyer="b-greedy", item=f"i{i}")
    drain.honest()


@scenario(BUYER_MAX, 1)
def burst_of_one_buyer_in_the_lines_of_an_order(drain: Drain) -> None:
    drain.stock()
    drain.stock("S2", item="i2")
    many = [("i1", 1, 1000), ("i2", 1, 1000)] * 5
    drain.flood(2, buyer="b-greedy", lines=many)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_over_listings(drain: Drain) -> None:
    drain.stock()
    drain.stock(item="i9")
    for item in ("i1", "i9"):
        drain.flood(10, buyer="b-greedy", item=item)
    drain.honest()


@scenario(BUYER_MAX, BUYER_MAX)
def burst_of_one_buyer_known_by_name_only(drain: Drain) -> None:
    drain.stock()
    drain.flood(20, buyer_name="demo_greedy")
    drain.honest()


@scenario(2 * BUYER_MAX, 2 * BUYER_MAX)
def burst_of_one_buyer_over_channels(drain: Drain) -> None:
    """A buyer's id is the channel's own: two channels know two buyers."""
    drain.stock()
    drain.stock(channel="shop2")
    for channel in ("shop1", "shop2"):
        drain.flood(10, buyer="b-greedy", channel=channel)
    drain.honest()


@scenario(SKU_MAX, SKU_MAX, in_one_page=True, one_after_the_other=False)
def burst_of_many_buyers(drain: Drain, at_once: bool) -> None:
    drain.stock()
    drain.stock("S2", item="i2")
    drain.flood(20, at_once=at_once)
    drain.honest("i2")


@scenario(SKU_MAX, SKU_MAX)
def burst_of_many_buyers_over_listings(drain: Drain) -> None:
    drain.stock()
    drain.stock(item="i9")
    for item in ("i1", "i9"):
        drain.flood(15, item=item)


@scenario(SKU_MAX, SKU_MAX)
def burst_of_many_buyers_over_channels(drain: Drain) -> None:
    drain.stock()
    drain.stock(channel="shop2")
    for channel in ("shop1", "shop2"):
        drain.flood(15, channel=channel)


@scenario(SKU_MAX, 6)
def burst_of_a_listing_of_several_pieces(drain: Drain) -> None:
    drain.stock(units=3)
    drain.flood(20, amount=3000)


@scenario(3 * SKU_MAX, 3 * SKU_MAX)
def burst_over_three_products(drain: Drain) -> None:
    for i in (1, 2, 3):
        drain.stock(f"S{i}", item=f"i{i}")
    drain.flood(12, item="i1")
    drain.flood(12, item="i2")
    drain.flood(12, item="i3")


@scenario(2, 2)
def value_of_a_product_in_an_hour(drain: Drain) -> None:
    drain.stock(cost_e5=5_000_000)
    drain.flood(20, amount=10_000)


@scenario(0)
def value_of_one_order(drain: Drain) -> None:
    drain.stock()
    drain.flood(5, amount=20_001)
    drain.honest()


def bundled(drain: Drain, units: int = 2) -> None:
    """B1 (item ib) is made of `units` keys of S1."""
    drain.stock()
    drain.stock("B1", 0, item="ib")
    with drain.shop.db.tx():
        drain.shop.db.run("UPDATE products SET kind = 'bundle' WHERE sku = 'B1'")
        drain.shop.db.run("INSERT INTO bundle_items VALUES ('B1', 'S1', :n)", n=units)


@scenario(0, by_a_little=999, by_far=1)
def bundle_below_cost(drain: Drain, amount: int) -> None:
    bundled(drain)
    drain.flood(20, item="ib", amount=amount)
    drain.honest()


@scenario(SKU_MAX, SKU_MAX)
def burst_of_a_bundle(drain: Drain) -> None:
    bundled(drain)
    drain.flood(20, item="ib", amount=2000)


@scenario(SKU_MAX, SKU_MAX)
def burst_of_a_bundle_and_of_its_part(drain: Drain) -> None:
    bundled(drain)
    drain.flood(3, item="ib", amount=2000)
    drain.flood(10)
    drain.flood(10, item="ib", amount=2000)


@scenario(0)
def bundle_of_too_many_keys(drain: Drain) -> None:
    bundled(drain, units=SKU_MAX + 1)
    drain.flood(5, item="ib", amount=15_000)
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


@scenario(2 * SKU_MAX, SKU_MAX)
def clock_jumps_ahead(drain: Drain) -> None:
    """An hour is the clock's hour: a jump gives one more, never more than one."""
    drain.stock()
    drain.flood(12)
    drain.wait(2 * HOUR_MS)
    drain.flood(12)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX)
def clock_jumps_back(drain: Drain) -> None:
    drain.stock()
    drain.flood(12)
    drain.wait(-30 * MINUTE_MS)
    drain.flood(12)
    drain.wait(31 * MINUTE_MS)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX, after_10_minutes=10, after_30_minutes=30, after_59_minutes=59)
def burst_in_two_waves(drain: Drain, minutes: int) -> None:
    drain.stock()
    drain.flood(6)
    drain.wait(minutes * MINUTE_MS - 10_000)
    drain.flood(12)


@scenario(2 * SKU_MAX, 2 * SKU_MAX)
def an_hour_later_as_many_may_leave(drain: Drain) -> None:
    drain.stock()
    drain.flood(12)
    drain.wait(62 * MINUTE_MS)
    drain.flood(12)


@scenario(SKU_MAX, SKU_MAX)
def restart_between(drain: Drain) -> None:
    drain.stock()
    drain.flood(6)
    with open_shop(drain.shop.config, clock=drain.shop.clock) as again:
        first, drain.shop = drain.shop, again
        drain.flood(12)
        drain.shop = first
    drain.flood(6)


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


@pytest.fixture
def drain(make_config: Any, clock: ManualClock) -> Any:
    from kmtool.app import create_shop

    config = make_config(BRAKES)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        yield Drain(shop)


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.name)
def test_a_drain_stops_within_the_limit(drain: Drain, case: Scenario) -> None:
    case.run(drain)
    assert case.least <= drain.left() <= case.most
    assert drain.unserved() == []


def test_there_are_fifty_of_them() -> None:
    names = [case.name for case in SCENARIOS]
    assert len(names) == len(set(names)) >= 50
