"""What the tests of refunds and replacements share, on both databases."""

from __future__ import annotations

from dataclasses import replace

from kmtool.domain.states import RefundState
from kmtool.operations.sync import sync
from kmtool.ports import RefundFact
from kmtool.shop import Shop
from kmtool.store import ledger
from tests.operations.delivery_kit import START, outside, tick

AT = START + 1000


def refund(shop: Shop, state: str = "open", amount: int = 1000, number: str = "A1") -> None:
    """Let the channel tell of a refund, and pull it."""
    fact = outside().orders[number]
    whole = RefundState.FULL if amount >= fact.total_minor else RefundState.PARTIAL
    seen = {"open": RefundState.OPEN, "done": whole, "ended": RefundState.NONE}[state]
    refunds = (RefundFact(f"R-{number}", amount, state, shop.now_ms()),)
    tick(shop, 60_000)
    outside().orders[number] = replace(
        fact, refund=seen, refunds=refunds, revision_ms=shop.now_ms() - 30_000
    )
    sync(shop, ["shop1"])


def key_states(shop: Shop, number: str = "A1") -> list[tuple[str, str]]:
    """Return (state of the bond, state of the key) of all keys an order ever had."""
    rows = shop.db.all(
        "SELECT a.state, k.state AS key_state FROM allocations a JOIN keys k ON k.id = a.key_id"
        " JOIN lines l ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
        " WHERE o.number = :n ORDER BY a.id",
        n=number,
    )
    return [(row["state"], row["key_state"]) for row in rows]


def balance(shop: Shop, account: str) -> int:
    """Return a balance of the ledger."""
    return ledger.balance(shop.db, account, "CNY")
