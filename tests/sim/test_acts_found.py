"""What the simulated owner found in the program, each kept as a test of the operation itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import OlderThanJournal, Refused
from kmtool.journal import JournalEntry
from kmtool.operations import doctor, keys, lending, lending_back, products, restore, texts
from kmtool.operations.by_hand import Answer, by_hand
from kmtool.operations.deliver import deliver
from kmtool.operations.key_sources import Source
from kmtool.operations.lending import LendWish
from kmtool.operations.order_changes import redeliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.replay import replay
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sell import SaleWish, sell
from kmtool.operations.status import status
from kmtool.operations.stock_push import push_stock
from kmtool.operations.sync import sync_channel
from kmtool.ports import LineFact, Message, Verdict
from kmtool.shop import Shop
from kmtool.store import machines
from tests.fakes import Fake, order
from tests.operations.delivery_kit import (
    broken,
    effects,
    keys_at,
    line,
    lines,
    outside,
    pull,
    run_on,
    tick,
)
from tests.operations.import_kit import bring, free
from tests.operations.stock import shelf

BAD = ReplaceWish(reason="dead on arrival", key="0000")


def test_old_keys_sent_again_do_not_end_a_wait_for_another_key(shop: Shop) -> None:
    shelf(shop, n=2)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    redeliver(shop, "A1")
    assert replace(shop, "A1", BAD).waiting == 1
    deliver(shop)
    assert line(shop)["state"] == "human"
    assert broken(shop) == []
    bring(shop, "KEY-NEW-1\n", cost_e5=500_000)
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    assert len(keys_at("A1")) == 3
    assert broken(shop) == []


def sent_before(shop: Shop, key: str, *numbers: str) -> None:
    """As after a restore: the send journal knows a key that this database does not have."""
    mark = shop.vault.fingerprint(key.encode()).hex()
    entries = [JournalEntry("SEND", "shop1", number, "1", mark, 1, parcel=1) for number in numbers]
    shop.journal.append(entries)
    replay(shop)


def test_a_shared_key_brought_in_again_keeps_the_uses_that_nobody_has(shop: Shop) -> None:
    products.add(shop, "S1", Fields(uses=3))
    products.map_listing(shop, Mapping("shop1", "i1", "", "S1"))
    sent_before(shop, "KEY-SHARED-1", "A1", "A2")
    pull(shop, order("A1"), order("A2"))
    assert line(shop)["state"] == "human"
    bring(shop, "KEY-SHARED-1\n", cost_e5=1_000_000)
    assert free(shop) == 1
    assert broken(shop) == []
    assert (line(shop)["state"], line(shop, "A2")["state"]) == ("unknown", "unknown")
    costs = shop.db.all("SELECT cost_e5 FROM allocations ORDER BY id")
    assert [row["cost_e5"] for row in costs] == [334_000, 333_000]


def test_a_shared_key_that_was_sent_stays_when_its_file_is_taken_out_again(shop: Shop) -> None:
    """Seed 1001391: its order was not here yet, and never found its key again."""
    products.add(shop, "S1", Fields(uses=3))
    products.map_listing(shop, Mapping("shop1", "i1", "", "S1"))
    sent_before(shop, "KEY-SHARED-1", "A1")
    bring(shop, "KEY-SHARED-1\nKEY-SHARED-2\n", cost_e5=1_000_000)
    assert keys.undoable(shop, "B20261122-01").removable == 1
    undone = keys.undo(shop, "B20261122-01")
    assert [one.key for one in undone.staying] == ["…ED-1"] and free(shop) == 2
    with pytest.raises(Refused, match="no key of batch"):
        keys.undo(shop, "B20261122-01")
    pull(shop, order("A1"))
    run_on(shop)
    assert line(shop)["state"] == "delivered" and keys_at("A1") == {"KEY-SHARED-1"}
    assert free(shop) == 2 and broken(shop) == []


def test_a_text_set_again_goes_on_where_it_was_sent_before(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    products.map_listing(shop, Mapping("shop1", "t1", "", "T1"))
    sent_before(shop, "KEY-TEXT", "A1", "A2")
    pull(shop, order("A1", lines=(LineFact("1", "t1", "", "a text", 1, 1000),)))
    assert line(shop)["state"] == "human"
    assert doctor.journal_check(shop).ok
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT"))
    assert line(shop)["state"] == "unknown"
    assert broken(shop) == []


def test_old_keys_sent_again_do_not_end_a_replacement_that_is_not_out_yet(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1", quantity=2, amount=2000))
    deliver(shop)
    redeliver(shop, "A1")
    assert replace(shop, "A1", BAD).new_keys == ("…0002",)
    deliver(shop)
    assert line(shop)["state"] == "delivered"
    assert len(keys_at("A1")) == 3
    assert broken(shop) == []


def test_a_message_never_gets_the_number_of_one_that_was_sent_before_a_restore(shop: Shop) -> None:
    products.add(shop, "S2", Fields())
    products.map_listing(shop, Mapping("shop1", "i2", "", "S2"))
    shelf(shop)
    sent_before(shop, "KEY-LOST", "A1")
    pull(shop, order("A1", lines=lines(("i2", 1), ("i1", 1))))
    deliver(shop)
    assert line(shop, line_no="2")["state"] == "delivered"
    assert [row["parcel_n"] for row in effects(shop)] == [2]
    bring(shop, "KEY-LOST\n", sku="S2", cost_e5=500_000)
    assert sorted(row["parcel_n"] for row in effects(shop)) == [1, 2]
    assert broken(shop) == []


def test_a_text_that_was_bound_when_the_copy_was_made_stays_in_sale(shop: Shop) -> None:
    products.add(shop, "T1", Fields(kind="text"))
    products.map_listing(shop, Mapping("shop1", "t1", "", "T1"))
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT"))
    pull(shop, order("A1", lines=(LineFact("1", "t1", "", "a text", 1, 1000),)))
    reserve_due(shop)
    sent_before(shop, "KEY-TEXT", "A1")
    assert line(shop)["state"] == "unknown"
    assert free(shop, "T1") > 1_000_000
    assert not texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT")).changed
    assert broken(shop) == []


def test_a_sale_at_the_counter_that_is_skipped_does_not_end_the_round(shop: Shop) -> None:
    shelf(shop, n=2)

    def leave(_message: Message) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sell(shop, SaleWish("S1"), leave)
    tick(shop, 120_000)
    assert by_hand(shop, [], lambda _task: Answer.SKIP).skipped == 1
    assert by_hand(shop, [], lambda _task: Answer.SENT).sent == 1
    assert broken(shop) == []


def test_what_is_left_of_a_parcel_goes_out_beside_a_line_that_was_replaced(shop: Shop) -> None:
    products.add(shop, "S2", Fields())
    products.map_listing(shop, Mapping("shop1", "i2", "", "S2"))
    shelf(shop)
    bring(shop, "KEY-S2-1\n", sku="S2", cost_e5=500_000)
    outside().probe = Verdict.UNCLEAR
    outside().faults = ["unknown"]
    pull(shop, order("A1", lines=lines(("i1", 1), ("i2", 1))))
    run_on(shop, 20)
    assert {line(shop, line_no=n)["state"] for n in "12"} == {"human"}
    replace(shop, "A1", ReplaceWish(reason="bad", line="1", all_keys=True))
    deliver(shop)
    redeliver(shop, "A1")
    deliver(shop)
    assert {line(shop, line_no=n)["state"] for n in "12"} == {"delivered"}
    assert broken(shop) == []


def test_another_key_for_an_order_that_is_pasted_is_shown_to_be_pasted(
    make_config: Any, clock: ManualClock
) -> None:
    config = make_config(courier="by_hand")
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        shelf(shop, n=2)
        pull(shop, order("A1"))
        assert by_hand(shop, [], lambda _task: Answer.SENT).sent == 1
        replace(shop, "A1", ReplaceWish(reason="bad"))
        assert [item.command for item in status(shop).needs_you] == ["kmtool deliver --by-hand"]
        assert by_hand(shop, [], lambda _task: Answer.SENT).sent == 1
        assert line(shop)["state"] == "delivered"
        assert broken(shop) == []


def test_a_use_bound_when_the_copy_was_made_gives_way_to_those_that_were_sent(shop: Shop) -> None:
    products.map_listing(shop, _shared(shop))
    bring(shop, "KEY-SHARED-1\n", cost_e5=1_000_000)
    pull(shop, order("A9"))
    reserve_due(shop)
    sent_before(shop, "KEY-SHARED-1", "A1", "A2", "A3")
    pull(shop, order("A1"), order("A2"), order("A3"))
    assert line(shop, "A9")["state"] in {"ready", "human"}
    assert broken(shop) == []


def test_a_use_sent_before_is_counted_though_the_key_is_out_of_sale(shop: Shop) -> None:
    products.map_listing(shop, _shared(shop))
    bring(shop, "KEY-SHARED-1\n", cost_e5=1_000_000)
    with shop.db.tx():
        machines.quarantine_free(shop.db, shop.now_ms())
    sent_before(shop, "KEY-SHARED-1", "A1", "A2")
    pull(shop, order("A1"), order("A2"))
    assert broken(shop) == []


def _shared(shop: Shop) -> Mapping:
    products.add(shop, "S1", Fields(uses=3))
    return Mapping("shop1", "i1", "", "S1")


def test_a_key_that_came_back_from_a_pool_and_was_sold_since_is_not_lent(
    shop: Shop, tmp_path: Path
) -> None:
    key = shelf(shop, n=1)[0]
    lent = lending.lend(shop, LendWish("S1", "kq", 1, "91kaquan"), tmp_path / "k.csv")
    mark = shop.vault.fingerprint(key.encode()).hex()
    place = ("pool-kq", lent.number, "1", mark)
    shop.journal.append([JournalEntry("RELEASE", *place, 9)])
    sent_before(shop, key, "A1")
    pull(shop, order("A1"))
    assert line(shop)["state"] == "unknown"
    assert broken(shop) == []


def test_a_journal_that_lost_a_release_learns_it_again(shop: Shop, tmp_path: Path) -> None:
    shelf(shop, n=1)
    lending.lend(shop, LendWish("S1", "kq", 1, "91kaquan"), tmp_path / "k.csv")
    lent = shop.journal.path.read_bytes()
    (tmp_path / "back.csv").write_text("卡号,状态,订单号\nKEY-S1-00000,未使用,", encoding="utf-8")
    os.utime(tmp_path / "back.csv", (shop.now_ms() / 1000, shop.now_ms() / 1000))
    seen = lending_back.look(shop, "kq", tmp_path / "back.csv")
    assert lending_back.settle(shop, seen, take_back=True).returned == 1
    shop.journal.path.write_bytes(lent)
    pull(shop, order("A1"))
    deliver(shop)
    assert doctor.journal_check(shop).ok
    assert broken(shop) == []


def test_a_bundle_whose_key_was_replaced_has_the_newer_one_after_a_restore(shop: Shop) -> None:
    for sku in ("S1", "S2"):
        products.add(shop, sku, Fields())
    products.add(shop, "B1", Fields(parts=(("S1", 1), ("S2", 1))))
    products.map_listing(shop, Mapping("shop1", "b1", "", "B1"))
    bring(shop, "KEY-S1-1\nKEY-S1-2\n", cost_e5=500_000)
    bring(shop, "KEY-S2-1\n", "two.txt", sku="S2", cost_e5=500_000)
    for key in ("KEY-S1-1", "KEY-S2-1", "KEY-S1-2"):
        sent_before(shop, key, "A1")
    pull(shop, order("A1", lines=(LineFact("1", "b1", "", "both", 1, 2000),)))
    run_on(shop)
    assert line(shop)["state"] == "delivered"
    assert broken(shop) == []


def test_a_bug_of_an_adapter_that_takes_figures_is_the_trouble_of_its_channel(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(shop)
    tick(shop, 5_000)
    synced = sync_channel(shop, "shop1")

    def broken_answer(_self: object, _items: object) -> None:
        raise KeyError("nonsense")

    monkeypatch.setattr(Fake, "push_stock", broken_answer)
    assert "KeyError" in push_stock(shop, synced).error


def test_a_journal_that_lacks_something_still_says_what_it_says(shop: Shop) -> None:
    keys = shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    shop.journal.path.unlink()
    shop.journal.look_again()
    mark = shop.vault.fingerprint(keys[1].encode()).hex()
    shop.journal.append([JournalEntry("SEND", "shop1", "A2", "1", mark, 99, n=1, parcel=1)])
    with pytest.raises(OlderThanJournal):
        deliver(shop)
    settled = restore.replay_here(shop)
    assert (settled.journal, settled.quarantined) == (False, 1)
    deliver(shop)
    pull(shop, order("A2"))
    run_on(shop)
    assert keys_at("A2") == {keys[1]}
    assert broken(shop) == []


def test_a_message_packed_anew_since_the_copy_is_not_taken_for_the_old_one(shop: Shop) -> None:
    """The old text holds a key that went to somebody else: it must never be sent."""
    products.add(shop, "T1", Fields(kind="text"))
    products.map_listing(shop, Mapping("shop1", "t1", "", "T1"))
    texts.set_text(shop, "T1", Source("t.txt", b"KEY-TEXT"))
    keys = shelf(shop, n=2)
    both = (LineFact("1", "i1", "", "a key", 1, 1000), LineFact("2", "t1", "", "a text", 1, 1000))
    pull(shop, order("A1", lines=both))
    reserve_due(shop)  # the copy was made here: parcel 1 holds the text and the first key
    marks = {key: shop.vault.fingerprint(key.encode()).hex() for key in (*keys, "KEY-TEXT")}
    sent = (("A1", "2", "KEY-TEXT", 2), ("A1", "1", keys[1], 2), ("A2", "1", keys[0], 1))
    shop.journal.append(
        [
            JournalEntry("SEND", "shop1", number, line_no, marks[key], 9, n, parcel)
            for n, (number, line_no, key, parcel) in enumerate(sent, 1)
        ]
    )
    replay(shop)
    pull(shop, order("A2"))
    run_on(shop)
    assert keys_at("A1") == {keys[1], "KEY-TEXT"}
    assert keys_at("A2") == {keys[0]}
    assert broken(shop) == []
