"""Delivery: each paid line gets exactly its keys, whatever the other side answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations.deliver import deliver
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.ports import LineFact, RefundFact, Verdict
from kmtool.shop import Shop
from kmtool.store import ledger, products
from tests.fakes import Outside, order, world
from tests.operations.stock import shelf

START = 1_795_305_600_000


def line(shop: Shop, number: str = "A1") -> dict[str, object]:
    row = shop.db.one(
        "SELECT l.* FROM lines l JOIN orders o ON o.id = l.order_id WHERE o.number = :n"
        " ORDER BY l.id",
        n=number,
    )
    assert row is not None
    return row


def keys_of(text: str) -> list[str]:
    return [part for part in text.split("\n") if part.startswith("KEY-")]


def states(shop: Shop) -> dict[str, int]:
    rows = shop.db.all("SELECT state, count(*) AS n FROM keys GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


@pytest.fixture
def outside(shop: Shop, clock: ManualClock) -> Outside:
    clock.advance(10_000)
    return world("shop1")


@pytest.fixture
def pull(shop: Shop, clock: ManualClock) -> Callable[..., None]:
    def run(*facts: object) -> None:
        for fact in facts:
            world().orders[fact.number] = fact  # type: ignore[attr-defined]
        clock.advance(5_000)
        sync(shop)

    return run


def test_paid_order_gets_exactly_one_key(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop)
    pull(order("A1", at_ms=START + 1000))
    result = deliver(shop)
    assert (result.delivered, result.shipped, result.needs_you) == (1, 1, 0)
    assert len(keys_of(outside.received["A1"][0])) == 1
    assert outside.shipped == {"A1"}
    assert line(shop)["state"] == "delivered"
    assert states(shop) == {"delivered": 1, "free": 4}
    assert shop.db.value("SELECT free FROM stock WHERE sku = 'S1'") == 4
    assert deliver(shop).delivered == 0
    assert len(outside.received["A1"]) == 1


def test_two_pieces_of_a_pack_get_all_their_keys(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop, n=10, units=3)
    pull(order("A1", quantity=2, amount=5000, at_ms=START + 1000))
    assert deliver(shop).delivered == 1
    assert len(set(keys_of(outside.received["A1"][0]))) == 6


def test_first_expiring_leaves_first(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop, n=2, prefix="KEY-late")
    shelf(shop, n=2, prefix="KEY-soon", expires_ms=START + 86_400_000)
    shelf(shop, n=2, prefix="KEY-gone", expires_ms=START - 1)
    pull(order("A1", at_ms=START + 1000))
    deliver(shop)
    assert keys_of(outside.received["A1"][0])[0].startswith("KEY-soon")
    assert states(shop)["expired"] == 2


def test_cost_is_booked_once_per_key(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop, n=3, cost_e5=333_333)
    pull(order("A1", quantity=3, amount=5000, at_ms=START + 1000))
    deliver(shop)
    amounts = [r["amount_minor"] for r in shop.db.all("SELECT amount_minor FROM allocations")]
    assert sorted(amounts) == [333, 333, 334]
    assert ledger.balance(shop.db, "cost:keys", "CNY") == 1000
    assert ledger.balance(shop.db, "payable:supplier:sup1", "CNY") == -1000


def test_a_lost_reply_is_healed_by_asking(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop)
    outside.faults = ["lost"]
    pull(order("A1", at_ms=START + 1000))
    assert deliver(shop).unknown == 1
    assert line(shop)["state"] == "unknown"
    shop.clock.advance(3_000)  # type: ignore[attr-defined]
    assert deliver(shop).delivered == 1
    assert len(outside.received["A1"]) == 1
    assert states(shop) == {"delivered": 1, "free": 4}


def test_a_message_that_never_arrived_is_sent_again_with_the_same_key(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["unknown"]
    pull(order("A1", at_ms=START + 1000))
    deliver(shop)
    bound = shop.db.value("SELECT tail FROM keys WHERE state = 'exposed'")
    clock.advance(10_000)
    assert deliver(shop).unknown == 1
    clock.advance(130_000)
    assert deliver(shop).delivered == 1
    assert keys_of(outside.received["A1"][0])[0].endswith(bound)
    assert states(shop) == {"delivered": 1, "free": 4}


def test_a_route_that_is_down_is_tried_again(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["down"]
    pull(order("A1", at_ms=START + 1000))
    assert deliver(shop).failed == 1
    assert line(shop)["state"] == "reserved"
    clock.advance(60_000)
    assert deliver(shop).delivered == 1


def test_a_refusal_goes_to_a_person(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop)
    outside.faults = ["rejected"]
    pull(order("A1", at_ms=START + 1000))
    assert deliver(shop).needs_you == 1
    assert line(shop)["state"] == "human"
    assert states(shop) == {"exposed": 1, "free": 4}


def test_an_interrupt_in_the_middle_leaves_an_unclear_attempt(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["crash"]
    pull(order("A1", at_ms=START + 1000))
    with pytest.raises(KeyboardInterrupt):
        deliver(shop)
    assert line(shop)["state"] == "unknown"
    assert [e.kind for e in shop.journal.read()] == ["SEND"]
    clock.advance(1_000)
    assert deliver(shop).delivered == 1
    assert len(outside.received["A1"]) == 1


def test_shipped_is_asked_after_a_lost_reply(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["", "ship_lost"]
    pull(order("A1", at_ms=START + 1000))
    result = deliver(shop)
    assert (result.delivered, result.shipped) == (1, 0)
    clock.advance(3_000)
    assert deliver(shop).shipped == 1


def test_a_line_without_stock_is_held_and_goes_when_keys_come(
    shop: Shop, outside: Outside, pull
) -> None:
    shelf(shop, n=1)
    pull(order("A1", quantity=2, amount=3000, at_ms=START + 1000))
    assert deliver(shop).held == {"stock": 1}
    shelf(shop, n=2, prefix="KEY-more")
    assert deliver(shop).delivered == 1


def test_an_order_with_a_short_line_waits_then_sends_what_is_there(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop, n=5)
    shelf(shop, "S2", n=0, item="i2")
    both = (
        LineFact("1", "i1", "", "one", 1, 1000),
        LineFact("2", "i2", "", "two", 1, 1000),
    )
    pull(order("A1", lines=both, at_ms=START + 1000))
    assert deliver(shop).held == {"order_wait": 1, "stock": 1}
    clock.advance(1_800_000)
    assert deliver(shop).delivered == 1
    assert outside.shipped == set()
    shelf(shop, "S2", n=1, item="i2", prefix="KEY-late")
    assert deliver(shop).shipped == 1
    assert len(outside.received["A1"]) == 2


@pytest.mark.parametrize(
    ("changes", "state", "gate"),
    [
        ({"status": OrderStatus.UNPAID, "paid_ms": None}, "new", "paid"),
        ({"refund": RefundState.OPEN}, "held", "refund"),
        ({"refund": RefundState.PARTIAL}, "held", "refund"),
        ({"refund": RefundState.FULL}, "cancelled", ""),
        ({"status": OrderStatus.CLOSED}, "cancelled", ""),
        ({"status": OrderStatus.SHIPPED}, "held", "shipped"),
        ({"status": OrderStatus.REVIEW}, "held", "risk"),
        ({"risk": "fraud"}, "held", "risk"),
        ({"currency": "USD"}, "held", "amount"),
    ],
)
def test_a_gate_holds_the_line(
    shop: Shop, outside: Outside, pull, changes: dict[str, object], state: str, gate: str
) -> None:
    shelf(shop)
    fact = order("A1", at_ms=START + 1000)
    pull(replace(fact, **changes))  # type: ignore[arg-type]
    deliver(shop)
    found = line(shop)
    assert (found["state"], found["gate"]) == (state, gate)
    assert states(shop) == {"free": 5}
    assert outside.received == {}


def test_a_price_below_cost_pulls_the_brake(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop, cost_e5=2_000_000)
    pull(order("A1", amount=1999, at_ms=START + 1000))
    assert deliver(shop).held == {"price": 1}


def test_a_buyer_who_takes_too_many_pulls_the_brake(shop: Shop, outside: Outside, pull) -> None:
    shelf(shop, n=30)
    pull(*(order(f"A{i}", quantity=3, amount=3000, at_ms=START + 1000) for i in range(5)))
    result = deliver(shop)
    assert (result.delivered, result.held) == (3, {"burst": 2})


def test_an_unmapped_item_waits(shop: Shop, outside: Outside, pull) -> None:
    pull(order("A1", item="new", at_ms=START + 1000))
    assert deliver(shop).unmapped == 1
    assert line(shop)["state"] == "unmapped"


def test_a_refund_before_anything_left_frees_the_key(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["down"]
    fact = order("A1", at_ms=START + 1000)
    pull(fact)
    from kmtool.operations.reserve import reserve_due

    reserve_due(shop)
    assert states(shop) == {"reserved": 1, "free": 4}
    refund = RefundFact("R1", 1000, "done", START + 2000)
    pull(replace(fact, refund=RefundState.FULL, refunds=(refund,), revision_ms=START + 9000))
    assert line(shop)["state"] == "cancelled"
    assert states(shop) == {"free": 5}
    assert shop.db.value("SELECT free FROM stock") == 5
    assert deliver(shop).delivered == 0
    assert outside.received == {}


def test_a_refund_while_the_outcome_is_unclear_becomes_a_case(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["lost"]
    fact = order("A1", at_ms=START + 1000)
    pull(fact)
    deliver(shop)
    pull(replace(fact, refund=RefundState.OPEN, revision_ms=START + 9000))
    assert line(shop)["state"] == "refund_case"
    deliver(shop)
    assert line(shop)["state"] == "refund_case"
    assert states(shop)["delivered"] == 1
    assert outside.shipped == set()


def test_a_refund_seen_at_the_last_look_stops_the_send(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    fact = order("A1", at_ms=START + 1000)
    pull(fact)
    clock.advance(60_000)
    outside.orders["A1"] = replace(fact, refund=RefundState.OPEN, revision_ms=START + 20_000)
    deliver(shop)
    assert outside.received == {}
    assert outside.reads == 1
    assert states(shop) == {"free": 5}


def test_a_delivered_order_that_is_refunded_becomes_a_case(
    shop: Shop, outside: Outside, pull
) -> None:
    shelf(shop)
    fact = order("A1", at_ms=START + 1000)
    pull(fact)
    deliver(shop)
    pull(replace(fact, refund=RefundState.FULL, revision_ms=START + 9000))
    assert line(shop)["state"] == "refund_case"
    assert states(shop)["delivered"] == 1


def test_an_unclear_route_that_cannot_tell_goes_to_a_person(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults, outside.probe = ["unknown"], Verdict.UNCLEAR
    pull(order("A1", at_ms=START + 1000))
    deliver(shop)
    for _ in range(100):
        clock.advance(20_000)
        if deliver(shop).needs_you:
            break
    assert line(shop)["state"] == "human"


def test_an_unclear_outcome_survives_a_night_without_the_other_side(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults, outside.away = ["lost"], True
    pull(order("A1", at_ms=START + 1000))
    for _ in range(12):
        deliver(shop)
        clock.advance(3_600_000)
    assert line(shop)["state"] == "unknown"
    outside.away = False
    assert deliver(shop).delivered == 1
    assert len(outside.received["A1"]) == 1


def test_a_route_that_is_down_for_a_day_goes_to_a_person(
    shop: Shop, outside: Outside, clock: ManualClock, pull
) -> None:
    shelf(shop)
    outside.faults = ["down"] * 40
    pull(order("A1", at_ms=START + 1000))
    for _ in range(20):
        deliver(shop)
        clock.advance(3_600_000)
    assert line(shop)["state"] == "reserved"
    for _ in range(8):
        deliver(shop)
        clock.advance(3_600_000)
    assert line(shop)["state"] == "human"


def test_history_is_seen_and_never_delivered(shop: Shop, outside: Outside, clock) -> None:
    shelf(shop)
    outside.orders["A1"] = order("A1", at_ms=START + 1000)
    clock.advance(5_000)
    sync(shop, catch_up=True)
    assert deliver(shop).delivered == 0
    assert line(shop)["state"] == "closed"


def test_keys_leave_in_the_order_of_their_file(shop: Shop, outside: Outside, pull) -> None:
    keys = shelf(shop, n=6)
    pull(order("A1", quantity=4, amount=4000, at_ms=START + 1000))
    deliver(shop)
    assert keys_of(outside.received["A1"][0]) == keys[:4]


def test_a_product_switched_off_after_its_keys_were_bound_is_not_sent(
    shop: Shop, pull: Callable[..., None]
) -> None:
    shelf(shop)
    pull(order("A1"))
    assert reserve_due(shop).reserved == 1
    with shop.db.tx():
        products.set_product(shop.db, "S1", state="off")
    assert deliver(shop).delivered == 0
    assert world().received == {}
    assert shop.db.value("SELECT free FROM stock WHERE sku = 'S1'") == 5
    with shop.db.tx():
        products.set_product(shop.db, "S1", state="on")
    assert deliver(shop).delivered == 1
