"""A send journal that lost records is made whole again, before a restore could believe it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.errors import Broken
from kmtool.journal import Journal, JournalEntry
from kmtool.operations import home, journal_whole, lending_back
from kmtool.operations.deliver import deliver
from kmtool.operations.journal_whole import make_whole, missing
from kmtool.operations.replay import last_word
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, keys_at, pull, tick
from tests.operations.import_kit import bring
from tests.operations.lending_kit import FORM, export, lend, read, sound
from tests.operations.stock import shelf
from tests.operations.test_restore import Opener, back, run_on, saved, told
from tests.operations.test_restore import dump_tools as dump_tools


@pytest.fixture
def opener(clock: ManualClock) -> Opener:
    return lambda config: open_shop(config, clock=clock)


@pytest.mark.parametrize("left", [None, 0.0, 0.7])
def test_a_journal_that_lost_records_is_made_whole_before_more_is_sent(
    shop: Shop, opener: Opener, left: float | None
) -> None:
    shelf(shop, n=12)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    pull(shop, order("A2"), order("A3"))
    deliver(shop)
    journal = shop.journal.path
    if left is None:
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[: int(journal.stat().st_size * left)])
    object.__setattr__(shop, "journal", Journal(journal, shop.journal._database_id,
                                                shop.vault.digest))  # fmt: skip
    pull(shop, order("A4"))
    deliver(shop)
    before = told("A2", "A3", "A4")
    assert back(shop, file, opener).settled.quarantined == 0
    with opener(shop.config) as again:
        pull(again, order("A5"), order("A6"))
        run_on(again)
        assert told("A2", "A3", "A4") == before
        sold = [key for number in ("A1", "A2", "A3", "A4", "A5", "A6") for key in keys_at(number)]
        assert len(sold) == len(set(sold)) == 6


def test_a_journal_lost_since_the_last_sending_is_made_whole_by_the_restore(
    shop: Shop, opener: Opener
) -> None:
    shelf(shop, n=12)
    pull(shop, order("A1"))
    deliver(shop)
    file = saved(shop)
    pull(shop, order("A2"))
    deliver(shop)
    shop.journal.path.unlink()
    done = back(shop, file, opener)
    assert (done.settled.journal, done.settled.quarantined) == (True, 0)
    with opener(shop.config) as again:
        before = told("A2")
        pull(again, order("A3"))
        run_on(again)
        assert told("A2") == before and not keys_at("A3") & before["A2"]


def test_a_journal_that_is_cut_again_is_made_whole_again(shop: Shop) -> None:
    """Seed 166: nothing was sent between the two cuts."""
    shelf(shop, n=4)
    pull(shop, order("A1"), order("A2"))
    deliver(shop)
    for _ in range(3):
        whole = shop.journal.path.read_bytes()
        shop.journal.path.write_bytes(whole[: len(whole) // 3])
        assert make_whole(shop) > 0
        assert missing(shop, last_word(shop.journal)) == []
    assert make_whole(shop) == 0


def test_a_journal_that_began_after_a_restore_without_one_says_nothing_of_before(
    shop: Shop, opener: Opener
) -> None:
    shelf(shop, n=6)
    pull(shop, order("A1"))
    file = saved(shop)
    deliver(shop)
    shop.journal.path.unlink()
    home.home_path(shop.journal.path).unlink()
    assert back(shop, file, opener).settled.quarantined == 6
    with opener(shop.config) as again:
        bring(again, "".join(f"LATER-{n}\n" for n in range(3)))
        pull(again, order("A2"))
        run_on(again)
    assert back(shop, file, opener).settled.quarantined == 6


def test_a_journal_that_vanishes_under_a_sender_stops_it(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1"), order("A2"))
    deliver(shop)
    shop.journal.path.unlink()
    with pytest.raises(Broken, match="was deleted or cut"):
        shop.journal.append([JournalEntry("SEND", "shop1", "A2", "1", "00", 1)])


def test_a_whole_journal_is_left_alone(shop: Shop) -> None:
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    before = shop.journal.path.read_bytes()
    assert make_whole(shop) == 0 and shop.journal.path.read_bytes() == before


def test_each_machine_keeps_its_own_journal_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shop.db.dialect == "sqlite":
        pytest.skip("a file is at home on one machine")
    shelf(shop, n=3)
    pull(shop, order("A1"))
    deliver(shop)
    mine = home.here()
    for machine in ("b" * 32, mine.id):
        shop.journal.path.unlink()
        monkeypatch.setattr(home, "here", lambda id=machine: replace(mine, id=id))
        assert (make_whole(shop), make_whole(shop)) == (1, 0)


def test_a_key_that_came_back_from_a_pool_is_sold_though_its_lending_is_forgotten(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """Seed 362: a journal made anew names what was sent, not what was lent and came back before."""
    keys = shelf(shop, n=2)
    lend(shop, tmp_path, 2)
    file = saved(shop)
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(key, "未使用", "") for key in keys]), take_back=True)
    pull(shop, order("A1"))
    deliver(shop)
    before = told("A1")
    shop.journal.path.unlink()
    deliver(shop)
    back(shop, file, opener)
    with opener(shop.config) as again:
        pull(again, order("A1"))
        run_on(again)
        assert broken(again) == [] and told("A1") == before


def test_a_restore_remembers_what_came_back_from_a_pool(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """Seed 1000183: after a restore only the journal knew that keys had come back; cut, it named
    the pool for keys that were sold since, or are for sale."""
    keys = shelf(shop, n=3)
    file = saved(shop)
    lend(shop, tmp_path, 3)
    lending = shop.journal.path.read_bytes()
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(key, "未使用", "") for key in keys]), take_back=True)
    tick(shop, 1000)
    lend(shop, tmp_path, 1)
    pull(shop, order("A1"))
    deliver(shop)
    before = told("A1")
    back(shop, file, opener)
    shop.journal.path.write_bytes(lending)
    with opener(shop.config) as again:
        pull(again, order("A1"))
        run_on(again)
        assert sound(again) and told("A1") == before
        sent = last_word(again.journal).sent
        assert [len(places) for places in sent.values()] == [1, 1]
        tick(again, 1000)
        unused = export(again, tmp_path, [(key, "未使用", "") for key in keys])
        seen = lending_back.look(again, "kq", unused, form=FORM)
        assert lending_back.settle(again, seen, take_back=True).returned == 1
        assert sound(again)


def test_a_restore_remembers_what_came_back_though_its_file_is_not_here(
    shop: Shop, opener: Opener, tmp_path: Path
) -> None:
    """Seed 1002565: the keys that had come back were younger than the copy. When their file was
    brought in again, the journal had lost that, and named the pool beside their buyers."""
    file = saved(shop)
    keys = shelf(shop, n=3)
    texts = "".join(f"{key}\n" for key in keys)
    lend(shop, tmp_path, 3)
    lending = shop.journal.path.read_bytes()
    tick(shop, 1000)
    read(shop, export(shop, tmp_path, [(key, "未使用", "") for key in keys]), take_back=True)
    pull(shop, order("A1"))
    deliver(shop)
    before = told("A1")
    for _ in range(2):
        back(shop, file, opener)
    with opener(shop.config) as again:
        bring(again, texts, cost_e5=500_000)
        pull(again, order("A1"))
        again.journal.path.write_bytes(lending)
        run_on(again)
        assert sound(again) and told("A1") == before
        sent = last_word(again.journal).sent
        assert [len(places) for places in sent.values()] == [1]


def test_what_a_command_at_work_has_just_released_is_not_lent_again(
    shop: Shop, tmp_path: Path
) -> None:
    """Lists, seed 30: a sender that started then wrote the key down as lent; it was freed after."""
    shelf(shop, n=1)
    lend(shop, tmp_path, 1)
    (sending,) = [entry for entry in shop.journal.read() if entry.kind == "SEND"]
    shop.journal.append([replace(sending, kind="RELEASE", session=99, n=1)])
    assert journal_whole.write_missing(shop, 99, (99,)) == 0
    assert journal_whole.write_missing(shop, 99) == 1
