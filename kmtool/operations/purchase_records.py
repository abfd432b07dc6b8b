"""What a person sees and says of purchases: a top-up's proof, amounts that somebody must look at,
and that an account was charged though the supplier cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmtool.domain.ids import LineId, OrderId
from kmtool.domain.states import AttemptState, EffectState, LineState, PurchaseState
from kmtool.errors import NotFound, Refused, StateMoved, UsageError, told
from kmtool.operations.bought_before import effect_of
from kmtool.operations.find_order import named
from kmtool.operations.permit import to_human
from kmtool.operations.purchase_end import complete, difference
from kmtool.operations.purchase_outcome import UNPROVED_TRIES
from kmtool.operations.without_journal import was_made_elsewhere
from kmtool.ports import Progress, Purchased
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store import purchases as store
from kmtool.store.db import Row

UNCLEAR = frozenset({PurchaseState.INTENT, PurchaseState.UNKNOWN})
UNKNOWN = frozenset({AttemptState.INTENT, AttemptState.UNKNOWN})


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


def settle_charged(
    shop: Shop,
    number: str,
    reason: str,
    amount_minor: int | None = None,
    line_no: str = "",
    supplier: str = "",
) -> ChargedSettled:
    """Write down that a person looked at what a supplier charged otherwise than agreed (`line_no`:
    for one line).

    With an amount: that a purchase whose outcome is unclear, or which a supplier does not end, was
    made, and what it came to; with 0 that it was not made. `supplier`: who charged it, if another
    one did than the one that was asked.
    """
    shop.must_be_writable()
    if supplier and supplier not in shop.config.suppliers:
        raise NotFound(kind="supplier", name=supplier)
    if supplier and amount_minor is None:
        raise UsageError(
            detail="a supplier is named only beside an amount",
            mend="kmtool order charged {number} --amount AMOUNT --supplier NAME --reason TEXT",
            number=number,
        )
    order = named(shop, number)
    with shop.db.tx():
        order = orders.get(shop.db, OrderId(order["id"]), lock=True)
        unclear = [
            row
            for row in store.of_order(shop.db, order["id"])
            if line_no in {"", row["line_no"]} and _may_be_said(shop, order, row)
        ]
        if amount_minor is not None:
            _was_made(shop, order, unclear, amount_minor, reason, supplier)
            return ChargedSettled(order["channel"], order["number"], 1)
        n = store.settle_unequal(shop.db, order["id"], line_no, reason, shop.now_ms())
        if unclear and not n:  # refused: it takes an amount to settle these
            _was_made(shop, order, unclear, None, reason)
        if not n:
            raise Refused(
                detail="order {number} was charged as agreed",
                number=order["number"],
                mend="kmtool order show {number}",
            )
        shop.audit("charged", f"order:{order['channel']}:{order['number']}", reason[:200])
    return ChargedSettled(order["channel"], order["number"], n)


def _may_be_said(shop: Shop, order: Row, purchase: Row) -> bool:
    """Tell whether a person may say what came of a purchase."""
    if purchase["state"] in UNCLEAR:
        return True
    if purchase["state"] != PurchaseState.ACCEPTED:
        return False
    line = _line_of(shop, order, purchase)
    return effect_of(shop, order, line, (EffectState.HUMAN,)) is not None


def _line_of(shop: Shop, order: Row, purchase: Row) -> Row:
    rows = orders.lines(shop.db, OrderId(order["id"]))
    return next(row for row in rows if row["id"] == purchase["line_id"])


def _was_made(
    shop: Shop,
    order: Row,
    unclear: Sequence[Row],
    amount_minor: int | None,
    reason: str,
    supplier: str = "",
) -> None:
    """Take a person's word whether the account was charged: he looked at the supplier."""
    if len(unclear) != 1 or amount_minor is None or amount_minor < 0:
        raise Refused(
            detail="{n} purchases of order {number} are unclear: say which was made and what it"
            " came to",
            n=len(unclear),
            number=order["number"],
            mend="kmtool order charged {number} --amount AMOUNT --reason TEXT --line LINE",
        )
    purchase = unclear[0]
    line = _line_of(shop, order, purchase)
    effect = effect_of(shop, order, line)
    if effect is None or effect["state"] == EffectState.INFLIGHT:
        raise StateMoved(what=told("order {number}", number=order["number"]), state="on its way")
    store.move(
        shop.db, purchase["id"], sorted({*UNCLEAR, PurchaseState.ACCEPTED}),
        PurchaseState.ACCEPTED if amount_minor else PurchaseState.REJECTED,
        agreed_minor=amount_minor or None, accepted_ms=shop.now_ms(),
        supplier=(supplier if amount_minor else "") or purchase["supplier"],
        note=purchase["note"] if was_made_elsewhere(purchase) else reason[:300],
    )  # fmt: skip
    _settle_tries(shop, effect, made=amount_minor > 0)
    shop.audit("charged", f"order:{order['channel']}:{order['number']}", reason[:200])
    if not amount_minor:
        why = told("{number} was not charged", number=purchase["our_no"])
        to_human(shop, effect, [line], why)
        if line["state"] == LineState.HUMAN:
            orders.set_line_reason(shop.db, LineId(line["id"]), why)
        return
    made = Purchased("", Progress.DONE, amount_minor, amount_minor)
    complete(shop, effect, line, store.get(shop.db, purchase["id"]), made)


def _settle_tries(shop: Shop, effect: Row, *, made: bool) -> None:
    """Close every try of which nobody knew what came of it: the last one made it, or none did."""
    tries = effects.attempts_of(shop.db, [effect["id"]])
    unclear = [one for one in tries if one["state"] in UNKNOWN or one["detail"] in UNPROVED_TRIES]
    for one in unclear or tries[-1:]:
        is_it = made and one is (unclear or tries)[-1]
        state = AttemptState.OK if is_it else AttemptState.REJECTED
        effects.move_attempt(
            shop.db, one["id"], AttemptState(one["state"]), state, shop.now_ms(), "",
            "a person looked there",
        )  # fmt: skip
