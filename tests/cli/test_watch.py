"""A channel on watch at the command line: report, exit code, the way to ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.states import OrderStatus
from tests.fakes import order, world

Cli = Callable[..., Any]


@pytest.fixture
def watched(cli: Cli, shop_folder: Path, clock: ManualClock) -> Path:
    """A watched channel with a mapped item and keys."""
    toml = shop_folder / "kmtool.toml"
    text = toml.read_text(encoding="utf-8").replace('mode = "auto"', 'mode = "watch"')
    toml.write_text(text, encoding="utf-8")
    lines = "".join(f"WATCH-{n}111\n" for n in range(9))
    (shop_folder / "k.txt").write_text(lines, encoding="utf-8")
    assert cli("import", "k.txt", "--sku", "S1", "--new", "--yes").code == 0
    assert cli("product", "map", "shop1", "i1", "S1").code == 0
    return shop_folder


def say(cli: Cli, clock: ManualClock, number: str, status: OrderStatus, **more: Any) -> None:
    clock.advance(5_000)
    fact = order(number, status=status, at_ms=clock.now_ms(), **more)
    world("shop1").orders[number] = fact
    clock.advance(5_000)
    assert cli("sync", "shop1").code == 0


def orders_waiting(cli: Cli) -> list[dict[str, Any]]:
    return [one for one in cli("status", "--json").json()["needs_you"] if one["orders"]]


def test_the_report_lists_differences_and_ends_with_a_command(
    cli: Cli, watched: Path, clock: ManualClock
) -> None:
    say(cli, clock, "A1", OrderStatus.SHIPPED)
    say(cli, clock, "A2", OrderStatus.SHIPPED, item="nowhere")
    told = cli("channel", "report", "shop1")
    assert told.code == 8
    assert "not mapped here  A2" in told.out
    assert "Keep watching: 2 of 10 lines are seen to the end." in told.out
    assert told.lines()[-1] == "→ kmtool product unmapped"
    found = cli("channel", "report", "shop1", "--json").json()
    assert (found["mode"], found["justified"], found["lines"]) == ("watch", "watch", 2)
    assert found["differences"][0]["there"] == "shipped"
    assert cli("channel", "report", "none").code == 5


def test_what_is_watched_waits_for_nobody_until_nobody_ships_it(
    cli: Cli, watched: Path, clock: ManualClock
) -> None:
    say(cli, clock, "A1", OrderStatus.PAID)
    assert cli("channel", "report", "shop1").code == 0
    assert orders_waiting(cli) == []
    clock.advance(25 * 3_600_000)
    item = orders_waiting(cli)[0]
    assert item["command"] == "kmtool channel set shop1 --mode ask"
    assert (item["amount"], item["orders"], item["since"] is not None) == (1000, 1, True)
    assert cli(*item["command"].split()[1:]).code == 0
    assert cli("deliver").code in {0, 3}
    asked = orders_waiting(cli)[0]
    assert asked["command"] == "kmtool order release A1"
