"""A sale by hand, in one go: the order, its key, the hand-over on the screen, all in the books.

The key is bound and on record before it is shown. The pseudo channel is `counter`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmtool.domain.ids import OrderId
from kmtool.domain.money import e5_to_minor
from kmtool.domain.states import COUNTER, Gate, OrderStatus, RefundState
from kmtool.errors import Locked, NotFound, Refused, told
from kmtool.operations.counter_numbers import next_number
from kmtool.operations.ingest import ingest
from kmtool.operations.picture_files import save_all
from kmtool.operations.products import show
from kmtool.operations.reserve import Reserved, decide, preview
from kmtool.operations.routes import Outcome, Result
from kmtool.operations.send import Sent, begin, finish
from kmtool.operations.sender import sending
from kmtool.ports import Buyer, LineFact, Message, OrderFact
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products
from kmtool.store.db import Row

AGAIN = 3
MENDED = (Gate.PAUSE, Gate.PRODUCT, Gate.STOCK)
"""Gates whose command helps: the others speak of an order that was not kept."""


@dataclass(frozen=True, slots=True)
class SaleWish:
    """What is to be sold, to whom, for how much (minor units)."""

    sku: str
    quantity: int = 1
    to: str = ""
    price_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Sale:
    """A finished sale. `messages` is empty unless a program asked for the keys in its document.

    `left` is None for what never runs out; `files` are the pictures that were sold.
    """

    number: str
    sku: str
    title: str
    quantity: int
    total_minor: int
    currency: str
    code: str
    left: int | None
    cost_minor: int = 0
    messages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def sell(shop: Shop, wish: SaleWish, hand: Callable[[Message], None]) -> Sale:
    """Sell n keys of a product; `hand` shows the message between intent and outcome.

    Raises `NotFound` for an unknown SKU, `Refused` with the gate when no key may leave.
    """
    shop.must_be_writable()
    product = products.product(shop.db, wish.sku)
    if product is None:
        raise NotFound(kind="product", name=wish.sku)
    price = wish.price_minor if wish.price_minor is not None else product["price_minor"] or 0
    files: tuple[Path, ...] = ()
    with sending(shop, "sell", by_hand=True) as mine:
        order = _written(mine, wish, price, product)
        due = [
            row
            for row in effects.due_effects(mine.db, mine.now_ms(), 10, only=[order["id"]])
            if row["order_id"] == order["id"]
        ]
        for one in [] if mine.db.rehearsing else begin(mine, due):
            message = one.parcel.message
            assert message is not None
            files += save_all(mine, message.marker, message.attachments)
            hand(message)
            finish(mine, [(one, Outcome(Result.OK, "shown"))], Sent())
    return Sale(
        number=order["number"],
        sku=wish.sku,
        title=product["title"],
        quantity=wish.quantity,
        total_minor=price * wish.quantity,
        currency=product["currency"],
        code=order["code"],
        left=show(shop, wish.sku).free,
        cost_minor=order["cost_minor"],
        files=tuple(str(path) for path in files),
    )


def _written(shop: Shop, wish: SaleWish, price: int, product: Row) -> Row:
    """Write the order; what PostgreSQL gives up in a ring of waiting sessions is done again."""
    for _ in range(AGAIN if shop.db.dialect == "postgresql" else 0):
        with suppress(Locked):
            return _write_order(shop, wish, price, product["title"], product["currency"])
    return _write_order(shop, wish, price, product["title"], product["currency"])


def _write_order(shop: Shop, wish: SaleWish, price: int, title: str, currency: str) -> Row:
    """Insert the order and bind its keys in one transaction; nothing stays when a gate is shut."""
    db, now = shop.db, shop.now_ms()
    with db.tx():
        orders.lock_counter(db)
        number = next_number(shop, "S")
        fact = OrderFact(
            number=number,
            revision_ms=now,
            status=OrderStatus.PAID,
            refund=RefundState.NONE,
            currency=currency,
            total_minor=price * wish.quantity,
            lines=(LineFact("1", wish.sku, "", title, wish.quantity, price * wish.quantity),),
            created_ms=now,
            paid_ms=now,
            buyer=Buyer(name=wish.to),
        )
        order_id = ingest(shop, COUNTER, fact).order_id
        orders.set_line_product(db, order_id, wish.sku, wish.quantity)
        orders.set_released(db, order_id, now)
        tally = Reserved()
        decide(shop, [order_id], tally)
        if not tally.reserved:
            order = orders.get(db, order_id)
            _, shut = preview(shop, order)[0]
            helps = shut is not None and shut.gate in MENDED
            raise Refused(
                detail="no key leaves: {reason}",
                reason=shut.reason if shut else told("its stock went just now"),
                where=f"product {wish.sku}",
                mend=shut.command if shut and helps else f"kmtool key stock {wish.sku}",
            )
        return {**orders.get(db, order_id), "cost_minor": _cost(shop, order_id)}


def _cost(shop: Shop, order_id: OrderId) -> int:
    """Return what the keys cost that an order got."""
    lines = [row["id"] for row in orders.lines(shop.db, order_id)]
    rows = deliveries.allocations(shop.db, lines)
    return e5_to_minor(sum(row["cost_e5"] for row in rows), rows[0]["currency"]) if rows else 0
