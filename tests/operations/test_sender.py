"""Who may send: one sender on SQLite, dead sessions buried, fenced-off ones left without a say."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.domain.ids import SessionId
from kmtool.domain.states import RefundState
from kmtool.errors import Broken, Locked, TakenOver
from kmtool.operations import sender
from kmtool.operations.deliver import FOLLOW_S, deliver
from kmtool.operations.ingest import ingest
from kmtool.operations.reserve import reserve_due
from kmtool.operations.routes import Outcome, Result, attempt
from kmtool.operations.send import Begun, Sent, begin, finish
from kmtool.operations.sender import sender_is_running, sending
from kmtool.shop import Shop
from kmtool.store import effects as store
from kmtool.store import house, machines, sessions
from tests.fakes import order, world
from tests.operations.delivery_kit import START, broken, effects, line, pull, states
from tests.operations.stock import shelf

AT = START + 1000


@pytest.fixture
def other(shop: Shop, clock: ManualClock) -> Iterator[Shop]:
    """The same shop as another process sees it."""
    with open_shop(shop.config, clock=clock) as opened:
        yield opened


def sqlite_only(shop: Shop) -> None:
    if shop.db.dialect != "sqlite":
        pytest.skip("on PostgreSQL several processes send side by side")


def begun_by(shop: Shop) -> list[Begun]:
    return begin(shop, store.due_effects(shop.db, shop.now_ms() + 60_000, 10))


class Dying(ManualClock):
    """A clock that does something when somebody waits for a while."""

    def __init__(self, now_ms: int, after_s: float, act: Any) -> None:
        super().__init__(now_ms)
        self.due = now_ms / 1000 + after_s
        self.act = act

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.act and self.monotonic() >= self.due:
            act, self.act = self.act, None
            act()


def test_a_second_process_is_locked_out_while_one_sends(shop: Shop, other: Shop) -> None:
    sqlite_only(shop)
    with sending(shop, "run"):
        assert sender_is_running(other)
        with pytest.raises(Locked, match="kmtool run"), sending(other, "deliver"):
            pass
    assert not sender_is_running(other)
    with sending(other, "deliver"):
        pass


def test_a_look_at_the_lock_does_not_turn_a_starting_sender_away(
    shop: Shop, other: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_only(shop)
    looking = sender.FileLock(sender._folder(shop) / sender.SENDER)
    assert looking.acquire()
    clock = Dying(shop.now_ms(), 0.05, looking.release)
    with sending(replace(other, clock=clock), "deliver") as mine:
        assert mine.session is not None


def test_a_command_beside_a_sender_orders_and_follows_for_a_minute(
    shop: Shop, other: Shop, clock: ManualClock
) -> None:
    sqlite_only(shop)
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    before = clock.now_ms()
    with sending(shop, "run"):
        told = deliver(other)
    assert (told.delivered, told.waiting) == (0, 1)
    assert clock.now_ms() - before <= (FOLLOW_S + 3) * 1000
    assert house.meta(shop.db, "nudge_ms") is not None
    assert effects(shop)[0]["state"] == "pending"


def test_a_command_beside_a_sender_sees_what_that_one_delivered(shop: Shop, other: Shop) -> None:
    sqlite_only(shop)
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    with sending(shop, "run") as mine:

        def serve() -> None:
            one = begun_by(mine)[0]
            finish(mine, [(one, attempt(mine, one.parcel))], Sent())

        clock = Dying(shop.now_ms(), 1.0, serve)
        told = deliver(replace(other, clock=clock))
    assert told.delivered == 1
    assert len(world().received["A1"]) == 1


def test_a_command_sends_itself_when_the_sender_is_gone(shop: Shop, other: Shop) -> None:
    sqlite_only(shop)
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    holder = sending(shop, "run")
    holder.__enter__()
    clock = Dying(shop.now_ms(), 5.0, lambda: holder.__exit__(None, None, None))
    told = deliver(replace(other, clock=clock))
    assert told.delivered == 1
    assert clock.now_ms() - shop.now_ms() < 20_000


def test_by_hand_orders_do_not_make_a_command_wait(shop: Shop, other: Shop) -> None:
    sqlite_only(shop)
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with shop.db.tx():
        shop.db.run("UPDATE effects SET route = 'by_hand'")
    before = other.now_ms()
    with sending(shop, "run"):
        deliver(other)
    assert other.now_ms() - before < 2_000


def test_a_dead_session_is_swept_and_its_try_asked_about(
    shop: Shop, other: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with monkeypatch.context() as patch:
        patch.setattr(sender, "close", lambda *_: 0)  # its end is not written: as after kill -9
        with sending(shop, "deliver") as mine:
            attempt(mine, begun_by(mine)[0].parcel)
    assert line(shop)["state"] == "sending"
    told = deliver(other)
    assert told.delivered == 1
    assert len(world().received["A1"]) == 1
    found = {row["state"] for row in shop.db.all("SELECT state FROM sessions")}
    assert found <= {"dead", "ended"}


def test_a_fenced_off_session_cannot_begin(shop: Shop) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with sending(shop, "deliver") as mine:
        assert mine.session is not None
        sender.close(shop, mine.session, "dead")
        with pytest.raises(TakenOver, match="Another sender took over") as fenced:
            begun_by(mine)
        assert fenced.value.code == "KM-E103"
    assert states(shop) == {"reserved": 1, "free": 4}
    assert list(shop.journal.read()) == []


def test_late_evidence_of_a_fenced_off_session_is_used(shop: Shop, clock: ManualClock) -> None:
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with sending(shop, "deliver") as mine:
        one = begun_by(mine)[0]
        assert mine.session is not None
        sender.close(shop, mine.session, "dead")
        assert line(shop)["state"] == "unknown"
        with pytest.raises(Broken, match="took over"):
            finish(mine, [(one, Outcome(Result.OK, "note-9"))], Sent())
    assert line(shop)["state"] == "unknown"
    told = deliver(shop)
    assert told.delivered == 1
    assert world().received == {}  # nobody sent again: the proof was enough
    assert broken(shop) == []


def test_late_evidence_ends_a_wait_for_a_person(shop: Shop) -> None:
    from kmtool.operations.resolve import give_up

    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with sending(shop, "deliver") as mine:
        one = begun_by(mine)[0]
        sender.close(shop, SessionId(mine.session or 0), "dead")
        give_up(shop, store.due_effects(shop.db, shop.now_ms(), 1)[0], "cannot be asked", Sent())
        assert line(shop)["state"] == "human"
        with pytest.raises(Broken):
            finish(mine, [(one, Outcome(Result.OK, "note-9"))], Sent())
    assert deliver(shop).delivered == 1
    assert line(shop)["state"] == "delivered"


def test_a_refund_on_its_way_in_holds_the_intent_back(shop: Shop, other: Shop) -> None:
    """Ingest and intent lock the order row first: the intent sees the refund or comes before."""
    if shop.db.dialect == "sqlite":
        pytest.skip("SQLite has one writer")
    shelf(shop)
    fact = order("A1", at_ms=AT)
    pull(shop, fact)
    reserve_due(shop)
    result: list[list[Begun]] = []
    with sending(other, "run") as mine:
        due = store.due_effects(mine.db, mine.now_ms(), 10)
        thread = threading.Thread(target=lambda: result.append(begin(mine, due)))
        with shop.db.tx():
            refund = replace(fact, refund=RefundState.OPEN, revision_ms=AT + 5000)
            ingest(shop, "shop1", refund)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
        thread.join(10)
    assert result == [[]]
    assert (states(shop), broken(shop)) == ({"free": 5}, [])


def test_two_sessions_never_take_the_same_effect(shop: Shop, other: Shop) -> None:
    if shop.db.dialect == "sqlite":
        pytest.skip("one sender only on SQLite")
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    reserve_due(shop)
    with sending(shop, "run") as one, sending(other, "run") as two:
        due = store.due_effects(two.db, two.now_ms(), 10)
        assert len(begun_by(one)) == 1
        assert begin(two, due) == []
        assert line(shop)["state"] == "sending"
        assert sessions.is_live(shop.db, SessionId(one.session or 0))


def test_a_sender_that_stands_still_with_the_database_locked_is_named(
    shop: Shop, other: Shop
) -> None:
    sqlite_only(shop)
    other.db.run("PRAGMA busy_timeout = 50")
    with sending(shop, "run"), shop.db.tx(), pytest.raises(Locked) as refused:
        sender.take_over(other)
    assert str(os.getpid()) in refused.value.next_step()


def test_a_worker_that_stands_still_in_a_change_is_named_when_its_session_is_to_be_ended(
    shop: Shop, other: Shop
) -> None:
    """A daemon that was stopped while it wrote its intents: the row of its session is its own."""
    if shop.db.dialect != "postgresql":
        pytest.skip("on SQLite the whole file is locked")
    with sending(shop, "run") as mine:
        with mine.db.tx():
            assert mine.session is not None and sessions.is_live(mine.db, mine.session, lock=True)
            other.db.run("SET lock_timeout = '200ms'")
            with pytest.raises(Locked) as told:
                sender.take_over(other)
        assert f"end its process ({os.getpid()})" in told.value.next_step()
        assert str(os.getpid()) in str(told.value)


@pytest.mark.parametrize("by_hand", [True, False])
def test_nobody_begins_to_send_or_show_keys_while_the_database_is_replaced(
    shop: Shop, other: Shop, by_hand: bool
) -> None:
    """Simulator, seed 39: keys were pasted from a database that a restore was just replacing."""
    with sender.alone(shop):
        with pytest.raises(Locked), sending(other, "sell", by_hand=by_hand):
            pytest.fail("it may show keys")
        assert sessions.live(shop.db) == []
    with sending(other, "sell", by_hand=by_hand), pytest.raises(Locked), sender.alone(shop):
        pytest.fail("it may replace the database")
    with sending(other, "sell", by_hand=True), sending(shop, "sell", by_hand=True):
        assert len(sessions.live(shop.db)) == 2


def test_nobody_takes_over_while_the_database_is_replaced(shop: Shop, other: Shop) -> None:
    """A take-over renames the sender's lock: that one alone would not keep it out."""
    with sender.alone(shop):
        with pytest.raises(Locked, match="being restored, copied or moved"):
            sender.take_over(other)
        assert house.meta(other.db, machines.EPOCH) is None
        house.set_meta(other.db, machines.EPOCH, "1")  # it took over a moment before
        with pytest.raises(Locked), sending(other, "run"):
            pytest.fail("it may send")
        assert sessions.live(shop.db) == []
    with sending(other, "run"):
        assert len(sessions.live(shop.db)) == 1


def test_workers_that_look_at_once_do_not_lock_each_other_out(shop: Shop, other: Shop) -> None:
    if shop.db.dialect == "sqlite":
        pytest.skip("one sender only on SQLite")
    sessions.try_advisory(other.db, sender.ALONE_NUMBER)
    assert not sessions.look_advisory(shop.db, sender.ALONE_NUMBER)
    sessions.free_advisory(other.db, sender.ALONE_NUMBER)
    other.db.value("SELECT pg_try_advisory_lock_shared(:t)", t=sender.ALONE_NUMBER)
    with sending(shop, "run"):
        assert len(sessions.live(shop.db)) == 1


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_was_done_is_told_though_the_session_cannot_be_ended(
    shop: Shop, other: Shop, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """Seed 1002695: the disk was full by then, and a command that was done was told as failed."""
    shelf(shop)
    pull(shop, order("A1", at_ms=AT))
    with monkeypatch.context() as full, sending(shop, "deliver", by_hand=by_hand) as mine:
        reserve_due(mine)
        begun_by(mine)
        full.setattr(sessions, "finish", _is_full)
    assert [row["id"] for row in sessions.live(shop.db)] == [mine.session]
    assert line(shop)["state"] == "sending"
    with pytest.raises(ValueError, match="of its own"), sending(other, "deliver") as second:
        assert [row["id"] for row in sessions.live(shop.db)] == [second.session]
        assert line(shop)["state"] == "unknown"
        monkeypatch.setattr(sessions, "finish", _is_full)
        raise ValueError("of its own")


def _is_full(*_: object) -> bool:
    raise Broken(detail="database or disk is full; nothing was half-written")
