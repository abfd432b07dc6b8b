"""Keys that a pool gave out although they came back: never a second buyer without a word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kmtool.domain.ids import SessionId
from kmtool.errors import TakenOver
from kmtool.journal import JournalEntry
from kmtool.operations import sender
from kmtool.operations.deliver import deliver
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.reserve import reserve_due
from kmtool.operations.status import status
from kmtool.ports import Verdict
from kmtool.shop import Shop
from tests.fakes import order, world
from tests.operations.delivery_kit import keys_at, line, pull, states, tick
from tests.operations.lending_kit import export, lend, read, sound
from tests.operations.stock import shelf


def test_a_key_taken_back_but_given_out_there_is_not_sold_again(shop: Shop, tmp_path: Path) -> None:
    keys = shelf(shop, n=2)
    lend(shop, tmp_path, 2)
    tick(shop, 1000)
    both = [(key, "未使用", "") for key in keys]
    read(shop, export(shop, tmp_path, both), take_back=True)
    told = read(shop, export(shop, tmp_path, [(keys[0], "已使用", "T1"), both[1]]))
    assert (told.used, told.clashes, told.known) == (0, (f"…{keys[0][-4:]}",), 1)
    assert states(shop) == {"free": 1, "quarantine": 1}
    assert sound(shop)


def test_a_key_that_a_pool_gave_out_after_we_sold_it_is_to_be_replaced(
    shop: Shop, tmp_path: Path
) -> None:
    keys = shelf(shop, n=1)
    lend(shop, tmp_path, 1)
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(keys[0], "未使用", "")]), take_back=True)
    pull(shop, order("A1"))
    assert deliver(shop).delivered == 1
    told = read(shop, export(shop, tmp_path, [(keys[0], "已使用", "T1")]))
    assert told.clashes == (f"…{keys[0][-4:]}",)
    (item,) = [i for i in status(shop).needs_you if i.command.startswith("kmtool order replace A1")]
    assert keys[0][-4:] in item.what
    assert item.amount_minor == 1000
    assert sound(shop)


@pytest.mark.parametrize("verdict", [Verdict.DONE, Verdict.NOT_DONE])
def test_an_unclear_try_of_a_key_with_two_buyers_waits_for_a_person_whatever_asking_finds(
    shop: Shop, tmp_path: Path, verdict: Verdict
) -> None:
    keys = shelf(shop, n=2)
    lend(shop, tmp_path, 1)
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(keys[0], "未使用", "")]), take_back=True)
    pull(shop, order("A1"))
    world("shop1").faults, world("shop1").probe = ["unknown"], Verdict.UNCLEAR
    deliver(shop)
    read(shop, export(shop, tmp_path, [(keys[0], "已使用", "T1")]))
    world("shop1").probe = verdict
    for _ in range(3):
        tick(shop, 200_000)
        deliver(shop)
    (item,) = [one for one in status(shop).needs_you if "A1" in one.command]
    assert item.command.startswith("kmtool order replace A1"), item
    assert line(shop)["state"] == "human"
    replace(shop, "A1", ReplaceWish(reason="used elsewhere", all_keys=True))
    assert deliver(shop).delivered == 1
    assert [one for one in status(shop).needs_you if "A1" in one.command] == []
    assert sound(shop)


def test_a_key_that_a_pool_gave_out_is_not_sent_when_it_is_only_bound(
    shop: Shop, tmp_path: Path
) -> None:
    keys = shelf(shop, n=1)
    lend(shop, tmp_path, 1)
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(keys[0], "未使用", "")]), take_back=True)
    pull(shop, order("A1"))
    assert reserve_due(shop).reserved == 1
    read(shop, export(shop, tmp_path, [(keys[0], "已使用", "T1")]))
    assert deliver(shop).delivered == 0
    assert keys_at("A1") == set()
    assert states(shop) == {"quarantine": 1}
    assert sound(shop)


def test_who_was_taken_over_behind_the_journal_frees_no_key(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, seed 30: who took over wrote the key down as lent again; then it was freed here."""
    keys = shelf(shop, n=1)
    lend(shop, tmp_path, 1)
    tick(shop, 1000)
    path = export(shop, tmp_path, [(keys[0], "未使用", "")])
    append = shop.journal.append

    def slept(entries: Sequence[JournalEntry]) -> None:
        append(entries)
        newest = shop.db.value("SELECT max(id) FROM sessions")
        sender.close(shop, SessionId(newest), "dead")

    with monkeypatch.context() as asleep:
        asleep.setattr(type(shop.journal), "append", lambda _self, entries: slept(entries))
        with pytest.raises(TakenOver):
            read(shop, path, take_back=True)
    assert states(shop) == {"lent": 1}
    assert read(shop, path, take_back=True).returned == 1
    assert states(shop) == {"free": 1} and sound(shop)
