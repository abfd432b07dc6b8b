"""What the delivery tests share: pull facts, look at lines and keys, ask the invariants."""

from __future__ import annotations

import re
from typing import Any

from kmtool.clock import ManualClock
from kmtool.operations.deliver import deliver
from kmtool.operations.sync import sync
from kmtool.ports import LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import doctor
from tests.fakes import Outside, world

START = 1_795_305_600_000
KEY = re.compile(r"^KEY-\S+$", re.MULTILINE)


def pull(shop: Shop, *facts: OrderFact, channel: str = "shop1") -> None:
    """Put orders into the world and sync."""
    for fact in facts:
        world(channel).orders[fact.number] = fact
    tick(shop, 5_000)
    sync(shop, [channel])


def tick(shop: Shop, ms: int) -> None:
    """Let time pass."""
    assert isinstance(shop.clock, ManualClock)
    shop.clock.advance(ms)


def line(shop: Shop, number: str = "A1", line_no: str = "1") -> dict[str, Any]:
    """Return a line of an order."""
    row = shop.db.one(
        "SELECT l.* FROM lines l JOIN orders o ON o.id = l.order_id"
        " WHERE o.number = :n AND l.line_no = :l",
        n=number,
        l=line_no,
    )
    assert row is not None
    return row


def lines(*rows: tuple[str, int]) -> tuple[LineFact, ...]:
    """Return lines of (item, quantity) at 10 yuan a piece."""
    return tuple(
        LineFact(str(n), item, "", f"item {item}", quantity, 1000 * quantity)
        for n, (item, quantity) in enumerate(rows, 1)
    )


def keys_at(number: str, channel: str = "shop1") -> set[str]:
    """Return the keys that the buyer of an order got."""
    return set(KEY.findall("\n".join(world(channel).received.get(number, []))))


def states(shop: Shop) -> dict[str, int]:
    """Return how many keys are in which state."""
    rows = shop.db.all("SELECT state, count(*) AS n FROM keys GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


def effects(shop: Shop, kind: str = "hand_over") -> list[dict[str, Any]]:
    """Return the effects of a kind, oldest first."""
    return shop.db.all("SELECT * FROM effects WHERE kind = :k ORDER BY id", k=kind)


def broken(shop: Shop) -> list[str]:
    """Return every broken promise of the delivery ledger."""
    return [
        f"{rule.name}: {told}"
        for rule in doctor.INVARIANTS
        if rule.broken or rule.name in {"stock_counter", "nothing_stuck", "refund_first"}
        for told in doctor.violations(shop.db, rule, shop.now_ms())
    ]


def outside(channel: str = "shop1") -> Outside:
    """Return the world behind a channel."""
    return world(channel)


def run_on(shop: Shop, rounds: int = 4) -> None:
    """Let the shop go on until what is unclear is settled."""
    for _ in range(rounds):
        tick(shop, 130_000)
        sync(shop)
        deliver(shop)
