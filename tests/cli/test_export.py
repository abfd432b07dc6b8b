"""`kmtool export` as a person types it."""

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


@pytest.fixture
def books(shop_folder: Path, clock: ManualClock) -> Books:
    """A shop with three keys, one of them sold."""
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as shop:
        made = Books(shop)
        made.supplier("sup1")
        made.sell(made.batch("sup1", "S1", 3), 1)
    return made


@pytest.mark.parametrize("kind", ["orders", "keys", "stock", "recon", "settlement"])
def test_a_file_is_written(cli: Cli, shop_folder: Path, books: Books, kind: str) -> None:
    told = cli("export", kind, "-o", f"{kind}.xlsx", "--json")
    assert told.code == 0
    assert (shop_folder / f"{kind}.xlsx").stat().st_size > 1000
    assert told.json()["file"] == f"{kind}.xlsx"


def test_whole_keys_ask_first(cli: Cli, shop_folder: Path, books: Books) -> None:
    words = ("export", "keys", "--reveal", "-o", "keys.csv")
    asked = cli(*words)
    assert (asked.code, (shop_folder / "keys.csv").exists()) == (6, False)
    assert "3 whole keys" in asked.err
    assert cli(*words, "--yes").code == 0
    assert books.texts[0] in (shop_folder / "keys.csv").read_text(encoding="utf-8-sig")


def test_without_a_file_it_says_how(cli: Cli, shop_folder: Path) -> None:
    told = cli("export", "orders")
    assert (told.code, "-o orders.xlsx" in told.err) == (2, True)
    assert cli("export", "orders", "-o", "x.csv", "--from", "soon").code == 2
    assert cli("export", "nothing", "-o", "x.csv").code == 2
