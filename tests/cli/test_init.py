"""`kmtool init`: a shop in one command; nothing overwritten, nothing half-done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kmtool.config import load
from kmtool.errors import NeedsAnswer, Refused, UsageError


def test_defaults_ask_nothing_and_the_shop_opens(cli: Any, tmp_path: Path) -> None:
    told = cli("init", tmp_path / "new shop", "--defaults", "--json")
    assert told.code == 0
    made = told.json()
    assert made["folder"] == str(tmp_path / "new shop")
    key = Path(made["master_key"])
    assert key.is_file()
    assert tmp_path / "new shop" not in key.parents
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    for part in ("inbox/keys", "inbox/orders", "inbox/statements", "exports", "shop/backups"):
        assert (tmp_path / "new shop" / part).is_dir()
    checked = cli("db", "check", "--json", "--config", tmp_path / "new shop")
    assert {c["name"] for c in checked.json()["checks"] if not c["ok"]} == {"backup"}


def test_it_says_where_the_master_key_lies(cli: Any, tmp_path: Path) -> None:
    told = cli("init", "--defaults", cwd=tmp_path)
    assert str(tmp_path / "home" / "keys") in told.out
    assert "safe place" in told.out
    assert "kmtool import" in told.err


def test_at_most_six_questions_each_with_a_default(cli: Any, tmp_path: Path) -> None:
    told = cli("init", cwd=tmp_path, input="\n" * 6, tty=True)
    assert told.code == 0
    assert 1 <= told.err.count("[") <= 6
    config = load(tmp_path / "kmtool.toml")
    assert (config.shop.timezone, config.shop.currency) == ("Asia/Shanghai", "CNY")


def test_answers_are_taken_and_a_wrong_one_is_asked_again(cli: Any, tmp_path: Path) -> None:
    answers = "晨星点卡\nMars/North\nUTC\nusd\nen\nmany\n7\n"
    told = cli("init", cwd=tmp_path, input=answers, tty=True)
    assert told.code == 0
    assert "Mars/North is no time zone" in told.err
    assert "many is no whole number" in told.err
    config = load(tmp_path / "kmtool.toml")
    assert (config.shop.name, config.shop.currency, config.alerts.low_stock) == (
        "晨星点卡",
        "USD",
        7,
    )


def test_three_wrong_answers_end_it_and_nothing_is_left(cli: Any, tmp_path: Path) -> None:
    told = cli("init", tmp_path / "new", input="x\nno\nno\nno\n", tty=True)
    assert told.code == UsageError.exit_code
    assert not (tmp_path / "new").exists()


def test_without_a_terminal_it_names_the_option(cli: Any, tmp_path: Path) -> None:
    told = cli("init", tmp_path / "new")
    assert told.code == NeedsAnswer.exit_code
    assert "--defaults" in told.err
    assert not (tmp_path / "new").exists()


def test_a_second_time_nothing_is_overwritten(cli: Any, tmp_path: Path) -> None:
    assert cli("init", tmp_path, "--defaults").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    told = cli("init", tmp_path, "--defaults")
    assert told.code == Refused.exit_code
    assert len(told.err.splitlines()) == 3
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_with_other_files_is_fine(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("A\n", encoding="utf-8")
    assert cli("init", tmp_path, "--defaults").code == 0
    assert (tmp_path / "keys.txt").read_text(encoding="utf-8") == "A\n"


def test_a_set_up_that_was_cut_short_is_completed(cli: Any, tmp_path: Path) -> None:
    own = 'schema = 1\n[shop]\nname = "mine"\n'
    (tmp_path / "kmtool.toml").write_text(own, encoding="utf-8")
    told = cli("init", tmp_path, "--defaults", "--json")
    assert (told.code, told.json()["resumed"]) == (0, True)
    assert (tmp_path / "kmtool.toml").read_text(encoding="utf-8") == own
    assert (tmp_path / "shop" / "shop.db").exists()


def test_a_refused_folder_keeps_no_file(cli: Any, tmp_path: Path) -> None:
    told = cli("init", tmp_path / "OneDrive" / "shop", "--defaults")
    assert told.code == Refused.exit_code
    assert not (tmp_path / "OneDrive" / "shop" / "kmtool.toml").exists()


def test_the_example_is_not_made_into_a_shop(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "kmtool.toml").write_text("schema = 1\nexample = true\n", encoding="utf-8")
    told = cli("init", tmp_path, "--defaults")
    assert told.err.startswith("KM-E602 ")
    assert not (tmp_path / "shop").exists()


def test_ctrl_c_at_a_question_leaves_nothing(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmtool.cli import out

    def stop(*_words: object, **_more: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(out, "ask", stop)
    assert cli("init", tmp_path / "new").code == 130
    assert not (tmp_path / "new").exists()
