"""What the tests of top-ups share: the supplier's section, orders, what was bought."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kmtool.domain.states import RefundState
from kmtool.operations.deliver import deliver
from kmtool.ports import LineFact, OrderFact, RefundFact
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import outside, tick

PHONE = "13800138000"
TOML = """
[suppliers.toplab]
adapter = "demo"
spend_per_day = "{day}"
spend_per_order = "{one}"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}", read_seconds = 0.3 }}
"""


def wish(
    number: str = "A1", account: str = PHONE, quantity: int = 1, item: str = "t1", **more: Any
) -> OrderFact:
    lines = (LineFact("1", item, "", "话费 10 元", quantity, 1000 * quantity, account),)
    return order(number, lines=lines, **more)


def settled(shop: Shop, rounds: int = 12, ms: int = 15_000) -> None:
    for _ in range(rounds):
        deliver(shop)
        tick(shop, ms)


def bought(shop: Shop) -> list[dict[str, Any]]:
    return shop.db.all("SELECT * FROM purchases ORDER BY id")


def told(number: str = "A1") -> str:
    return "\n".join(outside().received.get(number, []))


def refunded(shop: Shop, state: RefundState = RefundState.OPEN) -> OrderFact:
    facts = (RefundFact("R1", 1000, "open", shop.now_ms()),)
    return replace(wish(revision_ms=shop.now_ms()), refund=state, refunds=facts)
