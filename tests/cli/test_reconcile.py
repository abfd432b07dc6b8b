"""`reconcile`, `statement`, `recon` and `profile` at the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kmtool.store.db import connect
from tests.cli.conftest import Told
from tests.operations import recon_kit as kit

Cli = Callable[..., Told]


@pytest.fixture
def folder(shop_folder: Path) -> Path:
    """A shop with a wallet and two orders: one will be settled, one will be missed."""
    toml = shop_folder / "kmtool.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + kit.ACCOUNTS, encoding="utf-8")
    db = connect(shop_folder / "shop" / "shop.db")
    kit.put_order(db, "A1")
    kit.put_order(db, "A2", 2500)
    db.close()
    return shop_folder


def test_first_the_money_then_what_does_not_add_up(cli: Cli, folder: Path) -> None:
    path = kit.flow(folder, kit.sale("A1"), kit.sale("X9", 77))
    told = cli("reconcile", path)
    assert told.code == 8
    assert told.lines()[0] == (
        "main: ￥35.00 due = ￥10.00 received + ￥0.00 fees + ￥0.00 refunded + ￥0.00 not yet due"
        " + ￥25.00 missing"
    )
    assert "￥0.77 stands on statements without an order" in told.out
    assert "money missing" in told.out
    assert "kmtool order show shop1:A2" in told.out
    assert "MISSING_PAYOUT" not in told.out, "codes stay in show and JSON"


def test_reconcile_in_json(cli: Cli, folder: Path) -> None:
    path = kit.flow(folder, kit.sale("A1"))
    told = cli("reconcile", path, "--json")
    assert told.code == 8
    found = told.json()
    assert found["money"] | {"unmatched": 0, "other": 0} == {
        "currency": "CNY",
        "due": 3500,
        "received": 1000,
        "fees": 0,
        "refunded": 0,
        "not_due": 0,
        "missing": 2500,
        "unexplained": 0,
        "unmatched": 0,
        "other": 0,
    }
    assert (found["lines"], found["orders"]) == (
        {"MATCHED_SALE": 1},
        {"EXCEPTION": 1, "SETTLED": 1},
    )
    assert found["exceptions"] == {"MISSING_PAYOUT": 1}
    file = found["files"][0]
    assert (file["new"], file["known"], file["changed"], file["refusal"]) == (1, 0, 0, None)
    assert file["sums"]["CNY"] == {
        "gross": 1000, "adjust": 0, "fee": 0, "net": 1000, "neutral": 0, "fee_e5": 0,
    }  # fmt: skip
    again = cli("reconcile", path, "--json").json()
    assert again["files"][0]["new"] == 0
    assert again["accounts"][0]["changes"] == 0
    assert again["accounts"][0]["digest"] == found["accounts"][0]["digest"]


def test_the_days_asked_for_are_shown(cli: Cli, folder: Path) -> None:
    told = cli("reconcile", kit.flow(folder), "--from", "2026-11-03", "--json")
    assert told.json()["money"]["due"] == 0
    assert cli("reconcile", "--to", "2026-11-02", "--json").json()["money"]["due"] == 3500
    assert cli("reconcile", "--to", "soon").code == 2


def test_clean_books_end_with_0(cli: Cli, folder: Path) -> None:
    told = cli("reconcile", kit.flow(folder, kit.sale("A1"), kit.sale("A2", 2500)))
    assert told.code == 0
    assert "Everything adds up." in told.out
    assert cli("recon", "list").code == 0


def test_dry_run_keeps_nothing(cli: Cli, folder: Path) -> None:
    path = kit.flow(folder, kit.sale("A1"))
    assert cli("reconcile", path, "--dry-run").code == 8
    assert cli("statement", "list", "--count").out == "0\n"
    assert cli("recon", "list", "--count").out == "0\n"


def test_refusals_have_their_exit_code(cli: Cli, folder: Path) -> None:
    junk = folder / "junk.csv"
    junk.write_text("a,b\n1,2\n", encoding="utf-8")
    good = kit.flow(folder, kit.sale("A1"))
    bad = folder / "bad.csv"
    bad.write_bytes(good.read_bytes().replace(b"10.00", b"10.0x"))
    assert cli("reconcile", bad).code == 9
    told = cli("reconcile", junk)
    assert told.code == 6, "a profile answers it"
    assert "UNKNOWN_SOURCE" in told.out
    assert cli("reconcile", bad, good).code == 3
    assert cli("statement", "check", bad).code == 9
    assert cli("statement", "import", bad, good).code == 3
    assert cli("reconcile", folder / "nothing.csv").code == 5
    assert cli("reconcile", good, "--account", "nobody").code == 5
    assert cli("reconcile", good, "--account", "wx").code == 6, "it belongs to main"


def test_statements_are_listed_and_shown(cli: Cli, folder: Path) -> None:
    path = kit.flow(folder, kit.sale("A1"))
    assert cli("statement", "check", path, "--json").json()["files"][0]["rows"] == 1
    assert cli("statement", "list").out.startswith("No statements yet")
    assert cli("statement", "import", path).code == 0
    assert "0 new" in cli("statement", "import", path).out
    listed = cli("statement", "list", "--json").json()["files"]
    assert [(f["file"], f["state"], f["rows"]) for f in listed] == [(path.name, "ok", 1)]
    shown = cli("statement", "show", listed[0]["id"], "--json").json()
    assert shown["lines"][0]["gross"] == 1000
    assert "SALE" in cli("statement", "show", listed[0]["id"]).out
    assert cli("statement", "show", 99).code == 5


def test_a_decision_from_list_to_settled(cli: Cli, folder: Path) -> None:
    cli("reconcile", kit.flow(folder, kit.sale("A1"), kit.sale("??", 2500)))
    told = cli("recon", "list", "--json")
    assert told.code == 8
    found = {one["code"]: one for one in told.json()["exceptions"]}
    assert set(found) == {"MISSING_ORDER", "MISSING_PAYOUT"}
    shown = cli("recon", "show", found["MISSING_ORDER"]["id"])
    assert "shop1:A2" in shown.out, "an order of that amount and time may fit"
    assert "Code      MISSING_ORDER" in shown.out
    line = found["MISSING_ORDER"]["line_id"]
    assert cli("recon", "link", line, "A2", "--reason", "chat", "--dry-run").code == 0
    assert cli("recon", "link", line, "A2", "--reason", "chat").code == 0
    assert cli("reconcile").code == 0
    assert cli("recon", "unlink", line, "--reason", "no").code == 0
    assert cli("recon", "write-off", line, "--reason", "gift").code == 0
    assert cli("reconcile").code == 8
    left = cli("recon", "list", "--ids").out.strip()
    assert cli("recon", "resolve", left, "--reason", "paid in cash").code == 0
    assert cli("reconcile").code == 0
    assert len(cli("recon", "list", "--closed", "--json").json()["exceptions"]) == 2
    assert cli("recon", "link", line, "A2").code == 2, "a reason is needed"


def test_lists_are_narrowed(cli: Cli, folder: Path) -> None:
    cli("reconcile", kit.flow(folder, kit.sale("A1"), kit.sale("X9", 77)))
    assert cli("recon", "list", "--code", "missing_payout", "--count").out == "1\n"
    assert cli("recon", "list", "--min", "10.00", "--count").out == "1\n"
    assert cli("recon", "list", "--min", "ten").code == 2
    assert cli("recon", "list", "--code", "WHAT").code == 2


def test_digests_are_printed(cli: Cli, folder: Path) -> None:
    cli("reconcile", kit.flow(folder, kit.sale("A1")))
    digests = cli("recon", "digest", "--json").json()["digests"]
    assert [one["account"] for one in digests] == ["main", "wx"]
    assert len(digests[0]["digest"]) == 64


def test_profiles_are_listed_and_shown(cli: Cli, folder: Path) -> None:
    names = cli("profile", "list", "--ids").lines()
    assert {"alipay_merchant_flow", "wechat_merchant_trade"} <= set(names)
    told = cli("profile", "show", "alipay_merchant_flow")
    assert told.code == 0
    assert "账务流水号" in told.out
    assert cli("profile", "show", "nothing").code == 5


def test_hostile_text_does_not_reach_the_terminal(cli: Cli, folder: Path) -> None:
    cli("reconcile", kit.flow(folder, kit.sale("X\x1b[31m9", 77, txn="\x1b]0;t\x07")))
    number = cli("recon", "list", "--code", "MISSING_ORDER", "--ids").out.strip()
    assert "\x1b" not in cli("recon", "show", number).out
