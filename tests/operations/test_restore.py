"""An older database learns from the send journal what was sent: nothing is sold twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import Config
from kmtool.domain.states import COUNTER
from kmtool.errors import InputRefused, Locked, NotFound, OlderThanJournal, Refused
from kmtool.operations import backup, by_hand, claims, doctor, orders, restore, sender
from kmtool.operations.deliver import deliver
from kmtool.operations.replay import replay
from kmtool.operations.sell import SaleWish, sell
from kmtool.operations.status import status
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store import copying, house, machines, seen_keys
from kmtool.store.db import connect
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, outside, pull, run_on, states, tick
from tests.operations.import_kit import bring
from tests.operations.stock import shelf

Opener = Callable[[Config], AbstractContextManager[Shop]]


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


@pytest.fixture(autouse=True)
def dump_tools(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs, where the test server brings them along."""
    if shop.db.dialect == "sqlite":
        return
    import pgserver

    folder = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's restore is NOT tested here: there is no pg_dump")


def saved(shop: Shop) -> Path:
    """Return a backup of now."""
    return Path(backup.backup(shop).file)


def back(shop: Shop, file: Path, opener: Opener, **more: Any) -> restore.Restored:
    """Restore a backup."""
    return restore.restore(shop.config, shop.clock, file, opener, **more)


def told(*numbers: str) -> dict[str, set[str]]:
    """Return what the buyers hold."""
    return {number: keys_at(number) for number in numbers}


def test_orders_lost_with_the_backup_keep_their_keys(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=6)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    pull(shop, order("A2"), order("A3", quantity=2))
    deliver(shop)
    before = told("A1", "A2", "A3")
    done = back(shop, file, opener)
    assert done.kept and done.settled.journal and not done.away
    assert done.settled.replayed.waiting == 3 and done.settled.quarantined == 0
    assert states(shop) == {"delivered": 1, "exposed": 3, "free": 2}
    run_on(shop)
    assert told("A1", "A2", "A3") == before
    assert {len(outside().received[n]) for n in before} == {1}
    assert states(shop) == {"delivered": 4, "free": 2}
    assert line(shop, "A3")["state"] == "delivered"
    assert outside().shipped == {"A1", "A2", "A3"}
    pull(shop, order("A4", quantity=2, at_ms=shop.now_ms()))
    assert deliver(shop).delivered == 1
    assert not keys_at("A4") & (before["A1"] | before["A2"] | before["A3"])
    assert broken(shop) == []
    assert doctor.journal_check(shop).ok


def test_what_was_reserved_when_the_backup_was_made_was_sent_since(
    shop: Shop, opener: Opener
) -> None:
    from kmtool.operations.reserve import reserve_due

    shelf(shop, n=3)
    pull(shop, order("A1", quantity=2))
    reserve_due(shop)
    file = saved(shop)
    deliver(shop)
    before = told("A1")
    done = back(shop, file, opener)
    assert done.settled.replayed.bound == 2
    assert line(shop)["state"] == "unknown"
    run_on(shop)
    assert told("A1") == before and len(outside().received["A1"]) == 1
    assert broken(shop) == []


def test_a_reserved_key_that_went_to_another_order_goes_there(shop: Shop, opener: Opener) -> None:
    from kmtool.operations.reserve import reserve_due

    shelf(shop, n=1)
    pull(shop, order("A1"))
    reserve_due(shop)
    file = saved(shop)
    outside().orders["A1"] = order("A1", status="closed", at_ms=shop.now_ms())  # type: ignore[arg-type]
    tick(shop, 5_000)
    sync(shop)
    pull(shop, order("B1", at_ms=shop.now_ms()))
    deliver(shop)
    assert len(keys_at("B1")) == 1
    back(shop, file, opener)
    run_on(shop)
    assert len(outside().received["B1"]) == 1 and keys_at("A1") == set()
    assert line(shop, "A1")["state"] == "cancelled"
    assert line(shop, "B1")["state"] == "delivered"
    assert broken(shop) == []


def test_a_message_that_never_arrived_is_sent_with_its_own_key(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=4)
    file = saved(shop)
    pull(shop, order("A1"))
    outside().faults = ["unknown"]
    deliver(shop)
    bound = shop.db.value("SELECT tail FROM keys WHERE state = 'exposed'")
    back(shop, file, opener)
    run_on(shop)
    assert len(keys_at("A1")) == 1 and next(iter(keys_at("A1"))).endswith(bound)
    assert broken(shop) == []


def test_a_batch_lost_with_the_backup_gives_its_keys_to_their_orders(
    shop: Shop, opener: Opener
) -> None:
    shelf(shop, n=1)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    texts = "KEY-NEW-1\nKEY-NEW-2\nKEY-NEW-3\n"
    bring(shop, texts, cost_e5=500_000)
    pull(shop, order("A2"))
    deliver(shop)
    before = told("A2")
    done = back(shop, file, opener)
    assert done.settled.replayed.unknown == 1
    run_on(shop)
    assert line(shop, "A2")["state"] == "human"
    assert "bring its file in again" in line(shop, "A2")["reason"]
    assert len(outside().received["A2"]) == 1
    bring(shop, texts, cost_e5=500_000)
    assert shop.db.value("SELECT free FROM stock WHERE sku = 'S1'") == 2
    run_on(shop)
    assert told("A2") == before and len(outside().received["A2"]) == 1
    assert line(shop, "A2")["state"] == "delivered"
    assert broken(shop) == []


def test_a_sale_by_hand_comes_back_for_the_person_to_confirm(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=3)
    file = saved(shop)
    shown: list[str] = []
    first = sell(shop, SaleWish("S1"), lambda message: shown.append(message.text.text()))
    back(shop, file, opener)
    assert states(shop) == {"exposed": 1, "free": 2}
    again: list[str] = []
    second = sell(shop, SaleWish("S1"), lambda message: again.append(message.text.text()))
    assert second.number != first.number and again[0] != shown[0]
    tick(shop, 120_000)
    (item,) = [one for one in status(shop).needs_you if first.number in one.command]
    assert (item.amount_minor, item.assumed) == (0, True), "the journal holds no price"
    page = {one.number: one.assumed for one in orders.page(shop, limit=9).orders}
    assert page == {first.number: True, second.number: False}
    assert orders.show(shop, first.number).assumed
    asked: list[by_hand.Task] = []

    def answer(task: by_hand.Task) -> by_hand.Answer:
        asked.append(task)
        return by_hand.Answer.SENT

    by_hand.by_hand(shop, [], answer)
    assert [(task.channel, task.number, task.again) for task in asked] == [
        (COUNTER, first.number, True)
    ]
    assert states(shop) == {"delivered": 2, "free": 1}
    assert broken(shop) == []


def test_a_sale_by_hand_comes_back_when_the_file_of_its_key_does(
    shop: Shop, opener: Opener
) -> None:
    """Seed 197: the file came in after the backup; nobody ever heard of that sale again."""
    shelf(shop, n=1)
    shop.db.run("UPDATE keys SET state = 'void'")
    shop.db.run("UPDATE stock SET free = 0")
    file = saved(shop)
    bring(shop, "KEY-LATER-1\nKEY-LATER-2\n")
    sell(shop, SaleWish("S1", to="demo_buyer"), lambda _message: None)
    number = str(shop.db.value("SELECT number FROM orders WHERE channel = 'counter'"))
    back(shop, file, opener)
    with opener(shop.config) as again:
        assert again.db.value("SELECT count(*) FROM orders WHERE channel = 'counter'") == 0
        bring(again, "KEY-LATER-1\nKEY-LATER-2\n")
        assert orders.show(again, f"counter:{number}").assumed
        assert states(again) == {"exposed": 1, "free": 1, "void": 1} and broken(again) == []


def test_a_sale_by_hand_whose_file_came_in_long_ago_gets_its_own_key_back(
    shop: Shop, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database in which only the key was taken out of its batch, the sale still lost."""
    shelf(shop, n=1)
    shop.db.run("UPDATE keys SET state = 'void'")
    shop.db.run("UPDATE stock SET free = 0")
    file = saved(shop)
    bring(shop, "KEY-LATER-1\nKEY-LATER-2\n")
    sell(shop, SaleWish("S1", to="demo_buyer"), lambda _message: None)
    back(shop, file, opener)
    with opener(shop.config) as again:
        with monkeypatch.context() as before:
            before.setattr(claims, "counter_sales", lambda _shop: [])
            bring(again, "KEY-LATER-1\nKEY-LATER-2\n")
        bring(again, "KEY-X-1\nKEY-X-2\n")
        run_on(again)
        assert again.db.value("SELECT count(*) FROM allocations") == 1
        assert states(again) == {"exposed": 1, "free": 3, "void": 1} and broken(again) == []


def test_a_rehearsal_changes_nothing(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=3)
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    done = back(shop, file, opener, keep=False)
    assert not done.kept and done.settled.replayed.waiting == 1 and done.saved is None
    assert states(shop) == {"delivered": 1, "free": 2}
    assert [p.name for p in shop.config.root.rglob(".restore-*")] == []


def test_the_outlook_tells_both_sides(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=3)
    file = saved(shop)
    pull(shop, order("A1"))
    found = restore.outlook(shop.config, file, opener)
    assert found.present is not None
    assert (found.backup.orders, found.present.orders, found.journal) == (0, 1, True)


def test_the_database_of_before_is_kept_and_opens(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=3)
    file = saved(shop)
    pull(shop, order("A1"))
    done = back(shop, file, opener)
    assert done.saved is not None and backup.verify(Path(done.saved)) == "ok"
    assert shop.db.value("SELECT count(*) FROM orders") == 0


def test_nothing_is_restored_while_somebody_sends(
    shop: Shop, opener: Opener, clock: ManualClock
) -> None:
    file = saved(shop)
    with (
        open_shop(shop.config, clock=clock) as other,
        sender.sending(other, "run"),
        pytest.raises(Locked) as refused,
    ):
        back(shop, file, opener)
    assert "kmtool run stop" in refused.value.next_step()


def test_what_is_no_backup_is_refused(shop: Shop, opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(InputRefused):
        back(shop, tmp_path / "x.db", opener)
    with pytest.raises(NotFound):
        back(shop, tmp_path / "none.db", opener)


def test_a_damaged_database_is_replaced(shop: Shop, opener: Opener) -> None:
    if shop.db.dialect == "postgresql":
        pytest.skip("a server's files are its own business")
    shelf(shop, n=3)
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    path = shop.config.database
    assert isinstance(path, Path)
    shop.db.run("PRAGMA wal_checkpoint(TRUNCATE)")
    shop.db.close()
    path.write_bytes(b"\0" * 8192 + path.read_bytes()[8192:])
    done = back(shop, file, opener)
    assert done.settled.replayed.waiting == 1
    with opener(shop.config) as again:
        run_on(again)
        assert line(again)["state"] == "delivered" and len(outside().received["A1"]) == 1
    object.__setattr__(shop, "db", connect(path))


def test_a_copy_put_back_by_hand_is_noticed_and_replayed(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    if shop.db.dialect == "postgresql":
        pytest.skip("there a copy is another database")
    shelf(shop, n=4)
    pull(shop, order("A1"))
    deliver(shop)
    copied = tmp_path / "old.db"
    copying.copy_sqlite(shop.db, copied)
    pull(shop, order("A2"), order("A3"))
    deliver(shop)
    before = told("A2", "A3")
    path = shop.config.database
    assert isinstance(path, Path)
    shop.db.close()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    shutil.copyfile(copied, path)
    with opener(shop.config) as again:
        with pytest.raises(OlderThanJournal):
            deliver(again)
        assert not doctor.journal_check(again).ok
        found = restore.replay_here(again)
        assert found.replayed.waiting == 2
        run_on(again)
        assert told("A2", "A3") == before
        assert {len(outside().received[n]) for n in before} == {1}
        assert broken(again) == []
    object.__setattr__(shop, "db", connect(path))


def test_replaying_twice_changes_nothing_more(shop: Shop, opener: Opener) -> None:
    shelf(shop, n=4)
    file = saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    back(shop, file, opener)
    run_on(shop)
    before = (states(shop), told("A1"))
    done = replay(shop)
    assert (done.bound, done.waiting, done.right) == (0, 0, 1)
    run_on(shop)
    assert (states(shop), told("A1")) == before
    assert len(outside().received["A1"]) == 1


def test_the_drill_restores_on_trial_and_says_when(shop: Shop, opener: Opener) -> None:
    with pytest.raises(Refused, match="no backup"):
        restore.drill(shop, opener)
    shelf(shop, n=3)
    saved(shop)
    pull(shop, order("A1"))
    deliver(shop)
    done = restore.drill(shop, opener)
    assert done.ok and done.settled.replayed.waiting == 1
    found = backup.drilled(shop)
    assert (found.at_ms, found.ok) == (shop.now_ms(), True)
    assert states(shop) == {"delivered": 1, "free": 2}
    assert seen_keys.any_seen(shop.db) is False
    newest = backup.newest(shop.config)
    assert newest is not None
    newest.path.write_bytes(b"torn")
    with pytest.raises(Exception):  # noqa: B017
        restore.drill(shop, opener)
    assert not backup.drilled(shop).ok


def test_a_stopped_sender_stays_fenced_off_after_a_restore(shop: Shop, opener: Opener) -> None:
    file = saved(shop)
    sender.take_over(shop)
    back(shop, file, opener)
    assert house.meta(shop.db, machines.EPOCH) == "1"
    assert replace(shop).db is shop.db
