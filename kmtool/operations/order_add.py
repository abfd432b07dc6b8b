"""An order written by hand (it came by chat), and notes on orders.

The order goes the ordinary way: gates, keys, route of its channel. A channel that can be asked is
asked first: an order it knows is taken as it stands there, and when it does not answer nothing is
written. One it does not know is marked as written by hand: nobody waits for it to confirm that.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.ids import OrderId
from kmtool.domain.states import COUNTER, OrderStatus, RefundState
from kmtool.errors import KmError, NotFound, Refused, UsageError
from kmtool.operations import routes
from kmtool.operations.counter_numbers import next_number
from kmtool.operations.find_order import named
from kmtool.operations.ingest import clean, ingest
from kmtool.ports import Buyer, LineFact, OrderFact
from kmtool.shop import Shop
from kmtool.store import orders, products
from kmtool.store import refunds as store
from kmtool.store.db import Row

NOTE_MAX = 2_000
NUMBER_MAX = 100


@dataclass(frozen=True, slots=True)
class OrderWish:
    """An order as a person tells it; `amount_minor` is what was paid for the whole line."""

    channel: str
    sku: str
    amount_minor: int
    number: str = ""
    quantity: int = 1
    buyer: str = ""
    email: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class OrderAdded:
    """An order that is in the books now; `known_there` when the channel told the facts."""

    channel: str
    number: str
    code: str
    title: str
    quantity: int
    total_minor: int
    currency: str
    known_there: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """A note that is kept on an order."""

    channel: str
    number: str
    note: str
    at_ms: int
    actor: str


def add(shop: Shop, wish: OrderWish) -> OrderAdded:
    """Write an order by hand. Raises `NotFound`, `UsageError`, `Refused` for one that is there."""
    shop.must_be_writable()
    product = _checked(shop, wish)
    told = None if shop.db.rehearsing else _asked(shop, wish)
    db, now = shop.db, shop.now_ms()
    with db.tx():
        orders.lock_counter(db)
        number = wish.number or next_number(shop, "H")
        if orders.find(db, wish.channel, number) is not None:
            raise Refused(
                detail="order {number} of {channel} is there already",
                number=number,
                channel=wish.channel,
                mend="kmtool order show {number}",
            )
        settings = shop.config.channels.get(wish.channel)
        account = settings.account if settings else ""
        if told is not None:
            order_id = ingest(shop, wish.channel, told, account=account).order_id
        else:
            fact = _fact(shop, wish, number, product, now)
            order_id = ingest(shop, wish.channel, fact, account=account).order_id
            orders.set_line_product(db, order_id, wish.sku, wish.quantity)
            store.set_by_hand(db, order_id)
        shop.audit("order_add", f"order:{wish.channel}:{number}", wish.note[:200])
        if wish.note.strip():
            store.add_note(db, order_id, clean(wish.note.strip()), shop.actor, now)
        order = orders.get(db, OrderId(order_id))
    return OrderAdded(
        channel=order["channel"],
        number=order["number"],
        code=order["code"],
        title=product["title"],
        quantity=wish.quantity,
        total_minor=order["total_minor"],
        currency=order["currency"],
        known_there=told is not None,
    )


def note(shop: Shop, number: str, text: str) -> Noted:
    """Keep a note on an order, with time and actor. Raises `NotFound`, `UsageError`."""
    shop.must_be_writable()
    body = clean(text).strip()
    if not 0 < len(body) <= NOTE_MAX:
        raise UsageError(
            detail="a note has 1 to {most} characters",
            most=NOTE_MAX,
            mend="kmtool order note {number} 'asked for an invoice'",
            number=number,
        )
    order = named(shop, number)
    with shop.db.tx():
        store.add_note(shop.db, OrderId(order["id"]), body, shop.actor, shop.now_ms())
        shop.audit("order_note", f"order:{order['channel']}:{order['number']}", body[:200])
    return Noted(order["channel"], order["number"], body, shop.now_ms(), shop.actor)


def _checked(shop: Shop, wish: OrderWish) -> Row:
    if wish.channel != COUNTER and wish.channel not in shop.config.channels:
        raise NotFound(kind="channel", name=wish.channel, mend="--channel counter, or one of yours")
    product = products.product(shop.db, wish.sku)
    if product is None:
        raise NotFound(kind="product", name=wish.sku)
    if wish.channel != COUNTER and not wish.number:
        raise UsageError(
            detail="an order of a channel needs its number",
            mend="--number, as the channel shows it",
        )
    odd = clean(wish.number) != wish.number or wish.number != wish.number.strip()
    if odd or len(wish.number) > NUMBER_MAX:
        raise UsageError(detail="this is no order number", mend="--number, as the channel shows it")
    return product


def _asked(shop: Shop, wish: OrderWish) -> OrderFact | None:
    """Ask the channel for an order that it may know; raises what it does not answer with."""
    if wish.channel == COUNTER:
        return None
    if not routes.channel(shop, wish.channel).features.reread:
        return None
    found = routes.read_order(shop, wish.channel, wish.number)
    if isinstance(found, KmError):
        raise found
    return found if found is not None and found.number == wish.number else None


def _fact(shop: Shop, wish: OrderWish, number: str, product: Row, now: int) -> OrderFact:
    settings = shop.config.channels.get(wish.channel)
    currency = (settings.currency if settings else "") or shop.config.shop.currency
    title = product["title"]
    return OrderFact(
        number=number,
        revision_ms=0,  # whatever the channel ever says of it is newer
        status=OrderStatus.PAID,
        refund=RefundState.NONE,
        currency=product["currency"] if wish.channel == COUNTER else currency,
        total_minor=wish.amount_minor,
        lines=(LineFact("1", wish.sku, "", title, wish.quantity, wish.amount_minor),),
        created_ms=now,
        paid_ms=now,
        buyer=Buyer(name=wish.buyer, email=wish.email),
    )
