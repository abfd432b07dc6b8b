"""A shop folder and the owner at its terminal: what the tests of the morning screen start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.shop import Shop
from tests.fakes import order, world

Cli = Callable[..., Any]
HOUR_MS = 3_600_000


@dataclass
class Owner:
    """A shop folder with nine keys of S1, and the owner at its terminal."""

    cli: Cli
    folder: Path
    clock: ManualClock

    def run(self, *words: str, typed: str = "", tty: bool = False) -> Any:
        told = self.cli(*words, input=typed, tty=tty)
        assert told.code in {0, 3, 8}, (words, told.out, told.err)
        return told

    def bought(self, number: str = "A1", **more: Any) -> None:
        """Let an order be paid (or said otherwise) at the channel, and be pulled."""
        self.clock.advance(5_000)
        world("shop1").orders[number] = order(number, at_ms=self.clock.now_ms(), **more)
        self.clock.advance(5_000)
        self.run("sync", "shop1")

    def deliver(self) -> None:
        self.clock.advance(60_000)
        self.run("deliver")

    def toml(self, old: str, new: str) -> None:
        path = self.folder / "kmtool.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def items(self) -> list[dict[str, Any]]:
        return list(self.cli("status", "--json").json()["needs_you"])

    def sql(self, *statements: str) -> None:
        with open_shop(load(self.folder / "kmtool.toml"), clock=self.clock) as shop:
            for one in statements:
                with shop.db.tx():
                    shop.db.run(one)

    def inside(self, work: Callable[[Shop], None]) -> None:
        with open_shop(load(self.folder / "kmtool.toml"), clock=self.clock) as shop:
            work(shop)


@pytest.fixture
def owner(
    cli: Cli, shop_folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Owner]:
    monkeypatch.setattr("kmtool.cli.clipboard.find", lambda *_seen: None)
    found = Owner(cli, shop_folder, clock)
    keys(found, "k.txt", 9)
    found.run("import", "k.txt", "--sku", "S1", "--supplier", "z", "--cost", "5", "--new", "--yes")
    found.run("product", "map", "shop1", "i1", "S1")
    clock.advance(HOUR_MS)
    yield found


def keys(owner: Owner, name: str, n: int) -> None:
    lines = "".join(f"SETTLE-{name[0]}-{i:04d}\n" for i in range(n))
    (owner.folder / name).write_text(lines, encoding="utf-8")
