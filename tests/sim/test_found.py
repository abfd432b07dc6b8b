"""What the simulator found, one test each, with the seed that showed it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import RefundState
from kmtool.journal import Journal, JournalEntry
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import redeliver
from kmtool.operations.sync import sync
from kmtool.ports import Buyer, RefundFact
from kmtool.shop import Shop
from kmtool.sim.clocks import SimClock
from kmtool.sim.driver import play
from kmtool.sim.ground import Ground, prepared
from kmtool.store import orders
from tests.fakes import order, world
from tests.operations.delivery_kit import keys_at, line, outside, pull, tick
from tests.operations.stock import shelf

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A ground of its own, with the user's data folder of nobody."""
    with prepared(Path(tmp_path_factory.mktemp("sim"))) as made:
        yield made


@pytest.mark.parametrize("seed", [12, 17, 15, 19, 1002128, 1300192, 1300660])
def test_seeds_that_once_broke_a_promise_keep_them_all(ground: Ground, seed: int) -> None:
    life = play(seed, ground)
    assert life.rule == "", "\n".join((life.told, *life.trace))


def test_an_intent_that_lay_too_long_at_the_journal_is_not_followed_by_its_call(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 12: stopped after the intent, woken when another sender had sent it already."""
    shelf(shop)
    pull(shop, order("A1"))
    append = Journal.append

    def slow(self: Journal, entries: Sequence[JournalEntry]) -> None:
        append(self, entries)
        tick(shop, 61_000)

    monkeypatch.setattr(Journal, "append", slow)
    assert deliver(shop).delivered == 0
    assert keys_at("A1") == set() and line(shop)["state"] == "reserved"
    monkeypatch.setattr(Journal, "append", append)
    tick(shop, 60_000)
    assert deliver(shop).delivered == 1
    assert len(outside().received["A1"]) == 1


def test_what_came_while_the_clock_was_ahead_is_pulled_when_it_is_right(
    shop: Shop, clock: ManualClock
) -> None:
    """Seeds 1 to 5: the cursor lay in the time to come, and what came before it was skipped."""
    pull(shop, order("A1", at_ms=clock.now_ms()))
    right = clock.now_ms()
    clock.set(right + 600_000)
    sync(shop)
    clock.set(right + 30_000)
    world("shop1").orders["A2"] = order("A2", at_ms=right + 20_000)
    sync(shop)
    assert orders.find(shop.db, "shop1", "A2") is not None
    assert orders.cursor(shop.db, "shop1") <= clock.now_ms()


def test_what_came_while_the_clock_was_ahead_is_pulled_though_time_has_passed_since(
    shop: Shop,
) -> None:
    """Seed 376: set right again, the clock had passed the cursor by the time of the next pull."""
    clock = SimClock(shop.now_ms())
    mine = replace(shop, clock=clock)
    world("shop1").orders["A1"] = order("A1", at_ms=clock.now_ms())
    sync(mine)
    clock.jump(600_000)
    sync(mine)
    clock.jump(-600_000)
    clock.advance(30_000)
    world("shop1").orders["A2"] = order("A2", at_ms=clock.now_ms())
    clock.advance(590_000)
    sync(mine)
    assert orders.find(shop.db, "shop1", "A2") is not None
    told = "SELECT count(*) FROM audit WHERE action = 'cursor_set_back'"
    assert shop.db.value(told) == 2, "one for each jump"
    sync(mine)
    assert shop.db.value(told) == 2


def test_a_clock_that_was_set_right_while_the_machine_slept_skips_nothing(shop: Shop) -> None:
    """The other clock stood still meanwhile: nothing shows that the first was set back."""
    clock = Sleeper(shop.now_ms())
    mine = replace(shop, clock=clock)
    world("shop1").orders["A1"] = order("A1", at_ms=clock.now_ms())
    sync(mine)
    clock.jump(600_000)
    sync(mine)
    clock.jump(-600_000)
    clock.advance(30_000)
    world("shop1").orders["A2"] = order("A2", at_ms=clock.now_ms())
    clock.advance(620_000)
    clock.asleep_s = 650.0
    sync(mine)
    assert orders.find(shop.db, "shop1", "A2") is not None


class Sleeper(SimClock):
    """A machine whose clock that never jumps stands still while it sleeps."""

    asleep_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.asleep_s


def test_a_pull_after_a_pause_looks_back_over_what_a_wrong_clock_may_have_skipped(
    shop: Shop, clock: ManualClock
) -> None:
    """Seed 15: the clock was ahead at the last pull, and nobody pulled until it had caught up."""
    pull(shop, order("A1", at_ms=clock.now_ms()))
    right = clock.now_ms()
    clock.set(right + 600_000)
    sync(shop)
    world("shop1").orders["A2"] = order("A2", at_ms=right + 120_000)
    clock.set(right + 2 * HOUR_MS)
    sync(shop)
    assert orders.find(shop.db, "shop1", "A2") is not None


def test_a_message_sent_again_goes_to_one_address_on_all_its_tries(shop: Shop) -> None:
    """Seed 1001798: between two tries of it the buyer moved, and the second went to the new one."""
    shelf(shop)
    pull(shop, order("A1"))
    assert deliver(shop).delivered == 1
    redeliver(shop, "A1")
    outside().faults += ["down"]
    deliver(shop)
    at_ms = shop.now_ms() + 1_000
    moved = replace(order("A1", at_ms=at_ms), buyer=Buyer("b1", "demo_buyer", "m@example.test"))
    pull(shop, replace(moved, revision_ms=at_ms))
    tick(shop, 600_000)
    deliver(shop)
    assert len(outside().received["A1"]) == 1
    told = "SELECT reason FROM effects WHERE generation = 2"
    assert "contact changed" in shop.db.value(told)
    redeliver(shop, "A1")
    deliver(shop)
    assert len(outside().received["A1"]) == 2


def test_a_refund_in_the_second_of_its_order_counts_though_the_clock_was_set_back(
    shop: Shop,
) -> None:
    """Seed 1000579: the answer that told of it looked older than the one before, and was left."""
    clock = SimClock(shop.now_ms())
    mine = replace(shop, clock=clock)
    shelf(shop)
    paid = order("A1", at_ms=clock.now_ms())
    clock.advance(5_000)
    world("shop1").orders["A1"] = paid
    sync(mine)
    clock.jump(-300_000)
    clock.advance(60_000)
    back = (RefundFact("R1", paid.total_minor, "done", clock.now_ms()),)
    world("shop1").orders["A1"] = replace(paid, refund=RefundState.FULL, refunds=back)
    assert deliver(mine).delivered == 0
    assert outside().received.get("A1", []) == []
