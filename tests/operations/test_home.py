"""Only at home is anything sent: a copy, a renamed folder, another machine, an older database."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.errors import AwayFromHome, Broken, OlderThanJournal, Refused
from kmtool.journal import JournalEntry
from kmtool.operations import doctor, home
from kmtool.operations.adopt import adopt
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import hold
from kmtool.operations.sell import SaleWish, sell
from kmtool.operations.shelf import guard
from kmtool.operations.stock_push import push_stock
from kmtool.operations.sync import sync_channel
from kmtool.shop import Shop
from kmtool.store import machines
from tests.conftest import START_MS, TOML
from tests.fakes import order, world
from tests.operations.delivery_kit import pull
from tests.operations.import_kit import bring
from tests.operations.stock import shelf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop folder whose journal lies in the user's data folder, as it is by default."""
    made = tmp_path / "mine"
    made.mkdir()
    text = TOML.format(database="", adapter="tests.fakes", courier="tests.fakes", extra="")
    (made / "kmtool.toml").write_text(text.replace('private = ".private"', ""), encoding="utf-8")
    create_shop(load(made / "kmtool.toml"), ManualClock(START_MS))
    return made


def opened(folder: Path):  # type: ignore[no-untyped-def]
    return open_shop(load(folder / "kmtool.toml"), clock=ManualClock(START_MS + 60_000))


def test_a_new_shop_is_at_home(shop: Shop) -> None:
    assert home.away(shop) is None
    assert doctor.host_check(shop).ok
    assert deliver(shop).delivered == 0
    file = home.read_home(shop.journal.path)
    assert file is not None and len(file.tokens) == 1
    assert home.home_path(shop.journal.path).stat().st_mode & 0o777 == 0o600


def test_a_copied_folder_sends_nothing_but_can_be_looked_at(folder: Path) -> None:
    copied = folder.with_name("copy")
    shutil.copytree(folder, copied)
    with opened(copied) as shop:
        with pytest.raises(AwayFromHome) as refused:
            deliver(shop)
        assert str(folder) in str(refused.value) and "db adopt" in refused.value.next_step()
        assert refused.value.code == "KM-E604" and refused.value.exit_code == 6
        check = doctor.host_check(shop)
        assert not check.ok and "at home at" in check.figure
        shelf(shop)
        with pytest.raises(AwayFromHome):
            sell(shop, SaleWish("S1"), lambda _message: None)
    with opened(folder) as shop:
        assert deliver(shop).delivered == 0


def test_a_renamed_folder_is_still_at_home_and_its_old_copy_is_not(folder: Path) -> None:
    kept, renamed = folder.with_name("kept"), folder.with_name("renamed")
    shutil.copytree(folder, kept)
    folder.rename(renamed)
    with opened(renamed) as shop:
        assert deliver(shop).delivered == 0
        assert home.away(shop) is None
    kept.rename(folder)
    with opened(folder) as shop, pytest.raises(AwayFromHome, match="copy"):
        deliver(shop)


def test_a_folder_with_its_journal_inside_asks_when_it_was_renamed(tmp_path: Path) -> None:
    made = tmp_path / "a"
    made.mkdir()
    text = TOML.format(database="", adapter="tests.fakes", courier="tests.fakes", extra="")
    (made / "kmtool.toml").write_text(text, encoding="utf-8")
    create_shop(load(made / "kmtool.toml"), ManualClock(START_MS))
    made.rename(tmp_path / "b")
    with opened(tmp_path / "b") as shop, pytest.raises(AwayFromHome):
        deliver(shop)


def test_another_machine_asks_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.Machine("other", "sys", "elsewhere")
    monkeypatch.setattr(home, "here", lambda: elsewhere)
    with pytest.raises(AwayFromHome, match="this is elsewhere"):
        deliver(shop)
    assert "elsewhere" in doctor.host_check(shop).figure


def test_a_new_name_of_the_same_machine_is_fine(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "host_name", lambda: "renamed.example")
    assert home.away(shop) is None


def test_a_data_folder_from_another_machine_gets_an_id_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(home, "system_id", lambda: "one")
    first = home.here()
    assert home.here() == first
    monkeypatch.setattr(home, "system_id", lambda: "two")
    assert home.here().id != first.id


def test_a_shop_from_before_homes_is_bound_where_it_was_set_up(shop: Shop) -> None:
    shop.db.run("DELETE FROM homes")
    home.home_path(shop.journal.path).unlink()
    assert home.away(shop) is None
    deliver(shop)
    assert machines.home(shop.db) is not None
    shop.db.run("DELETE FROM homes")
    shop.db.run("UPDATE meta SET value = 'far' WHERE name = 'host'")
    with pytest.raises(AwayFromHome, match="set up on far"):
        deliver(shop)


def test_a_home_file_that_is_gone_or_torn_asks(shop: Shop) -> None:
    path = home.home_path(shop.journal.path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(AwayFromHome, match="gone"):
        deliver(shop)
    path.write_text(json.dumps({"tokens": ["x"], "place": "p", "machine": "m"}), encoding="utf-8")
    with pytest.raises(AwayFromHome, match="at home at p"):
        deliver(shop)


def sent(shop: Shop, **more: int) -> JournalEntry:
    value = shop.db.value("SELECT fingerprint FROM keys WHERE state = 'free' ORDER BY id LIMIT 1")
    return JournalEntry("SEND", "shop1", "X1", "1", bytes(value).hex(), **{"session": 9, **more})


@pytest.mark.parametrize("numbered", [1, 0])
def test_a_database_older_than_the_journal_sends_nothing(shop: Shop, numbered: int) -> None:
    shelf(shop)
    pull(shop, order("A1"))
    shop.journal.append([sent(shop, n=numbered)])
    with pytest.raises(OlderThanJournal) as refused:
        deliver(shop)
    assert refused.value.code == "KM-E605"
    assert "db restore --replay" in refused.value.next_step()
    check = doctor.journal_check(shop)
    assert not check.ok and check.blocks
    with pytest.raises(OlderThanJournal):
        sell(shop, SaleWish("S1"), lambda _message: None)


def test_a_session_that_knows_fewer_records_is_an_older_copy(shop: Shop) -> None:
    shelf(shop)
    shop.db.run(
        "INSERT INTO sessions (id, kind, token, host, pid, state, started_ms, heartbeat_ms,"
        " journalled) VALUES (9, 'run', 5, 'h', 1, 'ended', 1, 1, 2)"
    )
    entry = sent(shop, n=2)
    shop.db.run("UPDATE keys SET state = 'exposed' WHERE id = 1")
    shop.db.run("UPDATE stock SET free = free - 1")
    shop.journal.append([entry])
    deliver(shop)
    shop.journal.append([replace(entry, n=3)])
    with pytest.raises(OlderThanJournal, match="sent 3 keys, this copy knows of 2"):
        deliver(shop)


def test_a_changed_record_stops_every_sender(shop: Shop) -> None:
    shelf(shop)
    shop.journal.append([sent(shop)])
    raw = shop.journal.path.read_bytes()
    shop.journal.path.write_bytes(raw.replace(b'"X1"', b'"X2"'))
    with pytest.raises(Broken, match="was changed"):
        deliver(shop)
    assert "was changed" in doctor.journal_check(shop).figure


def test_a_place_that_was_given_up_says_where_the_shop_went(shop: Shop) -> None:
    with shop.db.tx():
        machines.retire_homes(shop.db, "/somewhere/else", 1)
    with pytest.raises(Refused, match="moved to /somewhere/else"):
        deliver(shop)


@pytest.mark.parametrize("packed", [True, False])
def test_what_a_killed_journey_left_goes_when_its_place_is_home_again(
    folder: Path, tmp_path: Path, *, packed: bool
) -> None:
    """Kills, seed 111404: a move died after it had retired its place, and its files stayed."""
    target = tmp_path / ("out.kmmove" if packed else "moved")
    partial = target.with_name(target.name + ".part")
    with opened(folder) as shop:
        with shop.db.tx():
            machines.retire_homes(shop.db, str(target), 1)
        work = shop.config.root / "shop" / ".move-1"
        work.mkdir()
        (work / "shop.db").write_bytes(b"half")
        if packed:
            partial.write_bytes(b"half")
        else:
            (partial / "shop").mkdir(parents=True)
        adopt(shop)
        assert not work.exists()
        assert not partial.exists()
        home.must_be_home(shop)


def test_what_would_never_be_heard_of_is_not_written_at_a_place_that_was_given_up(
    shop: Shop,
) -> None:
    """Simulator, seed 80: an order was held in the old folder, and sent from the new one."""
    pull(shop, order("A1"))
    with shop.db.tx():
        machines.retire_homes(shop.db, "/pack/shop.kmmove", 1)
    with pytest.raises(AwayFromHome) as refused:
        hold(shop, "A1", "odd")
    assert "db move --in shop.kmmove" in refused.value.next_step()
    with pytest.raises(AwayFromHome):
        bring(shop, "KEY-1\n")


def test_a_copy_tells_no_channel_what_it_has(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as shop:
        shelf(shop, n=4)
        deliver(shop)
    shutil.copytree(folder, tmp_path / "copy")
    with opened(tmp_path / "copy") as shop:
        synced = sync_channel(shop, "shop1")
        pushed = push_stock(shop, synced)
        assert (pushed.pushed, pushed.skipped) == (0, "the shop is not at home here")
        assert guard(shop, synced).skipped == "the shop is not at home here"
        assert world().stock == {}
    with opened(folder) as shop:
        assert push_stock(shop, sync_channel(shop, "shop1")).pushed == 1
