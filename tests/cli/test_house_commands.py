"""config, secret, pause, resume, db, audit, through the command line."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kmtool import config as settings
from kmtool.errors import ConfigError, Locked, NeedsAnswer, NotFound, NotSetUp
from kmtool.resources import data_path
from kmtool.store import db as store

ROOT = Path(__file__).resolve().parents[2]
CANARY = "CANARY-7f3a-VALUE"


def test_config_path_says_which_and_why(
    cli: Any, shop_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(shop_folder / "kmtool.toml")
    assert cli("config", "path").lines() == [path]
    assert "this folder" in cli("config", "path").err
    monkeypatch.chdir(shop_folder / "inbox")
    assert cli("config", "path", "--json").json() == {"path": path, "because": "a folder above"}
    monkeypatch.chdir(shop_folder.anchor)
    assert cli("--config", shop_folder, "config", "path").lines() == [path]
    assert cli("config", "path").code == NotSetUp.exit_code


def test_config_show_and_get_tell_what_is_in_force(cli: Any, shop_folder: Path) -> None:
    told = {one["name"]: one for one in cli("config", "show", "--json").json()["settings"]}
    assert told["data.private"] == {"name": "data.private", "value": ".private", "given": True}
    assert told["deliver.order_wait"] == {
        "name": "deliver.order_wait",
        "value": "30m",
        "given": False,
    }
    assert told["brakes.sku_value_per_hour"]["value"] == "5000.00"
    assert told["channels.shop1.mode"]["value"] == "auto"
    assert cli("config", "get", "shop.timezone").out == "Asia/Shanghai\n"
    wrong = cli("config", "get", "shop.timezon")
    assert wrong.code == NotFound.exit_code
    assert "shop.timezone" in wrong.err


def test_config_show_hides_credentials_and_passwords(cli: Any, shop_folder: Path) -> None:
    _append(shop_folder, f'[channels.shop1.credentials]\ntoken = "{CANARY}"\n')
    text = (shop_folder / "kmtool.toml").read_text(encoding="utf-8")
    address = f'[data]\ndatabase = "postgresql://me:{CANARY}@127.0.0.1:1/x"'
    (shop_folder / "kmtool.toml").write_text(text.replace("[data]", address), encoding="utf-8")
    for form in ((), ("--json",), ("--csv",)):
        told = cli("config", "show", *form)
        assert told.code == 0
        assert CANARY not in told.out + told.err
    assert CANARY not in cli("config", "get", "channels.shop1.credentials.token").out


def test_config_check_finds_what_will_not_work(cli: Any, shop_folder: Path) -> None:
    assert cli("config", "check").code == 0
    _append(
        shop_folder,
        '[channels.shop1.credentials]\na = "plain"\nb = "env:KM_NOT_THERE"\n'
        'c = "file:nothing.txt"\nd = "secret:later"\n'
        '[channels.two]\nadapter = "nosuch"\ncouriers = ["pigeon"]\n'
        '[alerts]\nnotify = ["nobody"]\n',
    )
    told = cli("config", "check", "--json")
    assert told.code == ConfigError.exit_code
    what = " ".join(one["what"] for one in told.json()["problems"])
    for part in ("in the clear", "KM_NOT_THERE", "nothing.txt", "later", "nosuch", "pigeon"):
        assert part in what
    assert "nobody" in what
    assert cli("config", "check").code == ConfigError.exit_code


def test_a_broken_file_is_three_lines_with_its_mend(cli: Any, shop_folder: Path) -> None:
    _append(shop_folder, "[alerts]\nlow_stok = 5\n")
    told = cli("config", "check")
    assert told.code == ConfigError.exit_code
    assert len(told.err.splitlines()) == 3
    assert "low_stock" in told.err


def test_a_secret_comes_by_stdin_and_is_never_shown(cli: Any, shop_folder: Path) -> None:
    assert cli("secret", "set", "woo", input=CANARY + "\n").code == 0
    for words in (("secret", "list"), ("secret", "list", "--json"), ("audit", "list")):
        told = cli(*words)
        assert "woo" in told.out
        assert CANARY not in told.out + told.err
    for path in shop_folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()
    assert cli("secret", "set", "woo", CANARY).code == 2
    assert cli("secret", "rm", "woo").code == NeedsAnswer.exit_code
    assert cli("secret", "rm", "woo", "--yes").code == 0
    assert cli("secret", "rm", "woo", "--yes").code == NotFound.exit_code


def test_a_dry_run_keeps_nothing(cli: Any, shop_folder: Path) -> None:
    told = cli("pause", "--dry-run")
    assert (told.code, "nothing was kept" in told.err) == (0, True)
    assert cli("secret", "set", "x", "--dry-run", input="v\n").code == 0
    assert cli("secret", "list", "--json").json() == {"secrets": []}
    assert cli("resume", "--json").json()["changed"] is False


def test_pause_and_resume(cli: Any, shop_folder: Path) -> None:
    told = cli("pause", "shop1", "--reason", "stock-taking", "--json").json()
    assert (told["scope"], told["changed"]) == ("channel:shop1", True)
    assert told["paused"][0]["since"] == "2026-11-22T08:00:00+08:00"
    assert "was paused already" in cli("pause", "shop1").out
    assert "Nothing is paused" in cli("resume", "shop1").out
    assert cli("pause", "nosuch").code == NotFound.exit_code
    assert cli("audit", "list", "--count").out == "2\n"
    assert cli("audit", "list", "--of", "all", "--count").out == "0\n"


def test_db_backup_check_query_migrate(cli: Any, shop_folder: Path) -> None:
    assert cli("db", "check").code == 8
    done = cli("db", "backup", "--json").json()
    assert done["verified"] == "ok"
    assert Path(done["file"]).name == "shop-20261122-080000.db"
    assert "opens" in cli("db", "check").out
    assert cli("db", "check").code == 0
    told = cli("db", "query", "SELECT name FROM meta ORDER BY name", "--csv")
    assert told.lines()[0] == "name"
    assert "database_id" in told.lines()
    assert cli("db", "query", "DELETE FROM meta").code == 9
    assert "up to date" in cli("db", "migrate").out


def test_a_long_answer_says_that_there_is_more(cli: Any, shop_folder: Path) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)"
    sql = f"{many} SELECT i FROM n"
    told = cli("db", "query", sql)
    assert "more rows" in told.out
    assert len(told.lines()) == 52
    assert len(cli("db", "query", sql, "--all").lines()) == 81
    assert len(cli("db", "query", sql, "--json").json()["rows"]) == 80


def test_the_example_of_the_program_is_complete_and_not_written_to(cli: Any) -> None:
    path = ROOT / "kmtool.toml"
    example = settings.load(path)
    assert example.example
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    for section, kind in {**settings._SIMPLE, **settings._NAMED}.items():
        bodies = [told[section]] if section in settings._SIMPLE else list(told[section].values())
        names = {settings._public(field.name) for field in fields(kind)} - {"name"}
        for body in bodies[:1]:
            missing = names - set(body) - {"credentials", "options"}
            assert not missing, f"[{section}] does not show {missing}"
    assert cli("config", "check", "--config", path).code == 0
    for words in (("pause",), ("secret", "set", "x"), ("db", "backup"), ("db", "migrate")):
        told_by = cli(*words, "--config", path, input="v\n")
        assert told_by.err.startswith("KM-E602 "), words
    assert not (ROOT / "shop").exists()


def test_what_the_example_shows_as_default_is_the_default() -> None:
    told = tomllib.loads((ROOT / "kmtool.toml").read_text(encoding="utf-8"))
    loaded = settings.load(ROOT / "kmtool.toml")
    plain = settings.Config(path=ROOT / "kmtool.toml")
    for section in settings._SIMPLE:
        ours, default = getattr(loaded, section), getattr(plain, section)
        different = {
            field.name
            for field in fields(ours)
            if getattr(ours, field.name) != getattr(default, field.name)
        }
        assert different <= {"notify"}, f"[{section}] {different} of {told[section]}"


def test_the_template_has_only_known_places() -> None:
    text = data_path("shop", "kmtool.toml.template").read_text(encoding="utf-8")
    assert {word for word in text.split() if word.startswith("@")} == {
        "@name@",
        "@timezone@",
        "@currency@",
        "@language@",
        "@low_stock@",
    }


def _append(folder: Path, text: str) -> None:
    with (folder / "kmtool.toml").open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_damaged_database_is_told_and_never_a_traceback(cli: Any, shop_folder: Path) -> None:
    path = shop_folder / "shop" / "shop.db"
    whole = path.read_bytes()
    size = int.from_bytes(whole[16:18], "big")
    for word in ("everywhere", "some pages", "no database", "empty", "gone", "folder"):
        for rest in path.parent.glob("shop.db*"):
            rest.unlink()
        if word == "everywhere":
            path.write_bytes(whole[: size * 2] + b"\xff" * (len(whole) - size * 2))
        elif word == "some pages":
            torn = bytearray(whole)
            for page in range(0, len(whole), size):  # where `meta` and its index lie
                if b"database_id" in whole[page : page + size]:
                    torn[page : page + 8] = b"\xff" * 8
            path.write_bytes(bytes(torn))
        elif word in {"no database", "empty"}:
            path.write_bytes(b"garbage" * 1000 if word == "no database" else b"")
        elif word == "folder":
            path.mkdir()
        for words in (("db", "check"), ("db", "query", "SELECT * FROM meta"), ("audit", "list")):
            told = cli(*words)
            assert told.code in {1, 8, 9, 10} or word == "empty", (word, words, told)
            assert "KM-E100 " not in told.err, (word, words, told)
            assert len(told.err.splitlines()) in {0, 3}, (word, words, told)


def test_a_locked_database_is_told(cli: Any, shop_folder: Path) -> None:
    holder = store.connect(shop_folder / "shop" / "shop.db")
    connect = store._connect_sqlite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store,
            "_connect_sqlite",
            lambda path, create, busy_ms: connect(path, create=create, busy_ms=50),
        )
        with holder.tx():
            told = cli("pause")
    holder.close()
    assert told.code == Locked.exit_code
    assert len(told.err.splitlines()) == 3
    assert cli("resume", "--json").json()["changed"] is False
