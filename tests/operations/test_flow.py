"""How effects flow out: small slices first, larger ones while a route is quick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.operations import flow
from kmtool.operations.deliver import deliver
from kmtool.ports import Buyer, Message, Repeat
from kmtool.shop import Shop
from tests.fakes import FEATURES, Fake, order
from tests.operations.delivery_kit import START, broken, keys_at, line, outside, pull, tick
from tests.operations.stock import shelf

AT = START + 1_000


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many effects each transaction of intents covered (hand-overs only)."""
    found: list[int] = []
    real = flow.begin

    def counted(shop: Shop, due: Sequence[Any]) -> Any:
        if due[0]["kind"] == "hand_over":
            found.append(len(due))
        return real(shop, due)

    monkeypatch.setattr(flow, "begin", counted)
    yield found


def place(shop: Shop, n: int) -> None:
    """Let n buyers pay for one key each, the first ones one after the other."""
    shelf(shop, n=n)
    facts = [replace(order(f"A{i}", at_ms=AT + i), buyer=Buyer(ref=f"b{i}")) for i in range(n)]
    for fact in facts[:4]:
        pull(shop, fact)
    pull(shop, *facts[4:])


def test_slices_grow_while_the_route_is_quick(
    shop: Shop, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 2)
    monkeypatch.setattr(flow, "SLICE_MAX", 8)
    place(shop, 25)
    assert deliver(shop).delivered == 25
    assert sizes == [2, 4, 8, 8, 3]


def test_a_slow_answer_brings_them_back(
    shop: Shop, clock: ManualClock, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 2)
    place(shop, 12)
    slow = {"A3"}

    def answer(message: Message) -> None:
        if message.order_number in slow:
            clock.advance(5_000)

    outside().during_send = answer
    assert deliver(shop).delivered == 12
    assert sizes == [2, 4, 2, 4]


def test_slow_intents_bring_them_back_too(
    shop: Shop, clock: ManualClock, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 2)
    counted = flow.begin

    def slow(shop: Shop, due: Sequence[Any]) -> Any:
        begun = counted(shop, due)
        if len(sizes) == 2:
            clock.advance(1_500)
        return begun

    monkeypatch.setattr(flow, "begin", slow)
    place(shop, 12)
    assert deliver(shop).delivered == 12
    assert sizes[:3] == [2, 4, 2]


def test_a_route_that_bears_nothing_keeps_small_slices(
    shop: Shop, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 2)
    monkeypatch.setattr(Fake, "features", replace(FEATURES, repeat=Repeat.NONE))
    place(shop, 6)
    assert deliver(shop).delivered == 6
    assert sizes == [2, 2, 2]


def test_several_messages_at_once_while_the_next_intents_are_written(
    shop: Shop, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 2)
    monkeypatch.setattr(flow, "SLICE_MAX", 4)
    monkeypatch.setattr(Fake, "features", replace(FEATURES, parallel=4))
    place(shop, 17)
    result = deliver(shop)
    assert (result.delivered, result.shipped) == (17, 17)
    assert sizes == [2, 4, 4, 4, 3]
    assert all(len(keys_at(f"A{i}")) == 1 for i in range(17))
    assert not broken(shop)


def test_an_interrupt_keeps_what_is_known_and_asks_about_the_rest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLICE", 4)
    monkeypatch.setattr(Fake, "features", replace(FEATURES, parallel=2))
    place(shop, 4)

    def stop(message: Message) -> None:
        if message.order_number == "A3":
            raise KeyboardInterrupt

    outside().during_send = stop
    with pytest.raises(KeyboardInterrupt):
        deliver(shop)
    assert [line(shop, f"A{i}")["state"] for i in range(4)] == ["delivered"] * 3 + ["unknown"]
    outside().during_send = None
    tick(shop, 130_000)
    deliver(shop)
    tick(shop, 5_000)
    deliver(shop)
    assert line(shop, "A3")["state"] == "delivered"
    assert len(keys_at("A3")) == 1
    assert not broken(shop)
