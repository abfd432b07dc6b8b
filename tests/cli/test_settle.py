"""`kmtool settle` as a person types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from tests.operations.make_ledger import Books

Cli = Callable[..., Any]
NUMBER = "JS-sup1-202611-01"


@pytest.fixture
def sold(shop_folder: Path, clock: ManualClock) -> Path:
    """A shop that owes a supplier 7.00 for two keys."""
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as shop:
        books = Books(shop)
        books.supplier("sup1")
        books.sell(books.batch("sup1", "S1", 5), 2)
    return shop_folder


def test_a_sheet_from_preview_to_payment(cli: Cli, sold: Path) -> None:
    assert cli("settle", "preview", "sup1", "--json").json()["payable"] == 700
    closed = cli("settle", "close", "sup1", "--yes", "--json").json()
    assert {"number", "supplier", "period", "keys", "payable", "carried", "workbook", "sha256"} <= (
        set(closed)
    )
    assert (closed["number"], closed["keys"], closed["payable"], closed["carried"]) == (
        NUMBER, 2, 700, 0,
    )  # fmt: skip
    assert Path(closed["workbook"]).is_file()
    assert cli("settle", "verify", "--all").code == 0
    assert cli("settle", "verify", closed["workbook"]).code == 0
    again = cli("settle", "export", NUMBER, "-o", sold / "again.xlsx", "--json").json()
    assert again["sha256"] == closed["sha256"]
    paid = ("settle", "paid", NUMBER, "--date", "2026-11-22", "--ref", "V1", "--amount")
    assert cli(*paid, "7.00", "--dry-run").code == 0
    assert cli("settle", "list", "--json").json()["sheets"][0]["state"] == "closed"
    assert cli(*paid, "7.00", "--json").json()["state"] == "paid"
    assert "noted before" in cli(*paid, "7.00").out
    shown = cli("settle", "show", NUMBER)
    assert (shown.code, "V1" in shown.out) == (0, True)


def test_nothing_due_is_said_and_is_no_error(cli: Cli, sold: Path) -> None:
    assert cli("settle", "close", "sup1", "--yes").code == 0
    told = cli("settle", "close", "sup1", "--yes")
    assert (told.code, told.out) == (0, "Nothing is due to sup1: no sheet was made.\n")
    assert cli("settle", "preview", "sup1").code == 0
    assert cli("settle", "list", "--ids").out == f"{NUMBER}\n"


def test_a_dry_run_keeps_nothing(cli: Cli, sold: Path) -> None:
    assert cli("settle", "close", "sup1", "--dry-run").code == 0
    assert cli("settle", "list", "--count").out == "0\n"
    assert not list(sold.glob("exports/settlements/*"))


def test_what_does_not_add_up_ends_with_8(cli: Cli, sold: Path, clock: ManualClock) -> None:
    with open_shop(load(sold / "kmtool.toml"), clock=clock) as shop:
        shop.db.run(
            "UPDATE ledger_postings SET amount_minor = amount_minor + 1 WHERE account LIKE 'pay%'"
        )
    told = cli("settle", "close", "sup1", "--yes")
    assert told.code == 8
    assert told.err.startswith("KM-E801 The sheet of sup1 does not add up: balance ￥7.00")
    assert cli("settle", "preview", "sup1").code == 8


def test_a_changed_sheet_ends_with_8(cli: Cli, sold: Path, clock: ManualClock) -> None:
    cli("settle", "close", "sup1", "--yes")
    with open_shop(load(sold / "kmtool.toml"), clock=clock) as shop:
        shop.db.run("DROP TRIGGER settlement_lines_keep")
        shop.db.run("UPDATE settlement_lines SET amount_minor = 351 WHERE seq = 1")
    told = cli("settle", "verify", NUMBER)
    assert told.code == 8
    assert "卡密明细:2" in told.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("preview", "nobody"), 5),
        (("show", "JS-x"), 5),
        (("verify", "missing.xlsx"), 5),
        (("verify",), 2),
        (("close", "sup1", "--cut", "tomorrow"), 2),
        (("close", "sup1", "--cut", "2026-12-31"), 2),
        (("export", NUMBER, "-o", "x.pdf"), 2),
        (("paid", "JS-x", "--amount", "x", "--date", "2026-11-22", "--ref", "V"), 5),
    ],
)
def test_what_makes_no_sense_is_said_in_three_lines(
    cli: Cli, sold: Path, words: tuple[str, ...], code: int
) -> None:
    told = cli("settle", *words)
    assert told.code == code
    assert len(told.err.splitlines()) == 3


def test_a_bad_amount_names_a_good_one(cli: Cli, sold: Path) -> None:
    cli("settle", "close", "sup1", "--yes")
    told = cli("settle", "paid", NUMBER, "--amount", "7 yuan", "--date", "2026-11-22", "--ref", "V")
    assert (told.code, "--amount 1200.00" in told.err) == (2, True)
    told = cli("settle", "paid", NUMBER, "--amount", "7.01", "--date", "2026-11-22", "--ref", "V")
    assert told.code == 6


def test_a_sheet_is_closed_only_when_a_person_says_so(cli: Cli, sold: Path) -> None:
    told = cli("settle", "close", "sup1", input="n\n", tty=True)
    assert told.code == 6
    assert "Close the sheet of sup1: " in told.err
    assert cli("settle", "close", "sup1").code == 6
    assert cli("settle", "list", "--count").out == "0\n"
