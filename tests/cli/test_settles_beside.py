"""The rarer items of the morning screen and the mends of checks: running the command settles it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Good
from kmtool.domain.states import RefundState
from kmtool.ports import LineFact, RefundFact
from tests.cli.conftest import ROOT
from tests.cli.owner_kit import HOUR_MS, Owner, keys
from tests.cli.owner_kit import owner as owner
from tests.fakes import order, world

SUPPLIER = """
[suppliers.toplab]
adapter = "demo"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}" }}
spend_per_order = "100.00"
spend_per_day = "100.00"
"""
TERMS = ("--supplier", "toplab", "--item", "TEL-10", "--cap", "9.80", "--account", "phone-cn")


@pytest.fixture
def lab(owner: Owner) -> Iterator[DemoShop]:
    """The supplier of top-ups: 10 yuan of credit cost 9.80."""
    with DemoShop(owner.clock) as found:
        found.supply.add_good(Good("TEL-10", "话费 10 元", 980, takes=r"1[0-9]{10}"))
        path = owner.folder / "kmtool.toml"
        more = SUPPLIER.format(url=found.url)
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
        yield found


def top_up(o: Owner, account: str = "13800138000", terms: tuple[str, ...] = TERMS) -> None:
    """A product that is charged, its listing, and an order of it."""
    o.run("product", "add", "TEL", "--title", "话费", "--kind", "topup", *TERMS)
    if terms != TERMS:
        o.sql(*terms)
    o.run("product", "map", "shop1", "t1", "TEL")
    o.clock.advance(5_000)
    lines = (LineFact("1", "t1", "", "话费 10 元", 1, 1000, account),)
    world("shop1").orders["A1"] = order("A1", lines=lines, at_ms=o.clock.now_ms())
    o.clock.advance(5_000)
    o.run("sync", "shop1")


def settles(o: Owner, command: str, amount: int, fill: dict[str, str], typed: str = "") -> None:
    """The one item names its command and money; running it settles the item."""
    (item,) = o.items()
    assert (item["command"], item["amount"], item["currency"]) == (command, amount, "CNY"), item
    assert item["since"] is not None and item["what"]
    o.clock.advance(3 * 60_000)
    words = [fill.get(word, word) for word in command.split()[1:]]
    told = o.cli(*words, *([] if typed else ["--yes"]), input=typed, tty=bool(typed))
    assert told.code in {0, 3, 8}, (told.out, told.err)
    o.deliver()
    o.deliver()
    assert o.items() == [], (told.out, told.err)


def test_an_answer_that_did_not_get_through_is_answered_anew(owner: Owner) -> None:
    owner.bought()
    owner.deliver()
    refunds = (RefundFact("R1", 1000, "open", owner.clock.now_ms()),)
    owner.bought(refund=RefundState.OPEN, refunds=refunds)
    world("shop1").reply_faults = ["rejected"]
    owner.run("order", "refund", "A1", "--agree", "--yes")
    owner.deliver()
    settles(owner, "kmtool order refund A1", 1000, {}, typed="a\ny\n")
    assert [reply[2] for reply in world("shop1").replies] == [True]


def test_a_buyer_who_was_not_told_of_a_top_up_is_told_again(owner: Owner, lab: DemoShop) -> None:
    top_up(owner)
    world("shop1").faults = ["rejected"]
    owner.deliver()
    owner.deliver()
    settles(owner, "kmtool order redeliver A1", 1000, {})
    assert "13800138000" in world("shop1").received["A1"][-1]
    assert lab.supply.charged("13800138000") == 1


def test_another_amount_than_agreed_is_looked_at(owner: Owner, lab: DemoShop) -> None:
    lab.supply.surcharge_minor = 20
    top_up(owner)
    owner.deliver()
    settles(owner, "kmtool order charged A1 --reason TEXT --line 1", 1000, {"TEXT": "their fee"})


@pytest.mark.parametrize("limit", ["order", "day"])
def test_a_limit_of_spending_is_raised(owner: Owner, lab: DemoShop, limit: str) -> None:
    owner.toml(f'spend_per_{limit} = "100.00"', f'spend_per_{limit} = "9.00" # at first')
    top_up(owner)
    owner.run("deliver")
    command = f"kmtool supplier set toplab --spend-per-{limit} MONEY"
    assert command in owner.cli("order", "why", "A1").out
    settles(owner, command, 1000, {"MONEY": "50"})
    assert lab.supply.charged("13800138000") == 1
    text = (owner.folder / "kmtool.toml").read_text(encoding="utf-8")
    assert f'spend_per_{limit} = "50.00" # at first' in text


def test_a_limit_that_makes_no_sense_changes_nothing(owner: Owner, lab: DemoShop) -> None:
    before = (owner.folder / "kmtool.toml").read_bytes()
    assert owner.cli("supplier", "set", "toplab", "--spend-per-day", "much").code == 2
    assert owner.cli("supplier", "set", "nobody", "--spend-per-day", "5").code == 5
    told = owner.cli("supplier", "set", "z", "--spend-per-day", "5")
    assert told.code == 6 and "has no interface" in told.err
    assert owner.cli("supplier", "set", "toplab", "--spend-per-day", "5", "--dry-run").code == 0
    assert (owner.folder / "kmtool.toml").read_bytes() == before


def test_an_account_that_does_not_fit_is_set(owner: Owner, lab: DemoShop) -> None:
    top_up(owner, account="12345")
    owner.run("deliver")
    fill = {"VALUE": "13800138000"}
    settles(owner, "kmtool order account A1 VALUE --line 1", 1000, fill)
    assert lab.supply.charged("13800138000") == 1


def test_terms_that_are_missing_are_set(owner: Owner, lab: DemoShop) -> None:
    top_up(
        owner, terms=("UPDATE products SET supplier = '', supplier_item = '' WHERE sku = 'TEL'",)
    )
    owner.run("deliver")
    command = "kmtool product set TEL --supplier NAME --item ID --cap 9.80 --account RULE"
    fill = {"NAME": "toplab", "ID": "TEL-10", "RULE": "phone-cn"}
    settles(owner, command, 1000, fill)
    assert lab.supply.charged("13800138000") == 1


def test_a_key_with_two_buyers_is_replaced(owner: Owner) -> None:
    owner.run("key", "lend", "S1", "--pool", "kq", "-n", "1", "--form", "91kaquan", "-o", "l.csv")
    owner.clock.advance(1000)
    pool(owner, "未使用")
    owner.run("key", "lend-back", "kq", "pool.csv", "--take-back", "--yes")
    owner.bought()
    owner.deliver()
    pool(owner, "已使用")
    owner.run("key", "lend-back", "kq", "pool.csv", "--yes")
    command = "kmtool order replace A1 --line 1 --key TAIL --reason TEXT"
    settles(owner, command, 1000, {"TAIL": "0000", "TEXT": "used elsewhere"})
    assert len(world("shop1").received["A1"]) == 2


def pool(o: Owner, word: str) -> None:
    path = o.folder / "pool.csv"
    path.write_text(f"卡号,状态,订单号\nSETTLE-k-0000,{word},T1\n", encoding="utf-8")
    at_s = o.clock.now_ms() / 1000
    os.utime(path, (at_s, at_s))


# ---------------------------------------------------------------- after a restore


def restored(o: Owner) -> None:
    """A backup, then a batch that it does not know, one key of it sold, then the backup again."""
    o.run("product", "add", "S2", "--title", "another")
    o.run("product", "map", "shop1", "i2", "S2")
    o.run("db", "backup")
    keys(o, "n.txt", 2)
    o.clock.advance(5_000)
    o.run("import", "n.txt", "--sku", "S2", "--supplier", "z", "--cost", "5", "--yes")
    o.bought(item="i2")
    o.deliver()
    assert len(world("shop1").received["A1"]) == 1
    (backup,) = (o.folder / "shop" / "backups").glob("shop-*.db")
    o.run("db", "restore", str(backup), "--confirm", "0")


def check(o: Owner, name: str) -> dict[str, Any]:
    checks = o.cli("doctor", "--json").json()["checks"]
    return next(one for one in checks if one["name"] == name)


def test_a_key_that_was_sent_before_a_restore_comes_back_with_its_file(owner: Owner) -> None:
    restored(owner)
    found = check(owner, "seen_keys")
    assert (found["ok"], found["mend"]) == (False, "kmtool import FILE --sku SKU")
    owner.clock.advance(60_000)
    owner.run("sync", "--since", "2026-11-20")
    owner.run("deliver")
    settles(owner, "kmtool import FILE --sku S2", 1000, {"FILE": "n.txt"})
    assert check(owner, "seen_keys")["ok"]
    assert len(world("shop1").received["A1"]) == 1, "it was asked about, not sent again"


def test_an_order_that_a_restore_lost_comes_back_with_a_pull(owner: Owner) -> None:
    owner.run("db", "backup")
    owner.bought()
    owner.deliver()
    (backup,) = (owner.folder / "shop" / "backups").glob("shop-*.db")
    owner.run("db", "restore", str(backup), "--confirm", "0")
    found = check(owner, "seen_keys")
    assert (found["ok"], found["mend"]) == (False, "kmtool sync")
    owner.clock.advance(60_000)
    owner.run("sync")
    assert check(owner, "seen_keys")["ok"]


def test_stock_that_a_restore_without_a_journal_keeps_back_is_decided(owner: Owner) -> None:
    owner.run("db", "backup")
    (backup,) = (owner.folder / "shop" / "backups").glob("shop-*.db")
    for journal in (owner.folder / ".private").glob("journal/*.log"):
        journal.unlink()
    owner.run("db", "restore", str(backup), "--confirm", "0")
    found = check(owner, "stock_back")
    mend = 'kmtool db reconcile-stock --sold FILE --proof "…"'
    assert (found["ok"], found["mend"]) == (False, mend)
    (owner.folder / "sold.txt").write_text("SETTLE-k-0000\n", encoding="utf-8")
    words = ("--sold", "sold.txt", "--proof", "the platform's list", "--confirm", "9")
    owner.run("db", "reconcile-stock", *words)
    assert check(owner, "stock_back")["ok"]
    assert owner.cli("key", "stock", "--json").json()["products"][0]["free"] == 8


# ---------------------------------------------------------------- the checks of the screen


def mended(o: Owner, name: str) -> dict[str, Any]:
    """Return a check of the morning screen."""
    checks = o.cli("status", "--json").json()["checks"]
    return next(one for one in checks if one["name"] == name)


def test_a_drill_that_failed_is_done_again(owner: Owner) -> None:
    owner.run("db", "backup")
    now = owner.clock.now_ms()
    owner.sql(
        f"INSERT INTO meta (name, value) VALUES ('drill_ms', '{now}'),"
        " ('drill_found', 'bad: it could not be opened')"
    )
    assert (mended(owner, "backup")["ok"], mended(owner, "backup")["mend"]) == (
        False, "kmtool db drill",
    )  # fmt: skip
    owner.run("db", "drill")
    assert mended(owner, "backup")["ok"]


def test_a_job_that_failed_is_run_again(owner: Owner) -> None:
    now = owner.clock.now_ms()
    owner.sql(
        "INSERT INTO job_runs (job, state, started_ms, heartbeat_ms, ended_ms, result, error)"
        f" VALUES ('sync', 'failed', {now}, {now}, {now}, '', 'connection refused')"
    )
    found = mended(owner, "jobs")
    assert (found["ok"], found["mend"]) == (False, "kmtool run --once --only sync")
    owner.clock.advance(10_000)
    owner.run(*found["mend"].split()[1:])
    assert mended(owner, "jobs")["ok"]


def test_a_daemon_that_died_is_started_again(owner: Owner) -> None:
    owner.sql(
        "INSERT INTO sessions (kind, token, host, pid, state, started_ms, heartbeat_ms, ended_ms)"
        " VALUES ('run', 78, 'h', 1, 'dead', 1, 1, 2)"
    )
    found = mended(owner, "daemon")
    assert (found["ok"], found["mend"]) == (False, "kmtool run")
    command = [sys.executable, "-m", "kmtool", *found["mend"].split()[1:]]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    daemon = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, cwd=owner.folder)
    try:
        for _ in range(150):
            if mended(owner, "daemon")["ok"]:
                break
            time.sleep(0.2)
        assert str(daemon.pid) in mended(owner, "daemon")["figure"]
    finally:
        daemon.terminate()
        daemon.wait(60)


# ---------------------------------------------------------------- a part of the money is back


def test_a_part_refund_of_the_line_that_waits_ends_with_one_command(owner: Owner) -> None:
    owner.run("product", "add", "S2", "--title", "another")
    owner.run("product", "map", "shop1", "i2", "S2")
    lines = (LineFact("1", "i1", "", "one", 1, 1000), LineFact("2", "i2", "", "two", 2, 2000))
    owner.bought(lines=lines)
    owner.clock.advance(31 * 60_000)
    owner.deliver()
    keys(owner, "n.txt", 1)
    words = ("--sku", "S2", "--supplier", "z", "--cost", "5", "--yes")
    refunds = (RefundFact("R1", 1000, "done", owner.clock.now_ms()),)
    owner.bought(lines=lines, refund=RefundState.PARTIAL, refunds=refunds)
    owner.run("deliver")
    commands = {one["command"] for one in owner.items()}
    assert commands == {"kmtool order refund A1", "kmtool order release A1 --quantity N"}
    owner.run("import", "n.txt", *words)
    owner.run("order", "release", "A1", "--quantity", "1")
    owner.deliver()
    assert owner.items() == [], "the refund was for the line that was cut"
    shown = owner.cli("order", "show", "A1", "--json").json()["lines"]
    assert [line["state"] for line in shown] == ["delivered", "delivered"]


def test_a_bad_use_of_a_shared_key_is_charged_and_dropped_alone(owner: Owner) -> None:
    keys(owner, "n.txt", 2)
    words = ("--supplier", "z", "--cost", "10", "--uses", "4", "--new", "--yes")
    owner.run("import", "n.txt", "--sku", "S2", *words)
    owner.run("product", "map", "shop1", "i2", "S2")
    owner.bought(item="i2")
    owner.deliver()
    owner.run("order", "replace", "A1", "--reason", "dead", "--yes")
    owner.deliver()
    owner.clock.advance(4 * 24 * HOUR_MS)
    due = owner.cli("settle", "preview", "z", "--json").json()
    assert (due["payable"], due["clawbacks"], len(due["debits"])) == (250, 1, 1)
    owner.run("settle", "adjust", "z", "--drop", str(due["debits"][0]["id"]))
    due = owner.cli("settle", "preview", "z", "--json").json()
    assert (due["payable"], due["clawbacks"], due["debits"]) == (500, 0, [])
