"""A top-up at the command line: the account, the proof, another amount, the supplier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, Good, Offer, Sold
from kmtool.app import create_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.errors import EXIT_PARTLY, EXIT_USAGE

TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
[channels.maple]
adapter = "demo"
mode = "auto"
couriers = ["demo"]
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}" }}
[suppliers.toplab]
adapter = "demo"
spend_per_day = "50.00"
spend_per_order = "20.00"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}" }}
"""


@pytest.fixture
def lab(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoShop]:
    with DemoShop(clock) as found:
        found.supply.add_good(Good("TEL-10", "话费 10 元", 980, takes=r"1[0-9]{10}"))
        found.add_item(Offer("8811", "", "话费 10 元", 1000, 99))
        (tmp_path / "kmtool.toml").write_text(TOML.format(url=found.url), encoding="utf-8")
        create_shop(load(tmp_path / "kmtool.toml"), clock)
        monkeypatch.chdir(tmp_path)
        yield found


TERMS = ("--kind", "topup", "--account", "phone-cn", "--supplier", "toplab", "--item", "TEL-10")


def buy(cli: Any, lab: DemoShop, clock: ManualClock, account: str) -> str:
    number = lab.add_order([Sold("8811", account=account)])
    clock.advance(10_000)
    assert cli("sync").code == 0
    return number


def test_from_a_wrong_account_to_the_proof(cli: Any, lab: DemoShop, clock: ManualClock) -> None:
    assert cli("product", "add", "TEL", *TERMS, "--cap", "9.80").code == 0
    assert "9.80" in cli("product", "show", "TEL").out
    assert cli("product", "map", "maple", "8811", "TEL").code == 0
    number = buy(cli, lab, clock, "12345")
    assert cli("deliver", "--json").json()["held"] == {"address": 1}
    why = cli("order", "why", number).out
    command = f"kmtool order account {number} VALUE --line 1"
    assert command in why and "12345" in why
    assert cli("order", "account", number, "999").code == 6
    assert cli("order", "account", number, "138 0013 8000", "--line", "1").code == 0
    assert cli("order", "account", number, "13800138000", "--line", "9").code == 5
    done = cli("deliver", "--json")
    assert done.code in {0, EXIT_PARTLY} and done.json()["delivered"] == 1
    shown = cli("order", "show", number, "--json").json()
    (bought,) = shown["purchases"]
    assert (bought["state"], bought["charged"], bought["account"]) == ("done", 980, "13800138000")
    assert bought["proof"] and bought["proof"] in cli("order", "show", number).out
    clock.advance(10_000)
    cli("deliver")
    assert lab.shipped(number) and "13800138000" in lab.received(number)[0]
    assert cli("order", "charged", number, "--reason", "x").code == 6
    supplier = cli("supplier", "show", "toplab", "--json").json()
    assert (supplier["adapter"], supplier["spent_today"], supplier["purchases"]) == ("demo", 980, 1)
    assert "toplab" in cli("supplier", "list").out
    assert "-￥9.80" in cli("supplier", "show", "toplab").out, "nothing was paid in yet"
    paid = ("supplier", "deposit", "toplab", "--amount", "100", "--ref", "V1")
    assert "toplab holds ￥90.20 for you" in cli(*paid).out
    assert cli(*paid, "--json").json()["new"] is False
    assert cli("supplier", "deposit", "toplab", "--amount", "x", "--ref", "V1").code == 2
    assert cli("supplier", "show", "toplab", "--json").json()["prepaid"] == 9_020
    assert cli("doctor").code in {0, 8}


def test_another_amount_than_agreed_waits_for_a_word(
    cli: Any, lab: DemoShop, clock: ManualClock
) -> None:
    lab.supply.surcharge_minor = 20
    assert cli("product", "add", "TEL", *TERMS, "--cap", "9.80").code == 0
    assert cli("product", "map", "maple", "8811", "TEL").code == 0
    number = buy(cli, lab, clock, "13800138000")
    cli("deliver")
    assert "10.00 charged" in cli("order", "show", number).out.replace("￥", "")
    needs = [n for n in cli("status", "--json").json()["needs_you"] if "charged" in n["what"]]
    assert [n["command"] for n in needs] == [
        f"kmtool order charged {number} --reason TEXT --line 1"
    ]
    assert needs[0]["amount"] == 1000
    assert cli("order", "charged", number).code == 6
    assert cli("order", "charged", number, "--reason", "their fee").code == 0
    assert not [n for n in cli("status", "--json").json()["needs_you"] if "charged" in n["what"]]


def test_a_refused_top_up_is_shown_and_tried_anew(
    cli: Any, lab: DemoShop, clock: ManualClock
) -> None:
    assert cli("product", "add", "TEL", *TERMS, "--cap", "9.79").code == 0
    assert cli("product", "map", "maple", "8811", "TEL").code == 0
    number = buy(cli, lab, clock, "13800138000")
    cli("deliver")
    needs = cli("status", "--json").json()["needs_you"]
    assert [n["command"] for n in needs if "cap" in n["what"]] == [
        f"kmtool order redeliver {number}"
    ]
    assert cli("product", "set", "TEL", "--cap", "9.80").code == 0
    assert cli("order", "redeliver", number).code == 0
    states = [p["state"] for p in cli("order", "show", number, "--json").json()["purchases"]]
    assert states == ["rejected", "done"] and lab.supply.charged("13800138000") == 1


@pytest.mark.parametrize("amount", ["abc", "9.805", "9,8,0", "1e3", "-1"])
def test_a_wrong_amount_is_told_as_one(
    cli: Any, lab: DemoShop, clock: ManualClock, amount: str
) -> None:
    """`order charged --amount abc` ended as a mistake of the program."""
    assert cli("product", "add", "TEL", *TERMS, "--cap", "9.80").code == 0
    assert cli("product", "map", "maple", "8811", "TEL").code == 0
    number = buy(cli, lab, clock, "13800138000")
    cli("deliver")
    said = cli("order", "charged", number, "--reason", "x", f"--amount={amount}")
    assert said.code == EXIT_USAGE
    assert "--amount 48.00" in said.err
