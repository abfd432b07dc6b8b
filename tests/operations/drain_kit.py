"""What drains a shop in the tests of the brakes: orders, floods, honest ones between them.

The limits: 8 keys of a product, 200.00 of it, 3 pieces per buyer, each within an hour, and nothing
below cost or floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
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


Adds = Callable[[Callable[..., None]], Callable[..., None]]


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


def scenario(to: list[Scenario], most: int, least: int = 0, **cases: Any) -> Adds:
    """Add a scenario to a list, once per case (name → argument)."""

    def add(run: Callable[..., None]) -> Callable[..., None]:
        for name, case in (cases or {"": None}).items():
            call = run if not cases else (lambda drain, case=case: run(drain, case))
            to.append(Scenario("-".join(filter(None, (run.__name__, name))), call, most, least))
        return run

    return add


@pytest.fixture
def drain(make_config: Any, clock: ManualClock) -> Any:
    config = make_config(BRAKES)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        yield Drain(shop)


def stops(drain: Drain, case: Scenario) -> None:
    """Play a scenario: no more keys left than its limit, and the honest orders went."""
    case.run(drain)
    assert case.least <= drain.left() <= case.most
    assert drain.unserved() == []
