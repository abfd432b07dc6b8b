"""The other side of a supplier under a test: what was really bought there, and what goes wrong."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from kmtool.clock import ManualClock
from kmtool.ports import PurchaseOrder, Supplier
from tests.adapters.channel_world import Fault


class SupplierWorld(Protocol):
    """A supplier's own books. `product` costs `price_minor` a piece and is never short."""

    supplier: Supplier
    clock: ManualClock
    product: str
    price_minor: int
    account: str
    bad_account: str
    sold_out: str
    faults: frozenset[Fault]

    def bought(self, our_no: str) -> int:
        """Return how many orders really stand there under our number."""

    def set_delay(self, ms: int) -> None:
        """Let orders from now on take so long."""

    def set_surcharge(self, minor: int) -> None:
        """Let orders from now on be charged with more than was agreed."""

    def fail_next(self) -> None:
        """Let the next order be accepted and then fail."""

    def set_balance(self, minor: int) -> None:
        """Set the money we have there."""

    def fail(self, call: str, fault: Fault) -> None:
        """Let the next `place` or `query` go wrong."""

    def offline(self) -> AbstractContextManager[None]:
        """Refuse connections for a while."""

    def stranger(self) -> Supplier:
        """Return a supplier with credentials that do not work."""


def wish(world: SupplierWorld, our_no: str = "KMTEST2345-1-1", **other: object) -> PurchaseOrder:
    """Return an order of one piece with just enough of a cap."""
    facts: dict[str, object] = {
        "our_no": our_no,
        "product": world.product,
        "quantity": 1,
        "account": world.account,
        "cap_minor": world.price_minor,
        "currency": "CNY",
        **other,
    }
    return PurchaseOrder(**facts)  # type: ignore[arg-type]
