"""The desk at which refunds are decided: an order, the stages it can be at, what the shop says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.states import RefundState
from kmtool.ports import RefundFact, Verdict
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.fakes import Outside, order, world
from tests.operations.delivery_kit import START, broken
from tests.operations.stock import shelf

AT = START + 1000
DAY_MS = 86_400_000
COST = 500


@dataclass
class Desk:
    """The shop as its operator sees it, and the world behind it."""

    cli: Callable[..., Any]
    shop: Shop
    outside: Outside
    clock: ManualClock
    said: list[str] = field(default_factory=list)

    def run(self, *words: str) -> Any:
        told = self.cli(*words)
        self.said += told.err.splitlines()
        return told

    def sync(self) -> None:
        self.clock.advance(60_000)
        assert self.cli("sync").code == 0

    def refund(self, state: str, amount: int = 1000) -> None:
        """The channel tells of a refund."""
        fact = self.outside.orders["A1"]
        whole = RefundState.FULL if amount >= fact.total_minor else RefundState.PARTIAL
        seen = {"open": RefundState.OPEN, "done": whole, "ended": RefundState.NONE}[state]
        refunds = (RefundFact("R1", amount, state, self.clock.now_ms()),)
        at = max(self.clock.now_ms() - 10_000, fact.revision_ms + 1)
        self.outside.orders["A1"] = replace(fact, refund=seen, refunds=refunds, revision_ms=at)
        self.sync()

    def line(self) -> tuple[str, str]:
        """The state of the line and of the order's key."""
        (line,) = self.cli("order", "show", "A1", "--json").json()["lines"]
        rows = self.shop.db.all("SELECT state FROM keys WHERE state <> 'free'")
        return line["state"], rows[0]["state"] if rows else "free"

    def needs_you(self) -> dict[str, Any]:
        """What the morning screen asks about A1, by its command."""
        found = self.cli("status", "--json").json()["needs_you"]
        return {item["command"]: item for item in found if "A1" in item["command"]}

    def balance(self, account: str) -> int:
        return ledger.balance(self.shop.db, account, "CNY")


@pytest.fixture
def desk(cli: Callable, shop_folder: Path, clock: ManualClock) -> Iterator[Desk]:
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as shop:
        shelf(shop, n=3)
        clock.advance(10_000)
        outside = world("shop1")
        outside.orders["A1"] = order("A1", at_ms=AT)
        yield Desk(cli, shop, outside, clock)
        assert broken(shop) == []


def not_reserved(desk: Desk) -> None:
    desk.run("pause", "shop1")
    desk.sync()
    desk.run("deliver")


def reserved(desk: Desk) -> None:
    desk.sync()
    desk.outside.faults = ["down"]
    desk.shop.db.run("UPDATE products SET state = 'on'")
    from kmtool.operations.reserve import reserve_due

    reserve_due(desk.shop)


def unclear(desk: Desk) -> None:
    desk.sync()
    desk.outside.faults = ["unknown"]
    desk.outside.probe = Verdict.UNCLEAR
    desk.run("deliver")


def delivered(desk: Desk) -> None:
    desk.sync()
    assert desk.run("deliver").code == 0


def settled(desk: Desk) -> None:
    delivered(desk)
    desk.clock.advance(4 * DAY_MS)
    assert desk.run("settle", "close", "sup1", "--yes").code == 0
