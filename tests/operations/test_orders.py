"""What a person sees and does: list, show, why, hold, release, redeliver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import NotFound, Refused, StateMoved
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import hold, redeliver, release
from kmtool.operations.order_why import why
from kmtool.operations.orders import page, show
from kmtool.operations.reserve import reserve_due
from kmtool.operations.send import begin
from kmtool.operations.sender import sending
from kmtool.shop import Shop
from kmtool.store import effects as store
from kmtool.store import house
from tests.fakes import order, world
from tests.operations.delivery_kit import START, effects, keys_at, line, lines, pull, states, tick
from tests.operations.stock import shelf

AT = START + 1000


def test_the_list_is_newest_first_and_counts_what_it_leaves_out(shop: Shop) -> None:
    rows = [replace(order(f"A{n}", at_ms=AT + n), buyer=order().buyer) for n in range(5)]
    pull(shop, *rows)
    found = page(shop, limit=2)
    assert ([row.number for row in found.orders], found.total) == (["A4", "A3"], 5)
    assert page(shop, limit=1, text="A2").total == 1
    assert page(shop, limit=1, state="delivered").orders == ()
    assert page(shop, limit=None, channel="nowhere").total == 0


def test_show_tells_all_without_a_key(shop: Shop) -> None:
    texts = shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    deliver(shop)
    found = show(shop, "A1")
    assert found.lines[0].keys == (f"…{texts[0][-2:]}",) or found.lines[0].keys[0].startswith("…")
    assert all(text not in repr(found) for text in texts)
    assert [(a.effect, a.outcome) for a in found.attempts] == [
        ("hand_over", "ok"),
        ("mark_shipped", "ok"),
    ]
    assert {"order_seen", "reserved", "intent", "done"} <= {h.action for h in found.story}
    assert show(shop, found.code.lower()).number == show(shop, "shop1:A1").number == "A1"
    with pytest.raises(NotFound):
        show(shop, "B1")


@pytest.mark.parametrize(
    ("facts", "gate"),
    [
        ({"status": OrderStatus.UNPAID}, "paid"),
        ({"refund": RefundState.OPEN}, "refund"),
        ({"currency": "USD"}, "amount"),
        ({"status": OrderStatus.SHIPPED}, "shipped"),
        ({"item": "i9"}, "mapped"),
        ({"amount": 1}, "price"),
        ({"quantity": 9, "amount": 90_000}, "stock"),
        ({"risk": "odd"}, "risk"),
    ],
)
def test_why_names_the_gate_and_the_command(
    shop: Shop, facts: dict[str, object], gate: str
) -> None:
    shelf(shop)
    given = {k: facts[k] for k in ("item", "amount", "quantity", "status") if k in facts}
    rest = {k: v for k, v in facts.items() if k not in given}
    pull(shop, replace(order("A1", at_ms=AT, **given), **rest))  # type: ignore[arg-type]
    found = why(shop, "A1").lines[0]
    shut = [g for g in found.gates if not g.open]
    assert shut[0].gate == gate
    exact = {"mapped": "kmtool product map shop1 i9 SKU"}
    assert found.command == exact.get(gate, shut[0].command)
    assert found.command.startswith("kmtool ")


def test_why_speaks_of_pauses_waiting_and_what_comes_next(shop: Shop, clock: ManualClock) -> None:
    shelf(shop)
    shelf(shop, "S2", n=0, item="i2")
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1)), at_ms=AT))
    assert why(shop, "A1").lines[0].answer.startswith("all gates are open")
    deliver(shop)
    first, second = why(shop, "A1").lines
    assert "waits for the other lines" in first.answer
    assert second.command == "kmtool import FILE --sku S2"
    with shop.db.tx():
        house.pause(shop.db, "channel:shop1", "x", clock.now_ms())
    assert why(shop, "A1").lines[0].command == "kmtool resume shop1"


def test_hold_stops_and_release_lets_go(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    hold(shop, "A1", "ask first")
    assert deliver(shop).held == {"risk": 1}
    assert show(shop, "A1").hold == "ask first"
    release(shop, "A1")
    assert deliver(shop).delivered == 1
    with pytest.raises(Refused, match="is waiting"):
        release(shop, "A1")


@pytest.mark.parametrize(("amount", "gate"), [(1, "price"), (1999, "price")])
def test_release_opens_the_price_brake(shop: Shop, amount: int, gate: str) -> None:
    shelf(shop, cost_e5=2_000_000)
    pull(shop, order("A1", amount=amount, at_ms=AT))
    assert deliver(shop).held == {gate: 1}
    release(shop, "A1")
    assert deliver(shop).delivered == 1


def test_nothing_releases_an_order_that_is_not_paid(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", status=OrderStatus.UNPAID, at_ms=AT))
    release(shop, "A1")
    assert deliver(shop).delivered == 0


def test_a_partial_refund_needs_a_quantity_and_gets_that_many(shop: Shop) -> None:
    shelf(shop, n=10, units=2)
    fact = order("A1", lines=lines(("i1", 3)), at_ms=AT)
    pull(shop, replace(fact, refund=RefundState.PARTIAL))
    with pytest.raises(Refused, match="how many pieces"):
        release(shop, "A1")
    for wrong in (0, 4):
        with pytest.raises(Refused, match="from 1 to its quantity"):
            release(shop, "A1", wrong)
    release(shop, "A1", 1)
    release(shop, "A1", 2)  # a second thought
    assert deliver(shop).delivered == 1
    assert len(keys_at("A1")) == 4


def test_a_partial_refund_of_several_lines_names_the_line(shop: Shop) -> None:
    shelf(shop, n=10)
    shelf(shop, "S2", item="i2")
    fact = order("A1", lines=lines(("i1", 3), ("i2", 1)), at_ms=AT)
    pull(shop, replace(fact, refund=RefundState.PARTIAL))
    with pytest.raises(Refused, match="--line names it"):
        release(shop, "A1", 2)
    release(shop, "A1", 2, "1")
    release(shop, "A1", 0, "2")
    assert deliver(shop).delivered == 1
    assert sorted(key.split("-")[1] for key in keys_at("A1")) == ["S1", "S1"]
    assert world().shipped == {"A1"}


def test_redeliver_repeats_a_failed_hand_over_with_the_same_keys(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    world().faults = ["rejected"]
    deliver(shop)
    assert why(shop, "A1").lines[0].command == "kmtool order redeliver A1"
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1
    assert (states(shop), effects(shop)[0]["generation"]) == ({"delivered": 1, "free": 4}, 1)


def test_redeliver_of_a_done_one_is_a_new_generation_of_the_same_keys(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    deliver(shop)
    redeliver(shop, "A1")
    deliver(shop)
    assert [e["generation"] for e in effects(shop)] == [1, 2]
    assert len(world().received["A1"]) == 2
    assert len(keys_at("A1")) == 1
    assert shop.db.value("SELECT count(*) FROM ledger_entries") == 1


def test_redeliver_asks_again_for_a_mark_that_failed_and_sends_no_key(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    world().faults = ["", "ship_rejected"]
    deliver(shop)
    assert why(shop, "A1").lines[0].command == "kmtool order redeliver A1"
    redeliver(shop, "A1")
    assert deliver(shop).shipped == 1
    assert len(world().received["A1"]) == 1


def test_redeliver_does_not_wait_for_the_next_try(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    world().faults = ["down"]
    deliver(shop)
    redeliver(shop, "A1")
    assert deliver(shop).delivered == 1


def test_redeliver_refuses_what_must_not_leave(shop: Shop) -> None:
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    with pytest.raises(Refused, match="no key is bound"):
        redeliver(shop, "A1")
    reserve_due(shop)
    with sending(shop, "deliver") as mine:
        begin(mine, store.due_effects(mine.db, mine.now_ms(), 5))
        with pytest.raises(StateMoved):
            redeliver(shop, "A1")
    tick(shop, 20_000)
    deliver(shop)
    pull(shop, replace(fact, refund=RefundState.OPEN, revision_ms=AT + 9000))
    with pytest.raises(Refused, match="refund"):
        redeliver(shop, "A1")
    assert line(shop)["state"] == "refund_case"
