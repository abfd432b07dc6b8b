"""Orders written by hand, notes, and what hold, release and redeliver do at every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.errors import NotFound, OutsideError, Refused, UsageError
from kmtool.operations import by_hand
from kmtool.operations.by_hand import Answer
from kmtool.operations.deliver import deliver
from kmtool.operations.order_add import OrderWish, add, note
from kmtool.operations.order_changes import hold, redeliver, release
from kmtool.operations.orders import show
from kmtool.operations.reserve import reserve_due
from kmtool.ports import Verdict
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, states, tick
from tests.operations.refund_kit import AT
from tests.operations.stock import shelf

CHAT = OrderWish("shop1", "S1", 1000, number="C1", buyer="demo_cy", note="came by chat")


def test_an_order_of_a_channel_goes_the_ordinary_way(shop: Shop) -> None:
    shelf(shop)
    made = add(shop, CHAT)
    assert (made.known_there, made.total_minor, made.currency) == (False, 1000, "CNY")
    tick(shop, 120_000)
    reads = outside().reads
    assert deliver(shop).delivered == 1
    assert len(keys_at("C1")) == 1
    assert outside().reads == reads, "a channel that does not know it is not asked again"
    assert outside().shipped == set()
    shown = show(shop, "C1")
    assert [n.note for n in shown.notes] == ["came by chat"]
    assert broken(shop) == []


def test_gates_hold_for_it_as_for_any_other(shop: Shop) -> None:
    shelf(shop)
    add(shop, replace(CHAT, amount_minor=1))
    assert deliver(shop).held == {"price": 1}
    release(shop, "C1")
    assert deliver(shop).delivered == 1


def test_an_order_the_channel_knows_is_taken_as_it_stands_there(shop: Shop) -> None:
    shelf(shop)
    outside().orders["C1"] = order("C1", quantity=2, amount=2000, at_ms=AT)
    made = add(shop, CHAT)
    assert (made.known_there, made.total_minor) == (True, 2000)
    deliver(shop)
    assert len(keys_at("C1")) == 2
    assert outside().shipped == {"C1"}


def test_what_the_channel_says_later_counts(shop: Shop) -> None:
    shelf(shop)
    add(shop, CHAT)
    tick(shop, 10_000)
    pull(shop, order("C1", at_ms=shop.now_ms() - 5_000))
    assert shop.db.value("SELECT by_hand FROM orders WHERE number = 'C1'") == 0
    assert deliver(shop).delivered == 1
    assert (len(keys_at("C1")), outside().shipped) == (1, {"C1"})


def test_a_sale_at_the_counter_waits_for_a_hand(shop: Shop) -> None:
    shelf(shop)
    made = add(shop, OrderWish("counter", "S1", 1000, buyer="demo_bo"))
    assert made.number == "H20261122-0001"
    assert add(shop, OrderWish("counter", "S1", 1000)).number == "H20261122-0002"
    deliver(shop)
    assert line(shop, made.number)["state"] == "reserved"
    tick(shop, 600_000)
    by_hand.by_hand(shop, [], lambda _task: Answer.SENT)
    assert line(shop, made.number)["state"] == "delivered"
    assert broken(shop) == []


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (replace(CHAT, channel="nowhere"), NotFound),
        (replace(CHAT, sku="none"), NotFound),
        (replace(CHAT, number=""), UsageError),
        (replace(CHAT, number="C\x1b1"), UsageError),
        (replace(CHAT, number="C" * 101), UsageError),
    ],
)
def test_what_is_no_order_is_refused(shop: Shop, wish: OrderWish, error: type[Exception]) -> None:
    shelf(shop)
    with pytest.raises(error):
        add(shop, wish)
    assert shop.db.value("SELECT count(*) FROM orders") == 0


def test_the_same_order_twice_is_refused_and_a_silent_channel_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmtool.errors import Retriable
    from tests.fakes import Fake

    shelf(shop)
    add(shop, CHAT)
    with pytest.raises(Refused, match="there already"):
        add(shop, CHAT)

    def away(_self: Fake, _number: str) -> None:
        raise Retriable(who="fake", detail="connection refused")

    monkeypatch.setattr(Fake, "get_order", away)
    with pytest.raises(OutsideError):
        add(shop, replace(CHAT, number="C2"))
    assert shop.db.value("SELECT count(*) FROM orders") == 1


def test_notes_are_kept_with_time_and_actor(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    note(shop, "A1", "  asked for an invoice\x1b[31m ")
    tick(shop, 1_000)
    note(shop, "A1", "sent it")
    notes = show(shop, "A1").notes
    assert [n.note for n in notes] == ["asked for an invoice[31m", "sent it"]
    assert notes[0].at_ms < notes[1].at_ms and notes[0].actor == shop.actor
    for bad in ("", "  \n", "x" * 2001):
        with pytest.raises(UsageError):
            note(shop, "A1", bad)
    with pytest.raises(NotFound):
        note(shop, "none", "x")


def test_redeliver_and_hold_at_every_state(shop: Shop) -> None:
    shelf(shop, n=9)
    pull(shop, order("A1", at_ms=AT))
    with pytest.raises(Refused):
        redeliver(shop, "A1")  # waiting
    hold(shop, "A1", "look")
    assert deliver(shop).held == {"risk": 1}
    release(shop, "A1")
    reserve_due(shop)
    assert redeliver(shop, "A1").lines == 1  # reserved: due now
    hold(shop, "A1", "look again")
    assert (states(shop), line(shop)["state"]) == ({"free": 9}, "ready")
    release(shop, "A1")
    outside().faults, outside().probe = ["unknown"], Verdict.UNCLEAR
    deliver(shop)
    assert line(shop)["state"] == "unknown"
    assert redeliver(shop, "A1").lines == 1  # asked about at once, nothing new is sent
    with pytest.raises(Refused):
        hold(shop, "A1", "too late")
    outside().probe = None
    for _ in range(3):
        tick(shop, 200_000)
        deliver(shop)
    assert line(shop)["state"] == "delivered"
    sent = len(outside().received["A1"])
    redeliver(shop, "A1")
    deliver(shop)
    assert len(outside().received["A1"]) == sent + 1
    assert len(keys_at("A1")) == 1
    with pytest.raises(Refused):
        release(shop, "A1")
    assert broken(shop) == []
