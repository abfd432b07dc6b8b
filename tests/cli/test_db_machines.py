"""`kmtool db restore, drill, backups, adopt, reconcile-stock, move, copy` at the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool import bundle
from kmtool.clock import ManualClock
from tests import fakes

Cli = Callable[..., Any]
WORDS = "four made up words"


@pytest.fixture
def trading(cli: Cli, shop_folder: Path, clock: ManualClock) -> Path:
    """A shop with keys and one order delivered, and its backup before that."""
    (shop_folder / "keys.txt").write_text("".join(f"KEY-{n:04d}\n" for n in range(6)), "utf-8")
    words = ("--sku", "S1", "--supplier", "z", "--cost", "1", "--new", "--yes")
    assert cli("import", "keys.txt", *words).code == 0
    assert cli("product", "map", "shop1", "i1", "S1").code == 0
    clock.advance(10_000)
    assert cli("db", "backup").code == 0
    deliver(cli, clock, "A1")
    return shop_folder


def deliver(cli: Cli, clock: ManualClock, number: str) -> None:
    fakes.world().orders[number] = fakes.order(number, at_ms=clock.now_ms())
    clock.advance(10_000)
    assert cli("sync").code == 0
    assert cli("deliver", "--json").json()["delivered"] == 1


def run_on(cli: Cli, clock: ManualClock) -> None:
    for _ in range(3):
        clock.advance(130_000)
        cli("sync")
        cli("deliver")


def held(number: str) -> list[str]:
    return fakes.world().received.get(number, [])


def newest(folder: Path) -> str:
    return str(max((folder / "shop" / "backups").glob("shop-*.db")))


def test_restore_asks_for_the_number_and_replays(
    cli: Cli, trading: Path, clock: ManualClock
) -> None:
    file = newest(trading)
    listed = cli("db", "backups", "--json").json()["backups"]
    assert [one["file"] for one in listed] == [file] and listed[0]["kept_for"] == "last"
    assert cli("db", "restore", file).code == 6
    wrong = cli("db", "restore", file, input="7\n", tty=True)
    assert wrong.code == 6 and "Nothing was done" in wrong.err
    assert cli("db", "restore", file, "--confirm", "7").code == 2
    tried = cli("db", "restore", file, "--dry-run", "--json").json()
    assert tried["kept"] is False and tried["settled"]["replayed"]["waiting"] == 1
    told = cli("db", "restore", file, input="0\n", tty=True)
    assert told.code == 0, told.err
    assert "the backup: 0 orders, 6 keys (6 free)" in told.err
    assert "1 key waits for its order" in told.out
    run_on(cli, clock)
    assert len(held("A1")) == 1
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 5
    assert cli("doctor", "--json").code in {0, 8}


def test_restore_wants_a_file_or_replay(cli: Cli, trading: Path) -> None:
    assert cli("db", "restore").code == 2
    assert cli("db", "restore", newest(trading), "--replay").code == 2
    assert cli("db", "restore", "nothing.db").code == 5
    assert cli("db", "restore", "--replay", "--json").json()["replayed"]["right"] == 1


def test_without_a_journal_the_stock_waits_for_its_owner(
    cli: Cli, trading: Path, clock: ManualClock
) -> None:
    """With the database at hand a lost journal is made whole from it: here both are gone."""
    for path in (trading / ".private" / "journal").glob("*.log"):
        path.unlink()
    for path in (trading / "shop").glob("shop.db*"):
        path.write_bytes(b"gone")
    told = cli("db", "restore", newest(trading), "--confirm", "0")
    assert told.code == 0 and "6 keys are out of sale" in told.out
    assert "kmtool db reconcile-stock" in told.out
    told = cli("doctor", "--json").json()
    stock = next(one for one in told["checks"] if one["name"] == "stock_back")
    assert not stock["ok"] and "reconcile-stock" in stock["mend"]
    (trading / "sold.txt").write_text("KEY-0000\n", "utf-8")
    assert cli("db", "reconcile-stock", "--proof", "x").code == 6
    words = ("db", "reconcile-stock", "--sold", "sold.txt", "--confirm", "6")
    assert cli(*words).code == 2
    done = cli(*words, "--proof", "the channel's list", "--json").json()
    assert (done["freed"], done["sold"], done["stay"]) == (5, 1, 0)


def test_the_drill_is_told_with_the_backup(cli: Cli, trading: Path, clock: ManualClock) -> None:
    before = {one["name"]: one for one in cli("status", "--json").json()["checks"]}
    assert "never restored on trial" in before["backup"]["figure"]
    told = cli("db", "drill")
    assert told.code == 0 and "restores" in told.out
    clock.advance(3 * 86_400_000)
    after = {one["name"]: one for one in cli("status", "--json").json()["checks"]}
    assert "restored on trial 3 d ago" in after["backup"]["figure"]


def test_a_copied_folder_is_adopted_and_the_old_one_retired(
    cli: Cli, trading: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cli("db", "adopt").code == 6
    copied = tmp_path / "copy"
    shutil.copytree(trading, copied)
    refused = cli("deliver", cwd=copied)
    assert refused.code == 6 and "KM-E604" in refused.err and "db adopt" in refused.err
    assert cli("status", cwd=copied).code == 0
    assert cli("db", "adopt", cwd=copied).code == 6
    done = cli("db", "adopt", "--confirm", "1", "--json", cwd=copied).json()
    assert done["retired"] and done["settled"]["journal"]
    monkeypatch.chdir(copied)
    deliver(cli, clock, "A2")
    refused = cli("deliver", cwd=trading)
    assert refused.code == 6 and str(copied) in refused.err


def test_move_to_a_second_folder_in_one_guided_run(
    cli: Cli, trading: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "place"
    assert cli("db", "move", target).code == 6
    assert cli("db", "move", target, "--dry-run").code == 0 and not target.exists()
    assert cli("db", "move", trading / "inside", "--yes").code == 6
    told = cli("db", "move", target, input="y\n", tty=True)
    assert told.code == 0, told.err
    assert (target / "kmtool.toml").exists() and not target.with_name("place.part").exists()
    refused = cli("deliver")
    assert refused.code == 6 and "moved to" in refused.err
    monkeypatch.chdir(target)
    before = held("A1")
    deliver(cli, clock, "A2")
    run_on(cli, clock)
    assert held("A1") == before and held("A2")[0] != before[0]
    assert cli("db", "check", "--json").json()["checks"][0]["ok"]


def test_move_packs_for_another_machine_and_unpacks_there(
    cli: Cli, trading: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toml = trading / "kmtool.toml"
    toml.write_text(toml.read_text("utf-8").replace('private = ".private"', ""), "utf-8")
    home = tmp_path / "home"
    shutil.move(trading / ".private" / "keys", home / "keys")
    shutil.move(trading / ".private" / "journal", home / "journal")
    file = tmp_path / "shop.kmmove"
    assert cli("db", "move", file, "--yes", input="short\n").code == 2
    assert not file.exists()
    assert cli("deliver").code == 0, "nothing was retired"
    done = cli("db", "move", file, "--yes", "--json", input=WORDS + "\n")
    assert done.code == 0, done.err
    assert done.json()["with_key"] and b"KEY-00" not in file.read_bytes()
    assert b"demo_buyer" not in file.read_bytes() and file.stat().st_mode & 0o777 == 0o600
    assert cli("deliver").code == 6
    other = tmp_path / "other machine"
    other.mkdir()
    monkeypatch.setenv("KMTOOL_HOME", str(tmp_path / "other home"))
    monkeypatch.chdir(other)
    wrong = cli("db", "move", "--in", file, "shop", "--yes", input="another set of words\n")
    assert wrong.code == 9 and "does not open" in wrong.err and not (other / "shop").exists()
    assert cli("db", "move", "--in", file, "shop", input=WORDS + "\n").code == 6
    told = cli("db", "move", "--in", file, "shop", "--yes", input=WORDS + "\n")
    assert told.code == 0, told.err
    monkeypatch.chdir(other / "shop")
    before = held("A1")
    deliver(cli, clock, "A2")
    assert held("A1") == before and held("A2")[0] != before[0]
    again = cli("db", "move", "--in", file, other / "shop", "--yes", input=WORDS + "\n")
    assert again.code == 6


def test_a_changed_bundle_does_not_open(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x" * 3_000_000)
    key = b"k" * 32
    bundle.seal(tmp_path / "b.kmmove", {"shop/a": source}, "id", key, b"")
    bundle.unpack(tmp_path / "b.kmmove", key, tmp_path / "out")
    assert (tmp_path / "out" / "shop" / "a").read_bytes() == source.read_bytes()
    raw = (tmp_path / "b.kmmove").read_bytes()
    cases = {
        "cut": raw[:-10],
        "longer": raw + b"x",
        "changed": raw[:500_000] + b"!" + raw[500_001:],
        "lost piece": raw[:60] + raw[60 + bundle.PIECE + 33 :],
    }
    for name, data in cases.items():
        (tmp_path / "c").write_bytes(data)
        with pytest.raises(Exception, match=r"does not open|behind its end|no shop"):
            bundle.unpack(tmp_path / "c", key, tmp_path / name)
    with pytest.raises(Exception, match="no shop"):
        bundle.header(source)


def test_copy_tells_how_to_switch(cli: Cli, trading: Path, clock: ManualClock) -> None:
    told = cli("db", "copy", "--to", "shop/second.db")
    assert told.code == 0 and 'database = "shop/second.db"' in told.out
    assert cli("db", "copy", "--to", "shop/second.db").code == 6
    assert cli("db", "copy", "--to", "shop/third.db", "--dry-run").code == 0
    assert not (trading / "shop" / "third.db").exists()
    assert cli("db", "copy", "--to", "shop/fourth.db", "--switch").code == 6
    done = cli("db", "copy", "--to", "shop/fourth.db", "--switch", "--yes", "--json").json()
    assert done["switched"] and cli("config", "get", "data.database").out == "shop/fourth.db\n"
    deliver(cli, clock, "A2")


def test_the_morning_screen_of_a_shop_that_moved_says_where_to(cli: Cli, trading: Path) -> None:
    assert "Nothing is sent from here" not in cli("status").out
    there = trading.parent / "there"
    assert cli("db", "move", there, "--yes").code == 0
    first = cli("status").lines()[0]
    assert first.startswith("Nothing is sent from here: the shop was moved to /")
    assert "Nothing is sent from here" not in cli("status", cwd=there).out


def test_without_a_terminal_restore_names_the_option_that_answers(cli: Cli, trading: Path) -> None:
    told = cli("db", "restore", newest(trading), "--yes")
    assert told.code == 6 and "--confirm " in told.err.splitlines()[-1]
