"""What a person sees of purchases: a top-up's proof, and amounts that somebody must look at."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.ids import OrderId
from kmtool.errors import Refused
from kmtool.operations.find_order import named
from kmtool.operations.purchase_end import difference
from kmtool.shop import Shop
from kmtool.store import orders
from kmtool.store import purchases as store
from kmtool.store.db import Row


@dataclass(frozen=True, slots=True)
class PurchaseShown:
    """A purchase for a line of an order. `difference` is empty when nothing is to be looked at."""

    line: str
    supplier: str
    our_no: str
    their_no: str
    state: str
    quantity: int
    account: str
    agreed_minor: int | None
    charged_minor: int | None
    currency: str
    done_ms: int | None
    proof: str
    difference: str
    note: str


@dataclass(frozen=True, slots=True)
class ChargedSettled:
    """How many differences of an order a person has looked at."""

    channel: str
    number: str
    purchases: int


def shown(shop: Shop, order_id: int) -> tuple[PurchaseShown, ...]:
    """Return the purchases of an order, oldest first."""
    return tuple(_one(row) for row in store.of_order(shop.db, order_id))


def _one(row: Row) -> PurchaseShown:
    return PurchaseShown(
        line=row["line_no"],
        supplier=row["supplier"],
        our_no=row["our_no"],
        their_no=row["their_no"],
        state=row["state"],
        quantity=row["quantity"],
        account=row["account"],
        agreed_minor=row["agreed_minor"],
        charged_minor=row["charged_minor"],
        currency=row["currency"],
        done_ms=row["done_ms"],
        proof=row["proof"],
        difference="" if row["settled_ms"] is not None else difference(row),
        note=row["note"],
    )


def settle_charged(shop: Shop, number: str, reason: str) -> ChargedSettled:
    """Write down that a person looked at what a supplier charged otherwise than agreed."""
    shop.must_be_writable()
    order = named(shop, number)
    with shop.db.tx():
        order = orders.get(shop.db, OrderId(order["id"]), lock=True)
        n = store.settle_unequal(shop.db, order["id"], reason, shop.now_ms())
        if not n:
            raise Refused(
                detail="order {number} was charged as agreed",
                number=order["number"],
                mend="kmtool order show {number}",
            )
        shop.audit("charged", f"order:{order['channel']}:{order['number']}", reason[:200])
    return ChargedSettled(order["channel"], order["number"], n)
