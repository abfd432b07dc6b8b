"""An order is looked at again right before its keys leave, however long the queue before it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.operations.deliver import deliver
from kmtool.shop import Shop
from tests.fakes import order
from tests.operations.delivery_kit import broken, line, outside, pull, tick
from tests.operations.stock import shelf

ORDERS = 30


def test_what_is_refunded_while_others_are_sent_is_seen_before_its_turn(
    make_config: Any, shop: Shop
) -> None:
    """Sending is slow: the last ones leave minutes after they were pulled."""
    brakes = "[brakes]\nbuyer_pieces_per_hour = 0\n[deliver]\nreread_after = '30s'"
    slow = replace(shop, config=make_config(brakes))
    shelf(slow, n=ORDERS)
    pull(slow, *(order(f"A{n:02d}") for n in range(ORDERS)))
    last = slow.db.value("SELECT max(number) FROM orders WHERE id = (SELECT max(id) FROM orders)")

    def during(_message: object) -> None:
        tick(slow, 2_000)
        fact = outside().orders[last]
        outside().orders[last] = replace(
            fact,
            status=OrderStatus.CLOSED,
            refund=RefundState.FULL,
            revision_ms=fact.revision_ms + 1_000,
        )

    outside().during_send = during
    done = deliver(slow)
    assert done.delivered == ORDERS - 1
    assert line(slow, last)["state"] == "cancelled"
    assert last not in outside().received
    assert broken(slow) == []
