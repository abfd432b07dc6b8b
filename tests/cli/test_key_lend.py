"""`kmtool key lend|lent|lend-back|lend-lost` as the owner meets them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.clock import ManualClock

Cli = Callable[..., Any]


@pytest.fixture
def shelf(cli: Cli, shop_folder: Path) -> Path:
    """Four keys of one product."""
    lines = "".join(f"LEND-{n}111\n" for n in range(4))
    (shop_folder / "k.txt").write_text(lines, encoding="utf-8")
    told = cli("import", "k.txt", "--sku", "S1", "--supplier", "z", "--cost", "5", "--new", "--yes")
    assert told.code == 0
    return shop_folder


def export(folder: Path, clock: ManualClock, *rows: str) -> Path:
    path = folder / "pool.csv"
    path.write_text("\n".join(["卡号,状态,订单号", *rows]), encoding="utf-8")
    clock.advance(60_000)
    at_s = clock.now_ms() / 1000
    os.utime(path, (at_s, at_s))
    return path


def test_keys_go_to_a_pool_and_come_back(cli: Cli, shelf: Path, clock: ManualClock) -> None:
    told = cli("key", "lend", "S1", "--pool", "kq", "--keys", "3", "--form", "91kaquan",
               "-o", "lent.csv")  # fmt: skip
    assert told.code == 0, told.err
    assert "3 keys of S1 are lent to kq" in told.out
    assert "No real upload has confirmed this form" in told.out
    assert "LEND-" not in told.out + told.err
    assert (shelf / "lent.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "CardNo,Pwd", "LEND-0111,", "LEND-1111,", "LEND-2111,",
    ]  # fmt: skip
    assert stat.S_IMODE((shelf / "lent.csv").stat().st_mode) == 0o600
    row = cli("key", "lent", "--json").json()["lendings"][0]
    assert (row["lent"], row["cost"], row["currency"]) == (3, 1500, "CNY")
    pool = export(shelf, clock, "LEND-0111,已使用,T77", "LEND-1111,未使用,", "LEND-2111,未使用,")
    found = cli("key", "lend-back", "kq", pool, "--json").json()
    assert (found["used"], found["unused"], found["returned"]) == (1, 2, 0)
    assert found["orders"] == ["pool-kq:T77"]
    assert cli("key", "lend-back", "kq", pool, "--take-back").code == 6, "it asks first"
    asked = cli("key", "lend-back", "kq", pool, "--take-back", tty=True, input="y\n")
    assert "2 unused keys worth ￥10.00 out of the pool kq" in asked.err
    assert "taken back        2" in asked.out
    assert cli("key", "stock", "S1", "--json").json()["products"][0]["free"] == 3
    shown = cli("order", "show", "T77", "--json").json()
    assert (shown["lines"][0]["state"], shown["lines"][0]["keys"]) == ("delivered", ["…0111"])
    wrong = [one for one in cli("doctor", "--json").json()["checks"] if not one["ok"]]
    assert [one["name"] for one in wrong] == ["backup"], wrong


def test_what_was_not_lent_or_not_understood_is_a_difference(
    cli: Cli, shelf: Path, clock: ManualClock
) -> None:
    cli("key", "lend", "S1", "--pool", "kq", "--keys", "1", "--form", "91kaquan", "-o", "l.csv")
    pool = export(shelf, clock, "LEND-0111,冻结,", "LEND-3111,已使用,T1")
    told = cli("key", "lend-back", "kq", pool)
    assert told.code == 8
    assert "a word nobody knows, these stay lent: row 2: 冻结" in told.out
    assert "never lent to this pool: row 3: …3111" in told.out
    assert "LEND-" not in told.out + told.err


def test_nothing_is_lent_in_a_rehearsal_or_without_saying_where(cli: Cli, shelf: Path) -> None:
    told = cli("key", "lend", "S1", "--pool", "kq", "--keys", "1", "--form", "91kaquan",
               "-o", "l.csv", "--dry-run")  # fmt: skip
    assert told.code == 0, told.err
    assert not (shelf / "l.csv").exists()
    assert cli("key", "lent", "--count").out == "0\n"
    assert cli("key", "lend", "S1", "--pool", "kq", "--keys", "1").code == 2
    assert cli("key", "lend", "S1", "--pool", "kq", "--keys", "1", "-o", "l.csv").code == 4
    assert cli("key", "lend-back", "kq", "none.csv").code == 5
    assert cli("key", "lend-back", "kq", "none.csv", "--used", "--unused").code == 2


def test_a_lending_is_written_again_or_given_up(cli: Cli, shelf: Path) -> None:
    made = cli("key", "lend", "S1", "--pool", "kq", "--keys", "2", "--form", "91kaquan",
               "-o", "l.csv", "--json").json()  # fmt: skip
    again = cli("key", "lend", "--again", made["number"], "-o", "l2.csv")
    assert again.code == 0, again.err
    assert (shelf / "l.csv").read_bytes() == (shelf / "l2.csv").read_bytes()
    assert cli("key", "lend-lost", made["number"], "--reason", "closed").code == 6
    told = cli("key", "lend-lost", made["number"], "--reason", "closed", "--yes")
    assert (told.code, "2 keys of" in told.out) == (0, True)
    assert cli("key", "list", "--state", "quarantine", "--count").out == "2\n"
