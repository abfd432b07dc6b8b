"""A stopped sender is fenced off; when it wakes it ends, and nothing is sold twice."""

from __future__ import annotations

import signal
from pathlib import Path

from adapters.demo_shop import DemoShop, FaultKind, Sold
from jobs import daemon as running
from kmtool.app import open_shop
from kmtool.config import Config
from kmtool.operations import doctor, sender
from kmtool.shop import Shop
from kmtool.store import sessions
from tests.jobs.shop_on_loopback import ITEM, daemon, lines, make, simulated, wait_for


def keys_told(outside: DemoShop, number: str) -> list[str]:
    texts = [message["text"] for message in outside.orders[number].messages]
    return [line for text in texts for line in text.split("\n") if line.startswith("KEY-")]


def settled(shop: Shop, outside: DemoShop, numbers: list[str]) -> None:
    """Look at the buyers and the books afterwards."""
    told = {number: keys_told(outside, number) for number in numbers}
    assert {len(set(keys)) for keys in told.values()} == {1}, told
    assert len({key for keys in told.values() for key in keys}) == len(numbers)
    assert [check.name for check in doctor.ledger_checks(shop) if not check.ok] == []


def test_a_stopped_sender_wakes_fenced_off(tmp_path: Path, database: str | Path) -> None:
    at = database if isinstance(database, str) else ""
    with simulated() as outside:
        config: Config = make(tmp_path, outside, read=30.0, database=at)
        outside.fail("message", FaultKind.SLOW, seconds=4.0)
        numbers = [outside.add_order([Sold(ITEM, 1)])]
        with open_shop(config) as shop, daemon(tmp_path) as old:
            wait_for(lambda: shop.db.value("SELECT count(*) FROM attempts"), old)
            old.send_signal(signal.SIGSTOP)
            with daemon(tmp_path) as refused:
                if not at:
                    assert refused.wait(60) == 11
                else:
                    refused.kill()
            with daemon(tmp_path, "--take-over") as unasked:
                assert unasked.wait(60) == 6
            with daemon(tmp_path, "--take-over", "--yes") as new:
                wait_for(lambda: new.pid in {row["pid"] for row in sessions.live(shop.db)}, new)
                assert old.pid not in {row["pid"] for row in sessions.live(shop.db)}
                numbers.append(outside.add_order([Sold(ITEM, 1)]))
                wait_for(lambda: outside.orders[numbers[1]].shipped_ms, new)
                old.send_signal(signal.SIGCONT)
                assert old.wait(90) == 1
                assert new.poll() is None
                numbers.append(outside.add_order([Sold(ITEM, 1)]))
                wait_for(lambda: all(outside.orders[n].shipped_ms for n in numbers), new)
                wait_for(lambda: lines(shop) == {"delivered": 3}, new)
                running.stop(shop)
                assert new.wait(60) == 0
            settled(shop, outside, numbers)
            assert [len(keys_told(outside, n)) for n in numbers] == [1, 1, 1]
            actions = {row["action"] for row in shop.db.all("SELECT action FROM audit")}
            assert "take_over" in actions
        told = (tmp_path / "daemon.out").read_text(encoding="utf-8")
        assert "Another sender took over" in told and "Traceback" not in told


def test_a_take_over_with_nobody_there_just_runs(tmp_path: Path) -> None:
    with simulated() as outside:
        config = make(tmp_path, outside)
        number = outside.add_order([Sold(ITEM, 1)])
        with open_shop(config) as shop, daemon(tmp_path, "--take-over") as process:
            wait_for(lambda: outside.orders[number].shipped_ms, process)
            assert sender.sender_is_running(shop)
            running.stop(shop)
            assert process.wait(60) == 0
