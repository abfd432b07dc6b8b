"""A process that stood still between intent and network sends nothing before it looked again."""

from __future__ import annotations

import pytest

from kmtool.clock import Clock
from kmtool.errors import Broken
from kmtool.operations import sender
from kmtool.operations.awake import STOOD_STILL_S, Awake
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, tick
from tests.operations.stock import shelf


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine sleeps right after each intent."""
    made = Awake.__init__

    def older(self: Awake, clock: Clock) -> None:
        made(self, clock)
        self._moved -= STOOD_STILL_S + 1

    monkeypatch.setattr(Awake, "__init__", older)
    monkeypatch.setattr(Awake, "moved", lambda _self: None)


@pytest.mark.usefixtures("asleep")
def test_nothing_leaves_and_it_is_tried_again(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1"))
    done = deliver(shop)
    assert done.delivered == 0 and keys_at("A1") == set()
    assert line(shop)["state"] == "reserved" and "stood still" in line(shop)["reason"]


def test_awake_it_is_sent(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1"))
    assert deliver(shop).delivered == 1


def test_one_that_was_fenced_off_meanwhile_writes_nothing(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1"))

    def taken_over(_message: object) -> None:
        with shop.db.tx():
            shop.db.run("UPDATE sessions SET state = 'dead'")

    outside().during_send = taken_over
    with pytest.raises(Broken, match="took over"):
        deliver(shop)
    outside().during_send = None
    assert len(outside().received["A1"]) == 1
    sender.sweep(shop)
    for number in [row["id"] for row in shop.db.all("SELECT id FROM sessions")]:
        sender.close(shop, number, "dead")
    tick(shop, 200_000)
    assert deliver(shop).delivered == 1
    assert len(outside().received["A1"]) == 1
    assert broken(shop) == []
