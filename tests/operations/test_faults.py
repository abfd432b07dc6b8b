"""Whatever the simulated shop does to our calls: a buyer gets the order's keys, and only those."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Fault, FaultKind, Offer, Sold
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.operations.deliver import deliver
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from tests.operations.stock import shelf

ORDERS = 30
KINDS = [kind for kind in FaultKind if kind not in (FaultKind.SLOW, FaultKind.DENIED)]
EXTRA = """
[channels.shop1.credentials]
token = "demo-token"
secret = "demo-secret"
[channels.shop1.options]
url = "{url}"
read_seconds = 2
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
"""


@pytest.fixture
def maple(clock: ManualClock) -> Iterator[DemoShop]:
    with DemoShop(clock) as shop:
        shop.add_item(Offer("i1", "", "月卡", 1000, 100))
        yield shop
    assert shop.troubles == []


@pytest.fixture
def shop(maple: DemoShop, make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    config = make_config(EXTRA.format(url=maple.url), adapter="demo", courier="demo")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        shelf(opened, n=ORDERS * 2, cost_e5=100)
        yield opened


def keys_in(texts: list[str]) -> set[str]:
    return set(re.findall(r"KEY-S1-\d+", "\n".join(texts)))


def settle(shop: Shop, clock: ManualClock, rounds: int) -> None:
    for _ in range(rounds):
        sync(shop)
        deliver(shop)
        clock.advance(8_000)


def check(shop: Shop, maple: DemoShop, pieces: dict[str, int]) -> None:
    owners: dict[str, str] = {}
    for number, wanted in pieces.items():
        got = keys_in(maple.received(number))
        assert len(got) == wanted, (number, maple.received(number))
        assert len(set(maple.received(number))) == 1
        assert maple.shipped(number), number
        for key in got:
            assert owners.setdefault(key, number) == number
    states = {
        str(row["state"]): row["n"]
        for row in shop.db.all("SELECT state, count(*) AS n FROM keys GROUP BY state")
    }
    assert states == {"free": ORDERS * 2 - len(owners), "delivered": len(owners)}


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_of_each_kind_at_each_call_costs_nothing(
    kind: FaultKind, shop: Shop, maple: DemoShop, clock: ManualClock
) -> None:
    clock.advance(60_000)
    number = maple.add_order([Sold("i1", 2)])
    clock.advance(10_000)
    for call in ("orders", "order", "message", "messages", "ship"):
        maple.fail(call, kind, seconds=1)
    settle(shop, clock, 16)
    check(shop, maple, {number: 2})
    messages = maple.received(number)
    assert len(messages) == 1


def test_a_bad_night_loses_nothing(shop: Shop, maple: DemoShop, clock: ManualClock) -> None:
    dice = random.Random(20261122)

    def plan(call: str) -> Fault | None:
        if dice.random() < 0.25:
            return Fault(call, dice.choice(KINDS), seconds=1)
        return None

    pieces: dict[str, int] = {}
    for _ in range(ORDERS):
        clock.advance(20_000)
        wanted = dice.choice((1, 1, 2))
        pieces[maple.add_order([Sold("i1", wanted)], buyer=f"demo_{len(pieces)}")] = wanted
    maple.faults.plan = plan
    settle(shop, clock, 12)
    maple.faults.clear()
    settle(shop, clock, 16)
    check(shop, maple, pieces)
