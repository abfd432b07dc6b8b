"""sync, deliver, order and sell at the command line: their documents, exit codes, rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.shop import Shop
from tests.fakes import Outside, order, world
from tests.operations.delivery_kit import KEY, START
from tests.operations.stock import shelf

AT = START + 1000


@pytest.fixture
def shop(shop_folder: Path, clock: ManualClock) -> Iterator[Shop]:
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as opened:
        shelf(opened)
        clock.advance(10_000)
        yield opened


@pytest.fixture
def outside(shop: Shop) -> Outside:
    found = world("shop1")
    found.orders["A1"] = order("A1", at_ms=AT)
    return found


def tables(shop: Shop) -> dict[str, int]:
    names = ("orders", "lines", "allocations", "effects", "attempts", "facts", "audit", "cursors")
    return {name: shop.db.value(f"SELECT count(*) FROM {name}") for name in names}


def test_sync_returns_one_document(cli: Callable, outside: Outside) -> None:
    told = cli("sync", "--json")
    assert told.code == 0
    (channel,) = told.json()["channels"]
    assert {k: channel[k] for k in ("channel", "orders_new", "orders_changed", "refunds",
                                    "unmapped")} == {
        "channel": "shop1", "orders_new": 1, "orders_changed": 0, "refunds": 0, "unmapped": 0,
    }  # fmt: skip
    assert channel["cursor"].startswith("2026-11-22T")


def test_a_channel_that_is_down_gives_exit_7(cli: Callable, outside: Outside) -> None:
    outside.pages_fail = 1
    told = cli("sync")
    assert told.code == 7
    assert "Traceback" not in told.err
    assert cli("sync", "nowhere").code == 5


def test_deliver_returns_one_document(cli: Callable, outside: Outside, shop: Shop) -> None:
    outside.orders["A2"] = order("A2", item="i9", at_ms=AT)
    outside.orders["A3"] = order("A3", amount=1, at_ms=AT)
    cli("sync")
    told = cli("deliver", "--json")
    found = told.json()
    keys = ("delivered", "held", "unmapped", "unknown", "needs_you", "failed")
    assert [found[k] for k in keys] == [1, {"price": 1}, 1, 0, 0, 0]
    assert told.code == 0
    assert len(outside.received["A1"]) == 1
    assert KEY.findall(told.out + told.err) == []


def test_deliver_in_part_gives_exit_3(cli: Callable, outside: Outside) -> None:
    outside.faults = ["rejected"]
    cli("sync")
    told = cli("deliver", "--json")
    assert (told.code, told.json()["needs_you"]) == (3, 1)


@pytest.mark.parametrize(
    "words",
    [
        ("sync",),
        ("deliver",),
        ("deliver", "--by-hand"),
        ("order", "hold", "A1"),
        ("order", "release", "A1"),
        ("sell", "S1"),
    ],
)
def test_a_rehearsal_sends_nothing_and_keeps_nothing(
    cli: Callable, outside: Outside, shop: Shop, words: tuple[str, ...]
) -> None:
    cli("sync")
    outside.orders["A2"] = order("A2", at_ms=AT + 1)
    before, reads = tables(shop), outside.reads
    told = cli(*words, "--dry-run")
    assert told.code == 0, told.err
    assert tables(shop) == before
    assert (outside.received, outside.shipped, outside.reads) == ({}, set(), reads)
    assert list(shop.journal.read()) == []
    assert shop.db.value("SELECT count(*) FROM keys WHERE state <> 'free'") == 0


def test_redeliver_can_be_rehearsed(cli: Callable, outside: Outside, shop: Shop) -> None:
    cli("sync")
    cli("deliver")
    before = tables(shop)
    assert cli("order", "redeliver", "A1", "--dry-run").code == 0
    assert tables(shop) == before
    assert len(outside.received["A1"]) == 1


def test_order_commands_return_documents(cli: Callable, outside: Outside) -> None:
    cli("sync")
    (row,) = cli("order", "list", "--json").json()["orders"]
    assert (row["number"], row["total"], row["currency"]) == ("A1", 1000, "CNY")
    why = cli("order", "why", "A1", "--json").json()
    assert why["lines"][0]["command"] == "kmtool deliver"
    assert cli("order", "hold", "A1", "--reason", "look").code == 0
    why = cli("order", "why", "A1").out
    assert "kmtool order release A1" in why
    assert cli("order", "release", "A1").code == 0
    assert cli("deliver", "A1").code == 0
    shown = cli("order", "show", "A1", "--json").json()
    assert shown["lines"][0]["state"] == "delivered"
    assert shown["paid"].startswith("2026-11-22T")
    assert cli("order", "redeliver", "A1").code == 0
    assert len(outside.received["A1"]) == 2
    assert cli("order", "show", "none").code == 5
    assert cli("order", "hold", "A1").code == 6


def test_sell_shows_the_key_once_and_books_it(cli: Callable, shop: Shop) -> None:
    told = cli("sell", "S1", "--to", "demo_ada", "--price", "48")
    assert told.code == 0
    assert len(KEY.findall(told.out)) == 1
    found = cli("sell", "S1", "--json").json()
    assert (found["quantity"], found["left"], found["currency"]) == (1, 3, "CNY")
    assert len(KEY.findall(found["messages"][0])) == 1
    assert cli("sell", "none").code == 5
    assert cli("sell", "S1", "-n", "9").code == 6


def test_by_hand_asks_and_keeps_the_answer(
    cli: Callable, shop_folder: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmtool.cli import clipboard

    monkeypatch.setattr(clipboard, "find", lambda *_seen: None)
    toml = (shop_folder / "kmtool.toml").read_text(encoding="utf-8")
    hand = toml.replace('couriers = ["tests.fakes"]', 'couriers = ["by_hand"]')
    (shop_folder / "kmtool.toml").write_text(hand, encoding="utf-8")
    cli("sync")
    told = cli("deliver", "--by-hand", input="u\n", tty=True)
    assert told.code == 0
    told = cli("deliver", "--by-hand", "--json", input="what\n\n", tty=True)
    assert (told.json()["sent"], told.json()["left"]) == (1, 0)
    assert "perhaps sent before" in told.err
    assert cli("order", "show", "A1", "--json").json()["lines"][0]["state"] == "delivered"
