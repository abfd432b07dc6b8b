"""Top-up lines: an account of the buyer is charged by a supplier when the line is sold.

Nothing of it lies on a shelf. What the gates ask (are the terms complete, does the account fit the
rule, may so much be spent), and writing down the purchase of a line with its number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.clock import business_day, day_start_ms
from kmtool.domain import accounts
from kmtool.domain.ids import OrderId
from kmtool.domain.money import format_minor
from kmtool.domain.secret import Secret
from kmtool.domain.states import EffectKind, LineState, PurchaseState
from kmtool.errors import Broken, NotFound, Refused, told
from kmtool.operations.find_order import named
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, orders, products, purchases
from kmtool.store.db import Row
from kmtool.store.purchases import Kept

ROUTE = "supplier:"
"""How the route of a purchase begins; the supplier's name follows."""
QUANTITY_MAX = 100
COUNTED = 1_000
"""Up to here the number of a line is taken for its count in the order, not for an id."""
REPEATED = "repeated by a person"
"""How a try is closed that nobody could clear up, because a person had it made once more."""
NEW = Kept(0)
"""Of a purchase of which nothing was known before."""
CHARGED = frozenset({PurchaseState.DONE, PurchaseState.KEYS_RECEIVED, PurchaseState.RECONCILED})
MADE_PERHAPS = frozenset({PurchaseState.INTENT, PurchaseState.UNKNOWN, PurchaseState.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Refusals:
    """What stands against a top-up, one text per gate; empty is nothing."""

    terms: str = ""
    account: str = ""
    spend: str = ""


@dataclass(frozen=True, slots=True)
class AccountSet:
    """The account a line charges from now on."""

    channel: str
    number: str
    line: str
    account: str


def account_of(product: Row, line: Row) -> str:
    """Return the account a line charges: the operator's word before the channel's, tidied."""
    return accounts.tidy(product["account_rule"], line["account_given"] or line["account"])


def most_minor(product: Row, line: Row) -> int:
    """Return the most that a line's purchase may cost."""
    return int(product["cap_minor"] or 0) * int(line["needed"])


def refusals(shop: Shop, product: Row, line: Row) -> Refusals:
    """Return what stands against buying a line's top-up now."""
    settings = shop.config.suppliers.get(product["supplier"])
    if not product["supplier"] or not product["supplier_item"] or product["cap_minor"] is None:
        return Refusals(terms=told("it has no supplier, supplier's id or cap"))
    if settings is None:
        return Refusals(
            terms=told("there is no [suppliers.{name}] in kmtool.toml", name=product["supplier"])
        )
    if not product["account_rule"]:
        return Refusals(terms=told("it has no rule for the account"))
    if line["needed"] > QUANTITY_MAX:
        return Refusals(terms=told("more than {n} pieces at once", n=QUANTITY_MAX))
    return Refusals(
        account=accounts.refusal(product["account_rule"], account_of(product, line)),
        spend=too_much(shop, product["supplier"], most_minor(product, line)),
    )


def too_much(shop: Shop, supplier: str, amount_minor: int) -> str:
    """Return why an amount may not be spent at a supplier now; what is unclear counts as spent."""
    settings, currency = shop.config.suppliers[supplier], shop.config.shop.currency
    if amount_minor > settings.spend_per_order_minor:
        return told(
            "it may cost {amount}, one purchase from {supplier} at most {most}",
            amount=format_minor(amount_minor, currency),
            supplier=supplier,
            most=format_minor(settings.spend_per_order_minor, currency),
        )
    since_ms = day_began_ms(shop)
    spent = purchases.spent(shop.db, supplier, since_ms)
    spent += purchases.kept_spent(shop.db, supplier, since_ms)
    if spent + amount_minor > settings.spend_per_day_minor:
        return told(
            "{spent} are spent at {supplier} today, the limit of a day is {most}",
            spent=format_minor(spent, currency),
            supplier=supplier,
            most=format_minor(settings.spend_per_day_minor, currency),
        )
    return ""


def day_began_ms(shop: Shop) -> int:
    """Return when the shop's present business day began."""
    zone = shop.config.shop.timezone
    return day_start_ms(business_day(shop.now_ms(), zone), zone)


def plan(shop: Shop, order: Row, line: Row, kept: Kept = NEW, number: int = 0) -> None:
    """Write down the purchase of a line that goes: its number, a parcel of its own, the effect.

    Inside the transaction that reserves the line. The number is made once; a line that was planned,
    held and planned again has the same one. `kept` and `number`: it stands again as it was before
    a restore, with the number of its parcel where that is still free.
    """
    db, now = shop.db, shop.now_ms()
    product = products.product(db, line["sku"])
    assert product is not None, "a line without a product does not pass the gates"
    purchase = planned(shop, order, line, product, kept)
    n = number or deliveries.next_parcels(db, [order["id"]])[order["id"]]
    body = json.dumps({"our_no": purchase["our_no"], "account": purchase["account"]})
    sealed, data_key = shop.vault.seal(Secret(body), label(order, n))
    route = ROUTE + purchase["supplier"]
    parcels = deliveries.add_parcels(
        db,
        [
            {
                "order_id": order["id"],
                "n": n,
                "courier": route,
                "address_digest": "",
                "sealed": sealed,
                "data_key_id": data_key,
                "created_ms": now,
            }
        ],
        [[line["id"]]],
    )
    effects.add_effect(
        db,
        {
            "order_id": order["id"],
            "parcel_id": parcels[order["id"], n],
            "parcel_n": n,
            "kind": EffectKind.PURCHASE,
            "generation": 1,
            "channel": order["channel"],
            "route": route,
            "due_ms": now,
            "created_ms": now,
        },
    )
    shop.audit(
        "planned",
        f"order:{order['channel']}:{order['number']}",
        f"purchase {purchase['our_no']} from {purchase['supplier']}, parcel {n}",
    )


def planned(shop: Shop, order: Row, line: Row, product: Row, kept: Kept = NEW) -> Row:
    """Return the purchase that a line waits for: the one that was called off, or a new one.

    After a refusal it is a new one under a new number; so it is when the product's supplier, or its
    item there, was changed while one waited that was certainly not made. While one may have been
    made there is no other: who decides to repeat it repeats its number. `kept` tells of the number
    that was used last, where this copy knows less than the send journal: it is asked about where it
    was tried, whatever supplier the product has now. Which item that was is not known there.
    """
    db = shop.db
    last = purchases.of_line(db, line["id"])
    supplier = kept.supplier or product["supplier"]
    terms = {
        "supplier": supplier,
        "item": product["supplier_item"] if supplier == product["supplier"] else "",
        "account": account_of(product, line),
        "cap_minor": kept.amount_minor or most_minor(product, line),
    }
    if last is not None and last["state"] in CHARGED:
        raise Broken(
            detail="line {line} was charged already under {number}",
            line=line["line_no"],
            number=last["our_no"],
            where=f"order {order['number']}",
            mend="kmtool order show ORDER",
        )
    if last is not None and last["generation"] < kept.generation:
        _is_over(shop, last)
    elif last is not None and last["state"] in MADE_PERHAPS:
        source = PurchaseState(last["state"])
        moved = purchases.move(db, last["id"], [source], PurchaseState.PLANNED)
        assert moved and source is not PurchaseState.ACCEPTED, "it is with the supplier already"
        return purchases.get(db, last["id"])
    elif last is not None and last["state"] in {PurchaseState.CANCELLED, PurchaseState.PLANNED}:
        same = (last["supplier"], last["item"], last["quantity"])
        is_same = same == (supplier, terms["item"], line["needed"])
        if is_same or last["generation"] == kept.generation:
            if kept.supplier in {"", last["supplier"]}:  # then this copy knows what it was
                terms = {**terms, "supplier": last["supplier"], "item": last["item"]}
            source = PurchaseState(last["state"])
            purchases.move(db, last["id"], [source], PurchaseState.PLANNED, **terms)
            return purchases.get(db, last["id"])
        _is_over(shop, last)  # what is bought now is another thing, or another supplier's
    nth = max(kept.generation, 1 + (last["generation"] if last is not None else 0))
    place = _place(shop, order, line, last, kept)
    found = purchases.add(
        db,
        {
            "our_no": f"{order['code']}-{place}-{nth}",
            **terms,
            "sku": line["sku"],
            "order_id": order["id"],
            "line_id": line["id"],
            "generation": nth,
            "quantity": line["needed"],
            "currency": order["currency"],
            "planned_ms": shop.now_ms(),
        },
    )
    assert found is not None, "the order's row is locked: nobody else plans its lines"
    return purchases.get(db, found)


def _place(shop: Shop, order: Row, line: Row, last: Row | None, kept: Kept) -> int:
    """Return which line of its order a number names: the one it was before, else the channel's own
    count of it, where it has a short one, else its place here; and the next one where a number of
    another line names that (the lines came in another order before a restore)."""
    if kept.place or last is not None:
        return kept.place or purchases.place_in(last["our_no"] if last is not None else "")
    db, where = shop.db, (order["channel"], order["number"])
    taken = {
        purchases.place_in(row["our_no"])
        for row in purchases.of_order(db, order["id"])
        if row["line_id"] != line["id"]
    }
    for place in purchases.bought_places(db):
        if place[:2] == where and place[2] != line["line_no"]:
            other = purchases.bought_at(db, place)
            taken.add(other.place if other is not None else 0)
    own = str(line["line_no"])
    is_count = own.isascii() and own.isdigit() and 0 < int(own) < COUNTED
    n = int(own) if is_count else purchases.place_of(db, order["id"], line["id"])
    while n in taken:
        n += 1
    return n


def _is_over(shop: Shop, last: Row) -> None:
    """Another number is used from now on: whatever this one was waiting for did not come."""
    for sources, target in (
        ((PurchaseState.PLANNED,), PurchaseState.CANCELLED),
        ((PurchaseState.INTENT, PurchaseState.UNKNOWN), PurchaseState.REJECTED),
        ((PurchaseState.ACCEPTED,), PurchaseState.FAILED),
    ):
        purchases.move(shop.db, last["id"], sources, target)


def call_off(shop: Shop, lines: Sequence[Row]) -> None:
    """The parcel of these lines was undone before anything was asked: so are their purchases."""
    for line in lines:
        last = purchases.of_line(shop.db, line["id"]) if line["kind"] == "topup" else None
        if last is not None:
            purchases.move(shop.db, last["id"], [PurchaseState.PLANNED], PurchaseState.CANCELLED)


def is_done(shop: Shop, line: Row) -> bool:
    """Tell whether the account of a top-up line was charged."""
    last = purchases.of_line(shop.db, line["id"])
    return last is not None and last["state"] in CHARGED


def is_unclear(shop: Shop, line: Row) -> bool:
    """Tell whether only somebody who looks there knows if the account of a line was charged."""
    last = purchases.of_line(shop.db, line["id"]) if line["kind"] == "topup" else None
    return last is not None and last["state"] in {PurchaseState.INTENT, PurchaseState.UNKNOWN}


def is_accepted(shop: Shop, line: Row) -> bool:
    """Tell whether a supplier is at work on a top-up line."""
    last = purchases.of_line(shop.db, line["id"])
    return last is not None and last["state"] == PurchaseState.ACCEPTED


def knows_item(shop: Shop, line: Row) -> bool:
    """Tell whether it is known what was last ordered for a line: the send journal names no item."""
    last = purchases.of_line(shop.db, line["id"])
    return last is not None and last["item"] != ""


def label(order: Row, n: int) -> bytes:
    """Return the label that a parcel of this order is sealed under."""
    return f"parcel:{order['channel']}:{order['number']}:{n}".encode()


def set_account(shop: Shop, number: str, value: str, line_no: str = "") -> AccountSet:
    """Say which account a waiting top-up line charges. Raises `NotFound`, `Refused`."""
    shop.must_be_writable()
    order = named(shop, number)
    with shop.db.tx():
        order = orders.get(shop.db, OrderId(order["id"]), lock=True)
        line = _top_up_line(shop, order, line_no)
        product = products.product(shop.db, line["sku"]) if line["sku"] else None
        if product is None:
            raise Refused(detail="the line has no product yet", mend="kmtool product unmapped")
        account = accounts.tidy(product["account_rule"], value)
        why = accounts.refusal(product["account_rule"], account)
        if why:
            raise Refused(
                detail="{why}",
                why=why,
                mend="kmtool order account {number} VALUE",
                number=order["number"],
            )
        if not purchases.set_account(shop.db, line["id"], account):
            raise Refused(
                detail="line {line} is {state}: its account stands",
                line=line["line_no"],
                state=told(line["state"]),
                mend="kmtool order show {number}",
                number=order["number"],
            )
        shop.audit(
            "account", f"order:{order['channel']}:{order['number']}", f"line {line['line_no']}"
        )
    return AccountSet(order["channel"], order["number"], line["line_no"], account)


def _top_up_line(shop: Shop, order: Row, line_no: str) -> Row:
    found = [
        line
        for line in orders.lines(shop.db, OrderId(order["id"]))
        if line["kind"] == "topup" and line_no in {"", line["line_no"]}
    ]
    if len(found) > 1:
        waiting = [line for line in found if line["state"] == LineState.HELD]
        found = waiting if len(waiting) == 1 else found
    if not found and not line_no:
        raise Refused(
            detail="no line of order {number} is a top-up",
            mend="kmtool order show {number}",
            number=order["number"],
        )
    if not found:
        raise NotFound(
            kind="line", name=line_no, mend="kmtool order show {number}",
            number=order["number"],
        )  # fmt: skip
    if len(found) > 1:
        raise Refused(
            detail="several lines are top-ups: {lines}",
            lines=", ".join(line["line_no"] for line in found),
            mend="kmtool order account {number} VALUE --line LINE",
            number=order["number"],
        )
    return found[0]
