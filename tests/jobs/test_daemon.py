"""The daemon as its own process: it delivers, stops when asked, and comes back after a kill."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from adapters.demo_shop import DemoShop, FaultKind, Sold
from jobs import daemon as running
from kmtool.app import open_shop
from kmtool.clock import SystemClock
from kmtool.errors import Locked
from kmtool.operations import doctor, sender
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from kmtool.store import house, jobs, sessions
from tests.jobs.shop_on_loopback import ITEM, daemon, lines, make, simulated, wait_for


def keys_told(outside: DemoShop, number: str) -> list[str]:
    """Return the keys in all messages of an order, as the buyer has them."""
    texts = [message["text"] for message in outside.orders[number].messages]
    return [line for text in texts for line in text.split("\n") if line.startswith("KEY-")]


def pids(shop: Shop) -> list[int]:
    return [row["pid"] for row in sessions.live(shop.db)]


def broken(shop: Shop) -> list[str]:
    return [check.name for check in doctor.ledger_checks(shop) if not check.ok]


def test_it_delivers_by_itself_and_stops_when_asked(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        with daemon(tmp_path) as process, open_shop(config) as shop:
            numbers = [outside.add_order([Sold(ITEM, 1)]) for _ in range(3)]
            wait_for(lambda: all(outside.orders[n].shipped_ms for n in numbers), process)
            wait_for(lambda: lines(shop) == {"delivered": 3}, process)
            wait_for(lambda: outside.items[ITEM, ""].quantity == 17, process)
            assert sender.sender_is_running(shop)
            assert doctor.daemon_check(shop).figure.startswith(f"process {process.pid}")
            assert running.stop(shop).asked == 1
            assert process.wait(60) == 0
            assert sessions.live(shop.db) == []
            assert running.stop(shop).asked == 0
            assert len({key for n in numbers for key in keys_told(outside, n)}) == 3
            assert broken(shop) == []
            assert {row["state"] for row in jobs.latest(shop.db)} == {"ok"}
        log = (tmp_path / "logs" / "kmtool.log").read_text(encoding="utf-8")
        assert "started, session" in log and "stopped, session" in log
        assert "KEY-S1" not in log and "demo-secret" not in log


def test_a_signal_ends_it_in_an_orderly_way(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        with daemon(tmp_path) as process, open_shop(config) as shop:
            wait_for(lambda: sessions.live(shop.db), process)
            wait_for(lambda: jobs.latest(shop.db), process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            row = sessions.last_ended(shop.db, "run")
            assert row is not None and row["state"] == "ended"


def test_a_command_beside_it_lets_it_send(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside, deliver="1h")
        with daemon(tmp_path) as process, open_shop(config) as shop:
            wait_for(lambda: any(r["job"] == "deliver" for r in jobs.latest(shop.db)), process)
            number = outside.add_order([Sold(ITEM, 1)])
            wait_for(lambda: lines(shop), process)
            with pytest.raises(Locked), sender.sending(shop, "run"):
                pass
            deliver(shop)  # it may have been faster: a sync that finds orders nudges it too
            wait_for(lambda: lines(shop) == {"delivered": 1}, process)
            assert len(keys_told(outside, number)) == 1
            sent_by = shop.db.value("SELECT max(session_id) FROM attempts")
            kind = shop.db.value("SELECT kind FROM sessions WHERE id = :id", id=sent_by)
            assert kind == "run"
            assert house.meta(shop.db, "nudge_ms") is not None


@pytest.mark.parametrize("kind", [FaultKind.SLOW, FaultKind.LOST_REPLY])
def test_after_a_kill_in_the_middle_every_buyer_has_one_key(
    tmp_path: Path, kind: FaultKind
) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside, read=20.0)
        outside.fail("message", kind, seconds=3.0)
        number = outside.add_order([Sold(ITEM, 1)])
        with open_shop(config) as shop:
            with daemon(tmp_path) as process:
                wait_for(lambda: shop.db.value("SELECT count(*) FROM attempts"), process)
                process.kill()
                assert process.wait(60) != 0
            assert sessions.live(shop.db)
            with daemon(tmp_path) as process:
                wait_for(lambda: lines(shop) == {"delivered": 1}, process)
                wait_for(lambda: outside.orders[number].shipped_ms, process)
                running.stop(shop)
                assert process.wait(60) == 0
            assert len(set(keys_told(outside, number))) == 1
            assert shop.db.value("SELECT count(*) FROM keys WHERE state = 'delivered'") == 1
            assert broken(shop) == []
            dead = shop.db.value("SELECT count(*) FROM sessions WHERE state = 'dead'")
            assert dead == 1


def test_it_refuses_to_send_over_a_broken_promise(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        with open_shop(config) as shop, shop.db.tx():
            shop.db.run("UPDATE batches SET accepted = accepted + 1")
        with daemon(tmp_path) as process:
            assert process.wait(60) == 1
        told = (tmp_path / "daemon.out").read_text(encoding="utf-8")
        assert "KM-E101" in told and "batch_sum" in told and "Traceback" not in told


def test_a_second_one_is_refused(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        with daemon(tmp_path) as first, open_shop(config) as shop:
            wait_for(lambda: sessions.live(shop.db), first)
            with daemon(tmp_path) as second:
                assert second.wait(60) == 11
            assert first.poll() is None


def test_it_ends_when_another_sender_took_over(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        with daemon(tmp_path) as process, open_shop(config) as shop:
            wait_for(lambda: jobs.latest(shop.db), process)
            with shop.db.tx():
                shop.db.run("UPDATE sessions SET state = 'dead' WHERE state = 'live'")
            assert process.wait(60) == 1
        assert "Another sender took over" in (tmp_path / "daemon.out").read_text(encoding="utf-8")


def test_every_buyer_has_one_key_after_many_kills(tmp_path: Path) -> None:
    """The daemon is killed again and again at any moment; KMTOOL_KILLS sets how often."""
    kills = int(os.environ.get("KMTOOL_KILLS", "3"))
    pause = random.Random(7)
    clock = SystemClock()
    with simulated() as outside:
        config = make(tmp_path, outside, keys=4 * kills + 5)
        numbers: list[str] = []
        with open_shop(config) as shop:
            for _ in range(kills):
                numbers += [outside.add_order([Sold(ITEM, 1)]) for _ in range(3)]
                with daemon(tmp_path) as process:
                    wait_for(lambda: process.pid in pids(shop), process)
                    clock.sleep(pause.uniform(0.0, 2.5))
                    process.kill()
                    process.wait(60)
            with daemon(tmp_path) as process:
                wait_for(lambda: process.pid in pids(shop), process)
                wait_for(lambda: all(outside.orders[n].shipped_ms for n in numbers), process)
                wait_for(lambda: lines(shop) == {"delivered": len(numbers)}, process)
                running.stop(shop)
                assert process.wait(60) == 0
            told = {number: set(keys_told(outside, number)) for number in numbers}
            assert {len(keys) for keys in told.values()} == {1}
            assert len(set().union(*told.values())) == len(numbers)
            assert broken(shop) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_on_postgresql_works_the_same(tmp_path: Path, database: str) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside, database=database)
        with daemon(tmp_path) as process, open_shop(config) as shop:
            outside.add_order([Sold(ITEM, 1)])
            wait_for(lambda: lines(shop) == {"delivered": 1}, process)
            assert running.stop(shop).asked == 1
            assert process.wait(60) == 0
            assert broken(shop) == []


def test_one_that_starts_while_others_stop_is_not_waited_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter(([7], [7, 8], [8]))
    monkeypatch.setattr(running, "_alive", lambda _shop: next(found))
    assert running.stop(shop).asked == 1
