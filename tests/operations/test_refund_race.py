"""A refund that races a delivery, with real threads on connections of their own, on both databases.

Whichever comes first, the books end in one of two ways: nothing left and the key is free, or the
key left before the refund was known and the line is a case. Never is anything sent after a refund
that was written down before the intent.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.errors import Locked
from kmtool.operations import reread as reread_operation
from kmtool.operations import reserve
from kmtool.operations.deliver import deliver
from kmtool.operations.ingest import ingest
from kmtool.operations.order_refund import decide
from kmtool.operations.refund_records import Answer, Decision
from kmtool.operations.reserve import reserve_due
from kmtool.ports import OrderFact, RefundFact
from kmtool.shop import Shop
from kmtool.store import deliveries, orders
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, lines, outside, pull, tick
from tests.operations.refund_kit import AT
from tests.operations.stock import shelf

ORDERS = 12
TRIES = 40
EXTRA = "[brakes]\nbuyer_pieces_per_hour = 0\n[deliver]\nbatch = 2\n"
"""Two at a time, so that refunds fall before, between and behind the intents."""


class Race:
    """Threads that start together and are joined; what one of them raises fails the test."""

    def __init__(self, config: Any, clock: ManualClock) -> None:
        self.config, self.clock = config, clock
        self.errors: list[Exception] = []
        self.gate = threading.Barrier(1)

    def run(self, *work: Callable[[Shop], None]) -> None:
        self.gate = threading.Barrier(len(work))
        threads = [threading.Thread(target=self._one, args=(job,)) for job in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads), "a thread hangs"
        assert self.errors == []

    def _one(self, job: Callable[[Shop], None]) -> None:
        try:
            with open_shop(self.config, clock=self.clock) as mine:
                self.gate.wait(60)
                job(mine)
        except Exception as error:  # noqa: BLE001  (told by `run`)
            self.errors.append(error)


def refunded(fact: OrderFact, state: RefundState) -> OrderFact:
    name = "open" if state is RefundState.OPEN else "done"
    refunds = (RefundFact(f"R-{fact.number}", fact.total_minor, name, AT),)
    return replace(fact, refund=state, refunds=refunds, revision_ms=fact.revision_ms + 1)


def bounded(work: Callable[[], object]) -> None:
    """Do something that a busy database may turn away, a bounded number of times."""
    for _ in range(TRIES):
        try:
            work()
            return
        except Locked:
            time.sleep(0.01)
    raise AssertionError("the database was busy all the time")


def take_in(shop: Shop, fact: OrderFact) -> None:
    """Write a refund down as a sync does, with a mark in the same transaction."""
    with shop.db.tx():
        ingest(shop, "shop1", fact)
        shop.audit("refund_known", f"order:shop1:{fact.number}")


def refunder(numbers: list[str], state: RefundState, seed: int) -> Callable[[Shop], None]:
    def work(shop: Shop) -> None:
        chance = random.Random(seed)
        chance.shuffle(numbers)
        for number in numbers:
            time.sleep(chance.random() * 0.02)
            fact = refunded(outside().orders[number], state)
            bounded(lambda fact=fact: take_in(shop, fact))

    return work


def sender(shop: Shop) -> None:
    for _ in range(TRIES):
        bounded(lambda: deliver(shop))
        if not deliveries.count_lines(shop.db, list(range(1, ORDERS + 1))).get("reserved"):
            return


def story(shop: Shop, number: str) -> list[str]:
    """What happened to an order, without telling its channel that it is shipped."""
    rows = shop.db.all(
        "SELECT action, detail FROM audit WHERE object = :o ORDER BY seq",
        o=f"order:shop1:{number}",
    )
    return [row["action"] for row in rows if not row["detail"].startswith("mark_shipped")]


def check(shop: Shop, numbers: list[str], last: set[str]) -> dict[str, int]:
    """Every order ended in one of the two right ways; return how often which."""
    ends: dict[str, int] = {}
    for number in numbers:
        acts = story(shop, number)
        (state,) = [
            row["state"]
            for row in shop.db.all(
                "SELECT l.state FROM lines l JOIN orders o ON o.id = l.order_id"
                " WHERE o.number = :n",
                n=number,
            )
        ]
        got = keys_at(number)
        ends[state] = ends.get(state, 0) + 1
        assert state in last | {"cancelled", "held"}, (number, state, acts)
        assert len(got) <= 1
        if "intent" in acts:
            assert acts.index("intent") < acts.index("refund_known"), (number, acts)
            assert state in last and len(got) == 1
            assert acts.count("intent") == 1
        else:
            assert state not in last and got == set()
    free = shop.db.value("SELECT count(*) FROM keys WHERE state = 'free'")
    sent = sum(len(keys_at(number)) for number in numbers)
    assert free == shop.db.value("SELECT count(*) FROM keys") - sent
    assert broken(shop) == []
    return ends


@pytest.mark.parametrize("state", [RefundState.FULL, RefundState.OPEN])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_refund_races_intent_and_outcome(
    make_config: Any, clock: ManualClock, state: RefundState, seed: int
) -> None:
    config = make_config(extra=EXTRA)
    create_shop(config, clock)
    numbers = [f"A{n:02d}" for n in range(ORDERS)]
    with open_shop(config, clock=clock) as shop:
        shelf(shop, n=ORDERS)
        pull(shop, *(order(number, at_ms=AT) for number in numbers))
        reserve_due(shop)
        chance = random.Random(seed)
        outside().during_send = lambda _message: time.sleep(chance.random() * 0.02)
        workers = [sender] * (2 if shop.db.dialect == "postgresql" else 1)
        Race(config, clock).run(*workers, refunder(list(numbers), state, seed))
        bounded(lambda: deliver(shop))
        check(shop, numbers, {"refund_case"})


def test_refunds_and_reservations_of_several_products_never_wait_in_a_ring(
    make_config: Any, clock: ManualClock
) -> None:
    """Keys go back in the order of the lines, and are taken in the order of the products."""
    config = make_config(extra=EXTRA)
    create_shop(config, clock)
    facts = {
        f"A{n:02d}": order(f"A{n:02d}", at_ms=AT, lines=lines(("i2", 1), ("i1", 1)))
        for n in range(5 * ORDERS)
    }
    old, new = sorted(facts)[: 3 * ORDERS], sorted(facts)[3 * ORDERS :]
    with open_shop(config, clock=clock) as shop:
        shelf(shop, n=len(facts))
        shelf(shop, "S2", n=len(facts), item="i2")
        pull(shop, *(facts[number] for number in old))
        reserve_due(shop)
        pull(shop, *(facts[number] for number in new))

        def turned_away_by_sqlite_only(mine: Shop, work: Callable[[], object]) -> None:
            work() if mine.db.dialect == "postgresql" else bounded(work)

        def reserver(mine: Shop) -> None:
            for number in new:
                found = orders.by_number(mine.db, number)
                turned_away_by_sqlite_only(mine, partial(reserve_due, mine, found))

        def giver(mine: Shop) -> None:
            for number in old:
                fact = refunded(facts[number], RefundState.FULL)
                turned_away_by_sqlite_only(mine, partial(take_in, mine, fact))

        Race(config, clock).run(reserver, giver)
        assert broken(shop) == []
        assert shop.db.value("SELECT sum(free) FROM stock") == 2 * len(old)


def test_a_chunk_that_lost_a_quarrel_is_decided_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    lost = iter([Locked(detail="deadlock detected")])
    decide_them = reserve.decide

    def quarrel(*given: Any) -> None:
        for error in lost:
            raise error
        decide_them(*given)

    monkeypatch.setattr(reserve, "decide", quarrel)
    if shop.db.dialect == "postgresql":
        assert reserve_due(shop).reserved == 1
    else:
        with pytest.raises(Locked):
            reserve_due(shop)


def test_a_look_at_the_channel_that_lost_a_quarrel_is_written_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    tick(shop, 120_000)  # the facts are old: the order is read again before its key leaves
    lost = iter([Locked(detail="deadlock detected")])
    take_in_one = reread_operation.ingest

    def quarrel(*given: Any, **more: Any) -> Any:
        for error in lost:
            raise error
        return take_in_one(*given, **more)

    monkeypatch.setattr(reread_operation, "ingest", quarrel)
    if shop.db.dialect == "postgresql":
        assert deliver(shop).delivered == 1
    else:
        with pytest.raises(Locked):
            deliver(shop)


def test_a_decision_races_the_outcome(make_config: Any, clock: ManualClock) -> None:
    """A person records a refund elsewhere while the message may be on its way."""
    config = make_config(extra=EXTRA)
    create_shop(config, clock)
    numbers = [f"A{n:02d}" for n in range(ORDERS)]
    with open_shop(config, clock=clock) as shop:
        shelf(shop, n=ORDERS)
        pull(shop, *(order(number, at_ms=AT) for number in numbers))
        reserve_due(shop)
        outside().during_send = lambda _message: time.sleep(0.005)

        def person(mine: Shop) -> None:
            from kmtool.errors import StateMoved

            for number in numbers:
                for _ in range(TRIES):
                    try:
                        decide(mine, number, Decision(Answer.RECORD, reason="paid back in chat"))
                        break
                    except (StateMoved, Locked):
                        time.sleep(0.01)

        Race(config, clock).run(sender, person)
        bounded(lambda: deliver(shop))
        for number in numbers:
            acts = story(shop, number)
            assert "refund_record" in acts
            if "intent" in acts:
                assert acts.index("intent") < acts.index("refund_record"), acts
                assert len(keys_at(number)) == 1
        counts = deliveries.count_lines(shop.db, list(range(1, ORDERS + 1)))
        assert counts == {"closed": ORDERS}
        assert broken(shop) == []
