"""Backups: consistent, opened to prove them, journal beside, old ones pruned."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kmtool.clock import ManualClock
from kmtool.errors import Broken, ExampleConfig, ExtraMissing, OutsideError
from kmtool.journal import JournalEntry
from kmtool.operations import backup
from kmtool.shop import Shop
from kmtool.store import copying
from kmtool.store.sqlite import sqlite3

ENTRY = JournalEntry("SEND", "shop1", "A1", "1", "00" * 16, 1)


@pytest.fixture
def dump_tools(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs, where the test server brings them along."""
    if shop.db.dialect == "sqlite":
        return
    import pgserver

    folder = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's backup is NOT tested here: there is no pg_dump")


@pytest.mark.usefixtures("dump_tools")
def test_a_backup_opens_and_its_journal_lies_beside(shop: Shop) -> None:
    shop.journal.append([ENTRY])
    done = backup.backup(shop)
    assert done.verified == "ok"
    assert done.bytes == Path(done.file).stat().st_size > 0
    assert done.journal is not None
    assert Path(done.journal).read_bytes() == shop.journal.path.read_bytes()
    newest = backup.newest(shop.config)
    assert newest is not None
    assert str(newest.path) == done.file
    assert newest.at_ms == shop.now_ms() // 1000 * 1000
    assert backup.verify(newest.path) == "ok"


def keeping(shop: Shop, *, last: int, days: int = 0, weeks: int = 0, months: int = 0) -> Shop:
    """Return the shop with another policy of keeping."""
    data = replace(
        shop.config.data,
        backups_keep=last, backups_daily=days, backups_weekly=weeks, backups_monthly=months,
    )  # fmt: skip
    return replace(shop, config=replace(shop.config, data=data))


def test_the_last_then_days_weeks_and_months_are_kept(shop: Shop) -> None:
    policy = keeping(shop, last=2, days=3, weeks=3, months=3).config
    folder = policy.folder("backups")
    folder.mkdir(parents=True, exist_ok=True)
    end = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for hours in range(0, 24 * 120, 12):
        moment = end - timedelta(hours=hours)
        (folder / moment.strftime("shop-%Y%m%d-%H%M%S.db")).write_bytes(b"x")
    kept = backup.kept_for(policy, list(backup.backups(policy)))
    names = {path.name[5:13]: why for path, why in kept.items()}
    assert len(kept) == 2 + 2 + 2 + 2
    assert list(kept.values()).count("last") == 2
    assert names == {
        "20261122": "last", "20261121": "day", "20261120": "day", "20261115": "week",
        "20261108": "week", "20261031": "month", "20260930": "month",
    }  # fmt: skip
    for path in folder.glob("*.db"):
        if path not in kept:
            path.unlink()
    assert backup.kept_for(policy, list(backup.backups(policy))) == kept
    listed = backup.listed(policy)
    assert [one.kept_for for one in listed.backups][:3] == ["last", "last", "day"]
    assert listed.backups[0].at_ms > listed.backups[1].at_ms


@pytest.mark.usefixtures("dump_tools")
def test_parts_of_the_journal_that_were_laid_aside_are_kept_once(shop: Shop) -> None:
    shop.journal.append([ENTRY])
    assert shop.journal.lay_aside(limit=1)
    shop.journal.append([replace(ENTRY, order="A2")])
    for _ in range(2):
        backup.backup(shop)
    folder = shop.config.folder("backups")
    assert len(list(folder.glob("*.0001.log"))) == 1
    assert len(list(folder.glob("*.journal"))) == 2
    assert [one.order for one in shop.journal.read()] == ["A1", "A2"]


@pytest.mark.usefixtures("dump_tools")
def test_old_backups_go_with_their_journals_and_nothing_else_does(
    shop: Shop, clock: ManualClock
) -> None:
    few = keeping(shop, last=2)
    shop.journal.append([ENTRY])
    folder = shop.config.folder("backups")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.db").write_bytes(b"keep")
    removed = []
    for _day in range(4):
        removed.append(backup.backup(few).removed)
        clock.advance(86_400_000)
    assert removed == [0, 0, 1, 1]
    assert len(list(backup.backups(shop.config))) == 2
    assert len(list(folder.glob("*.journal"))) == 2
    assert (folder / "mine.db").exists()


@pytest.mark.usefixtures("dump_tools")
def test_two_backups_in_one_second_do_not_meet(shop: Shop) -> None:
    assert backup.backup(shop).file != backup.backup(shop).file


def test_a_copy_that_does_not_open_is_not_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(_one: object, target: Path) -> None:
        target.write_bytes(b"SQLite format 3\0" + b"x" * 4096)

    monkeypatch.setattr(copying, "copy_sqlite", torn)
    monkeypatch.setattr(backup, "_dump", torn)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(Broken):
        backup.backup(shop)
    assert list(backup.backups(shop.config)) == []


def test_a_folder_that_cannot_be_written_is_told(shop: Shop) -> None:
    data = replace(shop.config.data, backups="kmtool.toml")
    with pytest.raises(Broken):
        backup.backup(replace(shop, config=replace(shop.config, data=data)))


def test_a_full_disk_leaves_no_part_of_a_copy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.db.dialect == "postgresql":
        pytest.skip("its own program writes that file")

    def full(_db: object, partial: Path) -> None:
        partial.write_bytes(b"x")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(copying, "_copy", full)
    with pytest.raises(Broken):
        backup.backup(shop)
    assert list(shop.config.folder("backups").iterdir()) == []


def test_without_pg_dump_it_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.db.dialect == "sqlite":
        pytest.skip("SQLite needs no program")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ExtraMissing):
        backup.backup(shop)


@pytest.mark.usefixtures("dump_tools")
def test_a_server_that_does_not_answer_leaves_nothing(shop: Shop) -> None:
    if shop.db.dialect == "sqlite":
        pytest.skip("SQLite needs no server")
    nowhere = "postgresql://someone:pw@127.0.0.1:1/none"
    away = replace(
        shop, config=replace(shop.config, data=replace(shop.config.data, database=nowhere))
    )
    with pytest.raises(OutsideError):
        backup.backup(away)
    assert list(shop.config.folder("backups").iterdir()) == []


def test_a_password_is_not_an_argument() -> None:
    address = "postgresql://me:p%40ss@db.example:5432/shop?sslmode=require"
    public, password = backup.without_password(address)
    assert public == "postgresql://me@db.example:5432/shop?sslmode=require"
    assert password == "p@ss"
    assert backup.without_password("postgresql:///shop?host=/tmp") == (
        "postgresql:///shop?host=/tmp",
        "",
    )


def test_without_a_folder_there_is_no_newest(shop: Shop) -> None:
    shutil.rmtree(shop.config.folder("backups"))
    assert backup.newest(shop.config) is None


def test_the_example_is_not_backed_up(shop: Shop) -> None:
    with pytest.raises(ExampleConfig):
        backup.backup(replace(shop, config=replace(shop.config, example=True)))
