"""What a command says to do next: the exact command, in the language of the screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.clock import ManualClock
from tests.fakes import order, world

Cli = Callable[..., Any]


@pytest.fixture
def stocked(cli: Cli, shop_folder: Path, clock: ManualClock) -> Path:
    """A shop on `ask` with three keys of S1 from z at 5.00, one order pulled."""
    keys = "".join(f"NEXT-{i:04d}\n" for i in range(3))
    (shop_folder / "k.txt").write_text(keys, encoding="utf-8")
    new = ("--supplier", "z", "--cost", "5", "--new", "--yes")
    assert cli("import", "k.txt", "--sku", "S1", *new).code == 0
    assert cli("product", "map", "shop1", "i1", "S1").code == 0
    clock.advance(10_000)
    world("shop1").orders["A1"] = order("A1", at_ms=clock.now_ms())
    clock.advance(10_000)
    assert cli("sync").code == 0
    return shop_folder


def test_what_waits_for_the_owners_word_names_the_command(cli: Cli, stocked: Path) -> None:
    assert cli("channel", "set", "shop1", "--mode", "ask").code == 0
    told = cli("deliver")
    assert "your word lets them go: kmtool channel release shop1" in told.err
    assert cli("channel", "release", "shop1", "--yes").code == 0
    told = cli("deliver")
    assert "your word" not in told.err


def test_a_channel_that_is_not_watched_has_nothing_to_compare(cli: Cli, stocked: Path) -> None:
    told = cli("channel", "report", "shop1")
    assert "shop1 is not on watch: nothing is compared." in told.out
    assert "→" not in told.out
    assert cli("channel", "set", "shop1", "--mode", "watch").code == 0
    assert "Keep watching" in cli("channel", "report", "shop1").out


def test_a_new_channel_names_its_first_pull(cli: Cli, shop_folder: Path) -> None:
    told = cli("channel", "add", "demo2", "--adapter", "demo")
    assert told.code == 0, told.err
    assert "kmtool sync demo2" in told.err
    told = cli("channel", "set", "demo2", "--courier", "pigeon")
    assert (told.code, "there is no route pigeon" in told.err) == (2, True)


def test_a_shop_that_moved_away_names_its_new_place(
    cli: Cli, stocked: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    assert cli("db", "move", there, "--yes").code == 0
    told = cli("deliver")
    assert told.code == 6
    assert f"work there: {there}" in told.err and "kmtool db adopt" in told.err
    assert f"work there: {there}" in cli("doctor").out
    assert cli("deliver", cwd=there).code == 0


def test_a_copy_names_the_way_to_use_it_at_once(cli: Cli, stocked: Path) -> None:
    told = cli("db", "copy", "--to", "other.db")
    assert (told.code, "--switch" in told.out) == (0, True), told.err


def test_what_is_not_due_is_said_in_the_language_of_the_screen(
    cli: Cli, stocked: Path, clock: ManualClock
) -> None:
    assert cli("deliver").code == 0
    told = cli("settle", "preview", "z")
    assert "not due yet" in told.out and "Unsold or not due" in told.out
    assert not re.search("[\u4e00-\u9fff]", told.out)
    assert cli("order", "hold", "A1").code == 6
    zh = cli("--lang", "zh", "settle", "preview", "z").out
    assert re.search("[\u4e00-\u9fff]", zh)


def test_a_sale_below_cost_is_warned_of(cli: Cli, stocked: Path) -> None:
    told = cli("sell", "S1", "--price", "0.50")
    assert told.code == 0
    assert "below cost: the keys cost ￥5.00, they were sold for ￥0.50" in told.err
    assert "below cost" not in cli("sell", "S1", "--price", "5").err
