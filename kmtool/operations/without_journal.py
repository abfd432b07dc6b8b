"""A shop that was set back while the send journal was lost: what nobody can prove any more.

Every order from before may have been bought under the number that would be used, or a later one,
at the supplier of today or another. Suppliers are asked; where that does not tell, a person looks.
"""

from __future__ import annotations

from kmtool.domain.ids import code_text
from kmtool.domain.states import COUNTER, PurchaseState
from kmtool.errors import Told, marked, told
from kmtool.shop import Shop
from kmtool.store import house
from kmtool.store import purchases as store
from kmtool.store.db import Row

BOUGHT_BEFORE = marked("it may have been charged before this copy was made current; asking")
LOOK_FOR_ALL = marked("charged before this copy, as this number or a later one? look there")
"""Who says after that question that it was not made speaks of every number of the line there."""
LOOK_EVERYWHERE = marked("charged before this copy, here or elsewhere? look at all suppliers")
"""And here of every number of the line at every supplier."""
LOOK = (LOOK_FOR_ALL, LOOK_EVERYWHERE)
UNPROVED = "purchases_unproved"
"""Meta: when the shop was set back without a journal; what was ordered before is asked about."""
SKEW_MS = 600_000
"""How far a channel's clock may be from ours."""
OVER = frozenset({PurchaseState.REJECTED, PurchaseState.FAILED})


def unproved_ms(shop: Shop) -> int:
    """Return when the shop was set back without a journal, 0 for never."""
    return house.number(shop.db, UNPROVED) or 0


def is_unproved(shop: Shop, order: Row) -> bool:
    """Tell whether an order is from before a restore at which the send journal was lost."""
    since = unproved_ms(shop)
    if since and order["channel"] == COUNTER:  # a number given out since then says so
        return number_mark(shop) not in order["number"].split("-")
    return bool(since and order["created_ms"] <= since + SKEW_MS)


def number_mark(shop: Shop) -> str:
    """Return what tells numbers given out here from those of before the send journal was lost."""
    since = unproved_ms(shop)
    return code_text(since // 1000, 7) if since else ""


def was_made_elsewhere(purchase: Row | None) -> bool:
    """Tell whether a try that is unclear is one of before, of which this copy knows nothing."""
    return purchase is not None and purchase["note"] in {BOUGHT_BEFORE, *LOOK}


def was_asked(shop: Shop, product: Row, last: Row) -> bool:
    """Tell whether the number that would be used was asked about, or used, since the journal was
    lost: by itself, or with an earlier one by a person who looked for all of them."""
    is_over = last["state"] in OVER
    if not is_over and (was_made_elsewhere(last) or last["intent_ms"] is not None):
        return True
    supplier = product["supplier"] if is_over else last["supplier"]
    return store.said_unmade(shop.db, last["line_id"], LOOK_EVERYWHERE) or store.said_unmade(
        shop.db, last["line_id"], LOOK_FOR_ALL, supplier
    )


def look_for_all(shop: Shop, purchase: Row) -> None:
    """A person is asked about a number and all later ones, at all suppliers there are."""
    unclear = [PurchaseState.INTENT, PurchaseState.UNKNOWN]
    note = LOOK_EVERYWHERE if len(shop.config.suppliers) > 1 else LOOK_FOR_ALL
    store.move(shop.db, purchase["id"], unclear, PurchaseState.UNKNOWN, note=note)


def may_be_another(shop: Shop, order: Row, line: Row) -> bool:
    """Tell whether another number of a line may have been charged: a person is asked about all of
    them, or nobody was asked yet since the journal was lost."""
    last = store.of_line(shop.db, line["id"])
    return last is not None and (
        last["note"] in LOOK or (is_unproved(shop, order) and was_made_elsewhere(last))
    )


def where_to_look(shop: Shop, last: Row) -> Told:
    """Return what a person is told who is to look for all numbers: no answer tells of them."""
    if len(shop.config.suppliers) > 1:
        return told(
            "it may have been charged, as {number} or under a later number, at {supplier} or at"
            " another supplier: look at all of them",
            number=last["our_no"],
            supplier=last["supplier"],
        )
    return told(
        "it may have been charged at {supplier}, as {number} or under a later number: look there"
        " for all of them",
        number=last["our_no"],
        supplier=last["supplier"],
    )


def perhaps_elsewhere(shop: Shop, order: Row, purchase: Row) -> bool:
    """Tell whether a purchase that one supplier does not know may be another's: the journal is
    lost, and the product may have come from there since the backup."""
    lost = is_unproved(shop, order) and was_made_elsewhere(purchase)
    return lost and len(shop.config.suppliers) > 1
