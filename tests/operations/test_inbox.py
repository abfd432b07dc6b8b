"""The inbox of statements: stored files move to done/, others to failed/ with an alert."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import catalog, runner
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import Locked
from kmtool.operations import alerts, inbox
from kmtool.shop import Shop
from tests.operations.recon_kit import ACCOUNTS, flow, sale


@pytest.fixture
def shop(make_config: Any, clock: ManualClock) -> Iterator[Shop]:
    """An open shop with wallets whose statements are reconciled."""
    config = make_config(ACCOUNTS)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as opened:
        yield opened


@pytest.fixture
def folder(shop: Shop) -> Path:
    """The inbox of statements."""
    return shop.config.folder("inbox") / "statements"


def aged(path: Path, shop: Shop, seconds: int = 60) -> Path:
    at = shop.now_ms() / 1000 - seconds
    os.utime(path, (at, at))
    return path


def run(shop: Shop) -> inbox.InboxResult:
    job = catalog.find("inbox")
    assert job is not None
    ran = runner.run_job(shop, job)
    assert ran.state == "ok"
    assert isinstance(ran.result, inbox.InboxResult)
    return ran.result


def test_a_statement_is_taken_in_and_put_aside(shop: Shop, folder: Path) -> None:
    flow(folder, sale("A1"), sale("A2"), name="bill.csv")
    aged(folder / "bill.csv", shop)
    (one,) = run(shop).files
    assert (one.file, one.state, one.new) == ("bill.csv", "done", 2)
    assert [path.name for path in (folder / "done").iterdir()] == ["bill.csv"]
    assert shop.db.value("SELECT count(*) FROM statement_lines") == 2
    assert run(shop).files == ()


def test_the_same_file_again_is_known_and_keeps_both(shop: Shop, folder: Path) -> None:
    for _ in range(2):
        path = flow(folder, sale("A1", serial="7"), name="bill.csv")
        aged(path, shop)
        run(shop)
    assert sorted(path.name for path in (folder / "done").iterdir()) == ["bill-2.csv", "bill.csv"]
    assert shop.db.value("SELECT count(*) FROM statement_lines") == 1


def test_what_is_no_statement_is_put_aside_and_told_until_it_is_gone(
    shop: Shop, folder: Path
) -> None:
    aged_path = folder / "photo.csv"
    aged_path.write_text("a,b\n1,2\n", encoding="utf-8")
    aged(aged_path, shop)
    (one,) = run(shop).files
    assert one.state == "failed"
    assert one.reason
    assert one.next_step == f'kmtool statement check "{folder / "failed" / "photo.csv"}"'
    assert alerts.listing(shop, 10).total == 1
    assert alerts.listing(shop, 10).alerts[0].subject == "photo.csv"
    (folder / "failed" / "photo.csv").unlink()
    run(shop)
    assert alerts.listing(shop, 10).total == 0


def test_a_file_that_still_grows_and_office_leftovers_wait(shop: Shop, folder: Path) -> None:
    aged(flow(folder, sale("A1"), name="new.csv"), shop, seconds=1)
    for name in ("~$bill.xlsx", ".hidden.csv", "notes.docx"):
        aged_path = folder / name
        aged_path.write_bytes(b"x")
        aged(aged_path, shop)
    assert run(shop).files == ()


def test_a_busy_database_leaves_the_file_where_it_is(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aged(flow(folder, sale("A1"), name="bill.csv"), shop)

    def busy(*_: object) -> object:
        raise Locked(detail="another import")

    monkeypatch.setattr(inbox, "reconcile", busy)
    with pytest.raises(Locked):
        inbox.take_in(shop)
    assert path.exists()
