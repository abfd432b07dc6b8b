"""Chunks: many orders in one transaction get what they would get one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import LineState, RefundState
from kmtool.errors import Rejected
from kmtool.operations import pack, reserve, send
from kmtool.operations.deliver import deliver
from kmtool.operations.refunds import CHANGED
from kmtool.operations.reserve import reserve_due
from kmtool.operations.routes import Outcome, Result
from kmtool.operations.sender import sending
from kmtool.ports import Buyer, RefundFact
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, line_moves, orders
from kmtool.store.db import Moved
from tests.fakes import order
from tests.operations.delivery_kit import (
    START,
    broken,
    keys_at,
    line,
    lines,
    outside,
    pull,
    states,
    tick,
)
from tests.operations.stock import shelf

AT = START + 1_000
HOUR_MS = 3_600_000


def at(n: int, **more: Any) -> Any:
    """Return an order of a buyer of its own."""
    return replace(order(f"A{n}", at_ms=AT + n, **more), buyer=Buyer(ref=f"b-{n}"))


def arrive(shop: Shop, *facts: Any) -> None:
    """Let orders come in one after the other (a pull reads its pages from the end)."""
    for fact in facts:
        pull(shop, fact)


@pytest.mark.parametrize("size", [1, 3, 200])
def test_every_order_gets_its_own_keys_in_the_order_of_the_file(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(reserve, "CHUNK", size)
    keys = shelf(shop, n=20)
    arrive(shop, *(at(n, quantity=2, amount=2000) for n in range(1, 8)))
    assert deliver(shop).delivered == 7
    got = [keys_at(f"A{n}") for n in range(1, 8)]
    assert got == [set(keys[2 * n : 2 * n + 2]) for n in range(7)]
    assert states(shop) == {"delivered": 14, "free": 6}
    assert not broken(shop)


def test_orders_of_many_lines_make_smaller_chunks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "CHUNK", 4)
    monkeypatch.setattr(reserve, "LINES", 6)
    chunks: list[int] = []
    real = reserve.decide

    def counted(shop: Shop, ids: Sequence[int], tally: reserve.Reserved) -> None:
        chunks.append(len(ids))
        real(shop, ids, tally)

    monkeypatch.setattr(reserve, "decide", counted)
    shelf(shop, n=40)
    wide = [at(n) for n in range(1, 3)]
    wide += [
        replace(
            at(n),
            total_minor=5_000,
            lines=tuple(replace(at(n).lines[0], line_no=str(k)) for k in range(1, 6)),
        )
        for n in range(3, 9)
    ]
    arrive(shop, *wide)
    with sending(shop, "deliver") as mine:
        reserved = reserve_due(mine)
    assert reserved.reserved == 2 + 6 * 5
    assert chunks == [2, 1, 1, 1, 1, 1, 1]


def test_later_orders_of_a_chunk_see_what_earlier_ones_take(shop: Shop) -> None:
    shelf(shop, n=3)
    arrive(shop, *(at(n) for n in range(1, 6)))
    result = deliver(shop)
    assert (result.delivered, result.held) == (3, {"stock": 2})
    assert [line(shop, f"A{n}")["state"] for n in range(1, 6)] == ["delivered"] * 3 + ["held"] * 2
    assert not broken(shop)


def test_the_price_brake_looks_at_the_very_keys_that_would_leave(shop: Shop) -> None:
    """Two keys at 5 yuan are followed by two at 20: only the third and fourth order are stopped."""
    shelf(shop, n=2, cost_e5=500_000)
    shelf(shop, n=2, cost_e5=2_000_000, prefix="DEAR")
    arrive(shop, *(at(n, amount=1000) for n in range(1, 5)))
    result = deliver(shop)
    assert (result.delivered, result.held) == (2, {"price": 2})
    assert states(shop) == {"delivered": 2, "free": 2}


def test_what_an_order_does_not_take_after_all_is_there_for_the_next(shop: Shop) -> None:
    shelf(shop, n=1)
    shelf(shop, "S2", n=0, item="i2")
    arrive(shop, at(1, lines=lines(("i1", 1), ("i2", 1))), at(2))
    result = deliver(shop)
    assert (result.delivered, result.held) == (1, {"stock": 1, "order_wait": 1})
    assert line(shop, "A2")["state"] == "delivered"


def test_the_burst_brake_counts_within_a_chunk_and_forgets_after_an_hour(
    shop: Shop, clock: ManualClock
) -> None:
    shelf(shop, n=40)
    arrive(shop, *(order(f"A{n}", quantity=4, amount=4000, at_ms=AT + n) for n in range(1, 5)))
    assert deliver(shop).held == {"burst": 2}
    assert shop.db.value("SELECT sum(pieces) FROM buyer_minutes") == 8
    tick(shop, HOUR_MS - 120_000)
    assert deliver(shop).held == {"burst": 2}
    tick(shop, 240_000)
    assert deliver(shop).delivered == 2
    assert not broken(shop)


def test_a_line_bound_again_within_the_hour_counts_once_and_old_minutes_go(shop: Shop) -> None:
    shelf(shop)
    pull(shop, at(1))
    reserve_due(shop)
    effect = shop.db.one("SELECT * FROM effects")
    assert effect is not None
    from kmtool.operations.refunds import unpack

    with shop.db.tx():
        assert unpack(shop, effect, "looked at again") == 1
    tick(shop, 120_000)
    assert reserve_due(shop).reserved == 1
    assert shop.db.value("SELECT sum(pieces) FROM sku_minutes") == 1
    tick(shop, 25 * HOUR_MS)
    reserve_due(shop)
    assert shop.db.value("SELECT count(*) FROM sku_minutes") == 0
    assert shop.db.value("SELECT count(*) FROM buyer_minutes") == 0


def test_one_order_whose_text_cannot_be_made_does_not_stop_its_chunk(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 6)))
    real = pack.pack

    def strict(one: Shop, facts: Any, bound: Sequence[Any], *rest: Any) -> Any:
        if any(found["number"] == "A3" for found, _ in bound):
            raise Rejected(who="test", detail="it does not fit")
        return real(one, facts, bound, *rest)

    monkeypatch.setattr(reserve, "pack", strict)
    result = deliver(shop)
    assert (result.delivered, result.held) == (4, {"route": 1})
    assert line(shop, "A3")["state"] == "held"
    assert states(shop) == {"delivered": 4, "free": 5}
    assert not broken(shop)


def test_a_line_that_moved_meanwhile_undoes_the_chunk_and_the_others_go_one_by_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 5)))
    moving = line(shop, "A2")["id"]
    real = line_moves.move_lines

    def elsewhere(db: Any, ids: Sequence[int], *rest: Any, **more: Any) -> int:
        return real(db, [i for i in ids if i != moving], *rest, **more)

    monkeypatch.setattr(line_moves, "move_lines", elsewhere)
    assert reserve_due(shop).reserved == 3
    assert line(shop, "A2")["state"] == "new"
    assert states(shop) == {"reserved": 3, "free": 6}
    monkeypatch.undo()
    assert deliver(shop).delivered == 4
    assert not broken(shop)


def test_an_effect_that_moved_meanwhile_is_left_to_whoever_took_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 4)))
    reserve_due(shop)
    due = effects.due_effects(shop.db, shop.now_ms(), 10)
    real = effects.begin_effects

    def taken(db: Any, ids: Sequence[int], *rest: Any) -> int:
        return real(db, [i for i in ids if i != due[1]["id"]], *rest)

    monkeypatch.setattr(effects, "begin_effects", taken)
    with sending(shop, "deliver") as mine:
        begun = send.begin(mine, due)
    assert [one.effect["id"] for one in begun] == [due[0]["id"], due[2]["id"]]
    assert line(shop, "A2")["state"] == LineState.RESERVED
    assert [entry.order for entry in shop.journal.read()] == ["A1", "A3"]


def test_outcomes_of_all_sorts_in_one_slice_are_each_written(shop: Shop) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 6)))
    outside().faults = ["", "lost", "rejected", "down", ""]
    result = deliver(shop)
    assert (result.delivered, result.needs_you, result.failed) == (2, 1, 1)
    found = [line(shop, f"A{n}")["state"] for n in range(1, 6)]
    assert found == ["delivered", "unknown", "human", "reserved", "delivered"]
    tick(shop, 130_000)
    assert deliver(shop).delivered == 2
    assert not broken(shop)


def test_outcomes_are_written_one_by_one_when_a_row_moved(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 4)))
    real, calls = effects.succeed_attempts, []

    def once(db: Any, rows: Sequence[Any], now_ms: int) -> int:
        calls.append(len(rows))
        return real(db, rows, now_ms) - (len(calls) == 1)

    monkeypatch.setattr(effects, "succeed_attempts", once)
    result = deliver(shop)
    assert (result.delivered, result.shipped) == (3, 3)
    assert calls[0] == 3
    assert shop.db.value("SELECT count(*) FROM ledger_entries WHERE event = 'delivered'") == 3
    assert not broken(shop)


def test_a_change_of_many_rows_is_all_or_nothing(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, at(1))
    row = line(shop, "A1")
    with pytest.raises(Moved), shop.db.tx():
        bound = [{"key_id": 1, "key_state": "reserved", "id": 1, "state": "reserved"}]

        deliveries.expose(shop.db, bound, shop.now_ms())
    assert line(shop, "A1") == row
    assert states(shop) == {"free": 2}


def test_what_moved_while_a_slice_was_under_way_is_met_by_its_outcomes(shop: Shop) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 5)))
    with sending(shop, "deliver") as mine:
        reserve_due(mine)
        begun = send.begin(mine, effects.due_effects(mine.db, mine.now_ms(), 100))
        assert len(begun) == 4 and all(one.seen is begun[0].seen for one in begun)
        with mine.db.tx():
            orders.set_line_reason(mine.db, begun[1].line_ids[0], f"{CHANGED}: other goods")
        ended = (RefundFact("R3", 1000, "done", AT),)
        pull(shop, replace(at(3), refund=RefundState.FULL, refunds=ended, revision_ms=AT + 99))
        send.finish(mine, [(one, Outcome(Result.OK, "here")) for one in begun], send.Sent())
    found = [line(shop, f"A{n}")["state"] for n in range(1, 5)]
    assert found == ["delivered", "human", "refund_case", "delivered"]
    assert states(shop) == {"delivered": 4, "free": 5}
    assert not broken(shop)


def test_the_outcomes_of_a_slice_read_nothing_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop, n=9)
    arrive(shop, *(at(n) for n in range(1, 4)))

    def never(*_args: object) -> None:
        raise AssertionError("the facts of the intents are good")

    with sending(shop, "deliver") as mine:
        reserve_due(mine)
        begun = send.begin(mine, effects.due_effects(mine.db, mine.now_ms(), 100))
        monkeypatch.setattr(deliveries, "bonds", never)
        send.finish(mine, [(one, Outcome(Result.OK, "here")) for one in begun], send.Sent())
    assert states(shop) == {"delivered": 3, "free": 6}
    assert not broken(shop)
