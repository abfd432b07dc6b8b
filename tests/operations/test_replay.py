"""The send journal replayed over a database: single records, and what they may not do."""

from __future__ import annotations

import pytest

from kmtool.errors import Refused
from kmtool.journal import JournalEntry
from kmtool.operations import doctor, home, restore
from kmtool.operations.deliver import deliver
from kmtool.operations.replay import replay
from kmtool.operations.reserve import reserve_due
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, line, pull, run_on, states
from tests.operations.stock import shelf


def record(shop: Shop, kind: str, number: str) -> JournalEntry:
    """Return a record of the key that A1 has."""
    value = shop.db.value("SELECT fingerprint FROM keys WHERE state = 'delivered'")
    return JournalEntry(kind, "shop1", number, "1", bytes(value).hex(), 1)


def test_a_key_that_was_released_and_sent_elsewhere_goes_there(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, order("A1"))
    deliver(shop)
    shop.journal.append([record(shop, "RELEASE", "A1"), record(shop, "SEND", "B1")])
    done = replay(shop)
    assert (done.freed, done.waiting, done.conflicts) == (1, 1, 0)
    assert line(shop)["state"] == "human" and "released" in line(shop)["reason"]
    pull(shop, order("B1", at_ms=shop.now_ms()))
    assert line(shop, "B1")["state"] == "unknown"
    assert states(shop) == {"delivered": 1, "free": 1}


def test_a_key_that_two_buyers_may_have_is_told_and_left_alone(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, order("A1"))
    deliver(shop)
    shop.journal.append([record(shop, "SEND", "B1")])
    done = replay(shop)
    assert (done.conflicts, done.freed, done.waiting) == (1, 0, 0)
    assert line(shop)["state"] == "delivered"
    assert "one key was sent for" in doctor.journal_check(shop).figure


def test_a_key_of_several_uses_is_counted_once_per_line(shop: Shop) -> None:
    shelf(shop, n=1)
    shop.db.run("UPDATE keys SET uses = 3, uses_left = 3")
    shop.db.run("UPDATE stock SET free = 3")
    value = shop.db.value("SELECT fingerprint FROM keys")
    for number in ("A1", "A2"):
        shop.journal.append([JournalEntry("SEND", "shop1", number, "1", bytes(value).hex(), 1)])
    for _ in range(2):
        assert replay(shop).waiting == 2
        assert shop.db.value("SELECT uses_left FROM keys") == 1
        assert shop.db.value("SELECT free FROM stock") == 1
    pull(shop, order("A1"), order("A2"))
    run_on(shop)
    assert {line(shop, n)["state"] for n in ("A1", "A2")} == {"delivered"}
    assert keys_at("A1") == keys_at("A2")
    assert broken(shop) == []


def test_replay_wants_a_journal_of_its_own(shop: Shop) -> None:
    home.home_path(shop.journal.path).unlink()
    with pytest.raises(Refused, match="no send journal"):
        restore.replay_here(shop)


def test_a_use_that_was_sent_is_not_the_one_that_gives_way(shop: Shop) -> None:
    """Simulator, seed 1000080: a key of several uses went to one buyer too many."""
    shelf(shop, n=1)
    shop.db.run("UPDATE keys SET uses = 2, uses_left = 2")
    shop.db.run("UPDATE stock SET free = 2")
    pull(shop, order("A1"), order("A2"))
    reserve_due(shop)
    value = shop.db.value("SELECT fingerprint FROM keys")
    for n, number in enumerate(("B1", "A1"), 1):
        shop.journal.append(
            [JournalEntry("SEND", "shop1", number, "1", bytes(value).hex(), 1, n, 1)]
        )
    replay(shop)
    assert line(shop, "A1")["state"] == "unknown"
    bound = "SELECT o.number FROM allocations a JOIN lines l ON l.id = a.line_id"
    bound += " JOIN orders o ON o.id = l.order_id WHERE a.state = 'exposed'"
    assert [row["number"] for row in shop.db.all(bound)] == ["A1"]
    assert shop.db.value("SELECT uses_left FROM keys") == 0
    assert line(shop, "A2")["state"] != "reserved"
