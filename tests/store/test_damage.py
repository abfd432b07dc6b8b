"""What stands between a shop and its keys: a damaged file, a missing or foreign master key."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtool.app import create_shop, master_path, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.errors import (
    BadToml,
    DatabaseDamaged,
    Differences,
    MasterKeyMissing,
    MasterKeyWrong,
    SheetUnbalanced,
)
from kmtool.store import house
from kmtool.store.db import connect
from kmtool.toml_reader import read_toml
from kmtool.vault import MasterKey, save_master

TOML = 'schema = 1\n[data]\nprivate = ".private"\n'


@pytest.fixture
def path(tmp_path: Path, clock: ManualClock) -> Path:
    found = tmp_path / "kmtool.toml"
    found.write_text(TOML, encoding="utf-8")
    create_shop(load(found), clock)
    return found


def key_file(path: Path) -> Path:
    config = load(path)
    db = connect(config.database)
    number = house.meta(db, "database_id")
    db.close()
    assert number is not None
    return master_path(config, number)


def test_a_shop_without_its_master_key_does_not_open(path: Path) -> None:
    key_file(path).unlink()
    with pytest.raises(MasterKeyMissing) as told, open_shop(load(path)):
        pass
    assert (told.value.code, told.value.exit_code) == ("KM-E404", 4)


def test_a_master_key_that_others_can_read_is_refused(path: Path) -> None:
    key_file(path).chmod(0o644)
    with pytest.raises(MasterKeyMissing) as told, open_shop(load(path)):
        pass
    assert "chmod 600" in told.value.next_step()


def test_the_master_key_of_another_shop_opens_nothing(path: Path) -> None:
    file = key_file(path)
    file.unlink()
    save_master(file, MasterKey.new())
    with pytest.raises(MasterKeyWrong) as told, open_shop(load(path)):
        pass
    assert (told.value.code, told.value.exit_code) == ("KM-E405", 4)


def test_a_file_that_is_no_database_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    file.write_bytes(b"this is no database at all, however long it is" * 100)
    with pytest.raises(DatabaseDamaged) as told:
        connect(file)
    assert (told.value.code, told.value.exit_code) == ("KM-E102", 1)


def test_a_broken_line_of_the_settings_is_named(tmp_path: Path) -> None:
    file = tmp_path / "kmtool.toml"
    file.write_text("schema = 1\n[shop]\nname = “小店”\n", encoding="utf-8")
    with pytest.raises(BadToml) as told:
        read_toml(file)
    assert (told.value.code, told.value.exit_code) == ("KM-E402", 4)
    assert "kmtool.toml:3" in told.value.where
    assert 'name = "小店"' in told.value.next_step()


def test_what_does_not_add_up_has_an_exit_code_of_its_own() -> None:
    assert issubclass(SheetUnbalanced, Differences)
    assert (Differences.code, SheetUnbalanced.exit_code) == ("KM-E800", 8)
