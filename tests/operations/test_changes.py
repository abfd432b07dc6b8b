"""What changes at the channel between reserve, intent and outcome."""

from __future__ import annotations

from dataclasses import replace

from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver, release
from kmtool.operations.refunds import CHANGED
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, LineFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import (
    START,
    broken,
    effects,
    keys_at,
    line,
    lines,
    outside,
    pull,
    states,
    tick,
)
from tests.operations.stock import shelf

AT = START + 1000


def test_a_quantity_that_changes_after_the_reservation_waits_for_a_person(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", lines=lines(("i1", 2)), at_ms=AT))
    reserve_due(shop)
    pull(shop, order("A1", lines=lines(("i1", 3)), at_ms=AT, revision_ms=AT + 5000))
    assert deliver(shop).held == {"risk": 1}
    assert CHANGED in line(shop)["reason"]
    assert states(shop) == {"free": 5}
    release(shop, "A1")
    assert deliver(shop).delivered == 1
    assert len(keys_at("A1")) == 3
    assert broken(shop) == []


def test_a_change_after_the_delivery_goes_to_a_person_once(shop: Shop) -> None:
    shelf(shop)
    first = order("A1", lines=lines(("i1", 1)), at_ms=AT)
    pull(shop, first)
    deliver(shop)
    more = replace(first, lines=lines(("i1", 2)), total_minor=2000, revision_ms=AT + 5000)
    pull(shop, more)
    assert (line(shop)["state"], line(shop)["quantity"], line(shop)["needed"]) == ("human", 2, 1)
    assert release(shop, "A1").lines == 1
    pull(shop, replace(more, status=OrderStatus.SHIPPED, revision_ms=AT + 9000))
    assert line(shop)["state"] == "delivered"
    assert len(keys_at("A1")) == 1


def test_a_change_while_the_answer_is_awaited_is_not_forgotten(shop: Shop) -> None:
    shelf(shop)
    first = order("A1", lines=lines(("i1", 1)), at_ms=AT)
    pull(shop, first)
    outside().faults = ["lost"]
    deliver(shop)
    pull(shop, replace(first, lines=lines(("i1", 2)), total_minor=2000, revision_ms=AT + 5000))
    tick(shop, 20_000)
    deliver(shop)
    assert line(shop)["state"] == "human"
    assert CHANGED in line(shop)["reason"]


def test_a_change_of_one_line_stops_the_whole_parcel_for_the_same_person(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop)
    shelf(shop, "S2", item="i2")
    both = lines(("i1", 1), ("i2", 1))
    pull(shop, order("A1", lines=both, at_ms=AT))
    outside().faults = ["unknown"]
    deliver(shop)
    pull(shop, order("A1", lines=both[1:], at_ms=AT, revision_ms=AT + 5000))
    assert {line(shop)["state"], line(shop, line_no="2")["state"]} == {"human"}
    assert broken(shop) == []
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 2


def test_a_line_that_is_cancelled_takes_its_keys_out_of_the_sealed_text(shop: Shop) -> None:
    shelf(shop)
    shelf(shop, "S2", item="i2")
    both = lines(("i1", 1), ("i2", 1))
    pull(shop, order("A1", lines=both, at_ms=AT))
    reserve_due(shop)
    pull(shop, order("A1", lines=both[:1], at_ms=AT, revision_ms=AT + 5000))
    assert line(shop, line_no="2")["state"] == "cancelled"
    release(shop, "A1")
    deliver(shop)
    assert {key.split("-")[1] for key in keys_at("A1")} == {"S1"}
    assert states(shop) == {"delivered": 1, "free": 9}
    assert outside().shipped == {"A1"}


def test_the_last_open_line_that_is_cancelled_lets_the_order_be_marked(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop)
    shelf(shop, "S2", n=0, item="i2")
    both = lines(("i1", 1), ("i2", 1))
    pull(shop, order("A1", lines=both, at_ms=AT))
    deliver(shop)
    clock.advance(1_800_000)
    assert deliver(shop).delivered == 1
    pull(shop, order("A1", lines=both[:1], at_ms=AT, revision_ms=clock.now_ms()))
    deliver(shop)
    assert outside().shipped == {"A1"}


def test_a_line_of_no_pieces_is_no_delivery(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", lines=(LineFact("1", "i1", "", "x", -1, 1000),), at_ms=AT))
    assert deliver(shop).held == {"amount": 1}
    assert states(shop) == {"free": 5}


def test_a_reserved_key_that_expires_is_exchanged_before_anything_leaves(shop: Shop) -> None:
    shelf(shop, n=1, prefix="KEY-soon", expires_ms=START + 60_000)
    shelf(shop, n=1, prefix="KEY-late")
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    tick(shop, 120_000)
    deliver(shop)
    deliver(shop)
    assert [key.split("-")[1] for key in keys_at("A1")] == ["late"]
    assert states(shop) == {"delivered": 1, "expired": 1}


def test_a_reserved_key_that_is_taken_out_of_sale_is_exchanged(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with shop.db.tx():
        shop.db.run("UPDATE keys SET state = 'quarantine' WHERE state = 'reserved'")
    deliver(shop)
    deliver(shop)
    assert len(keys_at("A1")) == 1
    assert states(shop) == {"delivered": 1, "quarantine": 1}


def test_a_contact_that_moved_between_tries_asks_a_person_who_confirms_it(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    outside().faults = ["down"]
    deliver(shop)
    pull(shop, replace(fact, buyer=Buyer(email="b@example.test"), revision_ms=AT + 5000))
    tick(shop, 10_000)
    deliver(shop)
    assert line(shop)["state"] == "human"
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1
    assert states(shop) == {"delivered": 1, "free": 4}


def test_a_refund_of_a_rejected_try_makes_a_case_and_its_end_asks_a_person(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    outside().faults = ["down"]
    deliver(shop)
    assert (line(shop)["state"], states(shop)) == ("reserved", {"exposed": 1, "free": 4})
    pull(shop, replace(fact, refund=RefundState.OPEN, revision_ms=AT + 5000))
    assert line(shop)["state"] == "refund_case"
    tick(shop, 60_000)
    deliver(shop)
    assert outside().received == {}
    pull(shop, replace(fact, revision_ms=AT + 9000))
    assert line(shop)["state"] == "human"
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1
    assert (states(shop), broken(shop)) == ({"delivered": 1, "free": 4}, [])


def test_a_refund_withdrawn_after_the_delivery_lets_the_order_be_marked(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    outside().faults = ["", "ship_lost"]
    deliver(shop)
    outside().shipped.clear()
    pull(shop, replace(fact, refund=RefundState.OPEN, revision_ms=AT + 5000))
    assert line(shop)["state"] == "refund_case"
    tick(shop, 200_000)
    deliver(shop)
    assert outside().shipped == set()
    pull(shop, replace(fact, revision_ms=AT + 9000))
    assert line(shop)["state"] == "delivered"
    deliver(shop)
    assert outside().shipped == {"A1"}


def test_a_refund_during_the_send_becomes_a_case_with_the_key_in_the_books(shop: Shop) -> None:
    """Another process takes the refund in while the message is on its way."""
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    late = replace(fact, refund=RefundState.FULL, revision_ms=AT + 5000)
    outside().during_send = lambda _: pull(shop, late)
    deliver(shop)
    assert line(shop)["state"] == "refund_case"
    assert (states(shop), outside().shipped) == ({"delivered": 1, "free": 4}, set())
    assert broken(shop) == []


def test_an_order_that_was_cancelled_and_then_paid_is_delivered(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", status=OrderStatus.CLOSED, at_ms=AT)
    pull(shop, fact)
    deliver(shop)
    assert line(shop)["state"] == "cancelled"
    paid = replace(fact, status=OrderStatus.PAID, revision_ms=AT + 5000)
    pull(shop, paid)
    assert deliver(shop).delivered == 1


def test_an_unpaid_order_goes_when_it_is_paid_even_after_a_catch_up(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", status=OrderStatus.UNPAID, at_ms=AT)
    outside().orders["A1"] = fact
    outside().orders["OLD"] = order("OLD", at_ms=AT)
    tick(shop, 5_000)
    sync(shop, catch_up=True)
    assert (deliver(shop).delivered, line(shop)["state"]) == (0, "new")
    pull(shop, replace(fact, status=OrderStatus.PAID, paid_ms=AT, revision_ms=AT + 5000))
    assert deliver(shop).delivered == 1
    assert line(shop, "OLD")["state"] == "closed"


def test_history_that_is_refunded_later_changes_nothing(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", at_ms=AT)
    outside().orders["A1"] = fact
    tick(shop, 5_000)
    sync(shop, catch_up=True)
    more = lines(("i1", 1), ("i1", 1))
    pull(shop, replace(fact, refund=RefundState.FULL, lines=more, revision_ms=AT + 5000))
    deliver(shop, ["A1"])
    assert {line(shop)["state"], line(shop, line_no="2")["state"]} == {"closed"}
    assert states(shop) == {"free": 5}


def test_a_second_partial_refund_asks_anew(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", lines=lines(("i1", 3)), at_ms=AT)
    from kmtool.ports import RefundFact

    first = RefundFact("R1", 1000, "done")
    pull(shop, replace(fact, refund=RefundState.PARTIAL, refunds=(first,)))
    release(shop, "A1", 2)
    second = RefundFact("R2", 1000, "done")
    both = replace(fact, refund=RefundState.PARTIAL, refunds=(first, second))
    pull(shop, replace(both, revision_ms=AT + 5000))
    assert deliver(shop).held == {"refund": 1}
    release(shop, "A1", 1)
    assert deliver(shop).delivered == 1
    assert len(keys_at("A1")) == 1


def test_a_released_quantity_outlives_a_new_title(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", lines=lines(("i1", 3)), at_ms=AT)
    pull(shop, replace(fact, refund=RefundState.PARTIAL))
    release(shop, "A1", 2)
    named = (replace(fact.lines[0], title="new name"),)
    pull(shop, replace(fact, refund=RefundState.PARTIAL, lines=named, revision_ms=AT + 5000))
    deliver(shop)
    assert len(keys_at("A1")) == 2


def test_two_lines_of_one_product_with_stock_for_one_wait_together(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=1)
    pull(shop, order("A1", lines=lines(("i1", 1), ("i1", 1)), at_ms=AT))
    assert deliver(shop).held == {"order_wait": 1, "stock": 1}
    clock.advance(1_800_000)
    assert deliver(shop).delivered == 1
    assert broken(shop) == []


def test_a_message_that_never_arrives_goes_to_a_person_in_the_end(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    outside().faults = ["unknown"] * 50
    for _ in range(40):
        deliver(shop)
        clock.advance(130_000)
    assert line(shop)["state"] == "human"
    assert effects(shop)[0]["tries"] == 8
    outside().faults.clear()
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1
